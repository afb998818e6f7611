"""What stands in a node's ring, ready to be sent, and how kinds of flows are made into it fast.

A flow is a kind (all that flows of it have in common, serialised once) and what tells it from the
others: uuid, time and source port, which are laid into the bytes. The bytes are canonical.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from google.protobuf import timestamp_pb2

from schemas.hubble import flow_pb2, observer_pb2

NANOSECONDS = 1_000_000_000
_L4, _UUID = 6, 34


class Event(NamedTuple):
    """One entry of a ring."""

    time: int
    """Nanoseconds since the epoch."""
    flow: flow_pb2.Flow | None
    """What filters look at, the same object for all flows of a kind; None: a lost event."""
    data: bytes
    """The GetFlowsResponse."""


class Kind:
    """Flows that differ in uuid, time and source port only, of one node."""

    def __init__(self, flow: flow_pb2.Flow) -> None:
        self.flow = flow
        copy = flow_pb2.Flow()
        copy.CopyFrom(flow)
        copy.ClearField("time")
        copy.ClearField("uuid")
        before, between, after = flow_pb2.Flow(), flow_pb2.Flow(), flow_pb2.Flow()
        copy.ClearField("l4")
        for field, _ in copy.ListFields():
            part = before if field.number < _L4 else between if field.number < _UUID else after
            part.MergeFrom(_only(copy, field.name))
        self._before, self._between = before.SerializeToString(), between.SerializeToString()
        self._after = after.SerializeToString()
        self._l4, self._port_at = _layer(flow.l4)
        name = flow.node_name.encode()
        self._tail = b"\xc2\x3e" + _varint(len(name)) + name + b"\xca\x3e"
        self._fixed = len(self._before) + len(self._l4) + len(self._between) + len(self._after)

    def event(self, uuid: bytes, time: int, port: int) -> Event:
        """Make one flow; `uuid` has 36 characters, the port is between 16384 and 65535."""
        stamp = _timestamp(time)
        l4 = self._l4
        if self._port_at:
            three = bytes((port & 0x7F | 0x80, port >> 7 & 0x7F | 0x80, port >> 14))
            l4 = l4[: self._port_at] + three + l4[self._port_at + 3 :]
        head = _varint(self._fixed + 1 + len(stamp) + 39)
        parts = (b"\x0a", head, b"\x0a", stamp, self._before, l4, self._between, b"\x92\x02\x24")
        data = b"".join((*parts, uuid, self._after, self._tail, stamp))
        return Event(time, self.flow, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Events that a node lost before they reached its ring, or that a reader missed in it."""

    source: int
    count: int
    cpu: int | None = None
    first: int | None = None
    last: int | None = None

    def response(self, node: str, time: int) -> bytes:
        """Return it as a response of that node."""
        event = flow_pb2.LostEvent(source=self.source, num_events_lost=self.count)
        if self.cpu is not None:
            event.cpu.value = self.cpu
        for name, at in (("first", self.first), ("last", self.last)):
            if at is not None:
                getattr(event, name).CopyFrom(timestamp(at))
        answer = observer_pb2.GetFlowsResponse(
            lost_events=event, node_name=node, time=timestamp(time)
        )
        return answer.SerializeToString()


def whole(flow: flow_pb2.Flow) -> Event:
    """Make an event of a flow that has all its parts."""
    answer = observer_pb2.GetFlowsResponse(flow=flow, node_name=flow.node_name, time=flow.time)
    return Event(flow.time.ToNanoseconds(), flow, answer.SerializeToString())


def timestamp(time: int) -> timestamp_pb2.Timestamp:
    """Return nanoseconds since the epoch as protobuf has them."""
    seconds, nanos = divmod(time, NANOSECONDS)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)


def _only(flow: flow_pb2.Flow, name: str) -> flow_pb2.Flow:
    copy = flow_pb2.Flow()
    copy.CopyFrom(flow)
    for field, _ in flow.ListFields():
        if field.name != name:
            copy.ClearField(field.name)
    return copy


def _layer(l4: flow_pb2.Layer4) -> tuple[bytes, int]:
    """Return field l4 as it is written, and where in it the source port's three bytes are."""
    name = l4.WhichOneof("protocol")
    if name is None:
        return b"", 0
    patched = flow_pb2.Layer4()
    patched.CopyFrom(l4)
    if name in ("TCP", "UDP", "SCTP"):
        getattr(patched, name).source_port = 16384  # three bytes, as any port from here up
    written = flow_pb2.Flow(l4=patched).SerializeToString()
    at = written.find(b"\x08\x80\x80\x01")
    return written, at + 1 if at > 0 else 0


def _timestamp(time: int) -> bytes:
    """Return a timestamp with its length before it."""
    seconds, nanos = divmod(time, NANOSECONDS)
    body = _seconds(seconds)
    if nanos:
        body = body + b"\x10" + _varint(nanos)
    return bytes((len(body),)) + body


@lru_cache(8)
def _seconds(seconds: int) -> bytes:
    return b"\x08" + _varint(seconds)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    parts: list[int] = []
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*parts, number))


def flows(events: Iterable[Event]) -> int:
    """Count the flows among events."""
    return sum(event.flow is not None for event in events)
