"""One GetFlows call, step by step as Hubble's observer does it (Cilium 1.19)."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import grpc
from google.protobuf import field_mask_pb2

from schemas.hubble import flow_pb2, observer_pb2
from tests.parts.synthetic import events, filters, ring

AT_ONCE = 1000
"""How many events a stream takes from the ring at a time; Hubble's readers hold as many."""
LOST_SECONDS = 1.0
"""How often at most a stream is told of what it missed."""
LOOK_SECONDS = 1.0


class Source(Protocol):
    """What a stream reads from."""

    name: str
    ring: ring.Ring[events.Event]
    held: bool

    @property
    def generation(self) -> int:
        """Return what new streams belong to."""
        ...

    @property
    def ending(self) -> grpc.StatusCode | None:
        """Return how the last generation of streams ended."""
        ...

    def alive(self, generation: int) -> bool:
        """Whether streams of that generation go on."""
        ...


class Fate(Enum):
    """What becomes of an event of the ring."""

    DELIVERED = auto()
    PASSED_OVER = auto()
    THE_END = auto()


@dataclass(slots=True)
class Missed:
    """What a stream missed since it was last told."""

    count: int = 0
    first: int = 0
    last: int = 0

    def add(self, count: int, now: int) -> None:
        self.first = self.first if self.count else now
        self.count, self.last = self.count + count, now

    def due(self, now: int) -> bool:
        return self.count > 0 and now - self.first >= LOST_SECONDS * events.NANOSECONDS


class Stream:
    """One GetFlows call."""

    def __init__(
        self, node: Source, request: observer_pb2.GetFlowsRequest, wanted: filters.Wanted
    ) -> None:
        self._node, self._request, self._wanted = node, request, wanted
        self._ring = node.ring
        self._since = request.since.ToNanoseconds() if request.HasField("since") else None
        self._until = request.until.ToNanoseconds() if request.HasField("until") else None
        self._verdicts: dict[int, tuple[flow_pb2.Flow, bool]] = {}
        self._generation = node.generation
        self._left = threading.Event()
        self._delivered = 0
        self.broken: grpc.StatusCode | None = None

    def leave(self) -> None:
        """Take note that the client is gone."""
        self._left.set()
        self._ring.wake()

    def responses(self) -> Iterator[bytes]:
        """Yield what the request asks for."""
        position, missed = self._start(), Missed()
        while self._goes_on():
            chunk = self._ring.read(position, at_most=AT_ONCE)
            position = chunk.position
            if chunk.lost:
                missed.add(chunk.lost, time.time_ns())
            for event in chunk.events:
                if missed.count and missed.due(now := time.time_ns()):
                    yield self._told(missed, now)
                    missed = Missed()
                fate = self._fate(event)
                if fate is Fate.THE_END:
                    return
                if fate is Fate.DELIVERED:
                    yield self._masked(event)
            if not chunk.events and not chunk.lost:
                if not self._request.follow:
                    return
                self._ring.wait(position, LOOK_SECONDS)

    def _fate(self, event: events.Event) -> Fate:
        request = self._request
        if not self._goes_on():
            return Fate.THE_END
        if not request.follow and request.number and self._delivered >= request.number:
            return Fate.THE_END
        if event.flow is None:  # lost events pass every filter, and count for nothing
            return Fate.DELIVERED
        if self._until is not None and event.time > self._until:
            return Fate.THE_END
        early = self._since is not None and event.time < self._since
        if early or not self._passes(event):
            return Fate.PASSED_OVER
        self._delivered += 1
        return Fate.DELIVERED

    def _start(self) -> int:
        """Return the position to read from: since goes before number, as in Hubble."""
        request, ring_ = self._request, self._ring
        if request.first and self._since is None:
            return ring_.oldest()
        position = ring_.newest()
        if request.follow and not request.number and self._since is None:
            return position
        found = 0
        for _ in range(len(ring_)):
            event = ring_.look(position)
            if event is None:
                return position + 1
            if event.flow is not None and self._passes(event):
                found += 1
                if self._since is not None:
                    if event.time < self._since:
                        return position + 1
                elif found == request.number:
                    # Hubble breaks off here before it steps back.
                    return position
            position -= 1
        return position

    def _goes_on(self) -> bool:
        while self._node.held and not self._left.is_set() and self._node.alive(self._generation):
            self._left.wait(0.02)
        if self._node.alive(self._generation):
            return not self._left.is_set()
        self.broken = self._node.ending
        return False

    def _passes(self, event: events.Event) -> bool:
        assert event.flow is not None
        if self._wanted.everything:
            return True
        if self._wanted.dynamic:
            answer = observer_pb2.GetFlowsResponse.FromString(event.data)
            return self._wanted.passes(answer.flow)
        known = self._verdicts.get(id(event.flow))
        if known is None:
            # The flow is kept beside the answer, so that its id is not used again.
            known = self._verdicts[id(event.flow)] = (event.flow, self._wanted.passes(event.flow))
        return known[1]

    def _masked(self, event: events.Event) -> bytes:
        mask: field_mask_pb2.FieldMask = self._request.field_mask
        if event.flow is None or not mask.paths:
            return event.data
        whole = observer_pb2.GetFlowsResponse.FromString(event.data).flow
        part = flow_pb2.Flow()
        mask.MergeMessage(whole, part)
        answer = observer_pb2.GetFlowsResponse(flow=part, node_name=part.node_name)
        if part.HasField("time"):
            answer.time.CopyFrom(part.time)
        return answer.SerializeToString()

    def _told(self, missed: Missed, now: int) -> bytes:
        return events.Lost(
            source=flow_pb2.HUBBLE_RING_BUFFER,
            count=missed.count,
            first=missed.first,
            last=missed.last,
        ).response(self._node.name, now)
