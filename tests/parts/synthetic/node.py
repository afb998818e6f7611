"""One node: an observer that answers as Hubble's does, by the sources of Cilium 1.19.

Its server can go away and come back, its streams can be broken, ended or held up, and its ring can
be lost, as happens to an agent.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass

import grpc
from google.protobuf import field_mask_pb2

from schemas.hubble import flow_pb2, observer_pb2
from tests.parts.synthetic import events, filters, ring

STREAMS = 32
"""How many streams one node serves at a time."""
AT_ONCE = 1000
"""How many events a stream takes from the ring at a time; Hubble's readers hold as many."""
LOST_SECONDS = 1.0
"""How often at most a stream is told of what it missed."""
LOOK_SECONDS = 1.0
GOING_SECONDS = 1.0
"""How long streams have to end before the server stops; one that nobody reads cannot."""
VERSION = "1.19.6 (synthetic)"


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


class Node:
    """A node with its ring; `start` opens its server, which keeps its port ever after."""

    def __init__(self, name: str, *, capacity: int) -> None:
        """`name` is `<cluster>/<node>`."""
        self.name = name
        self.address = ""
        self.ring: ring.Ring[events.Event] = ring.Ring(capacity)
        self.seen = 0
        self.namespaces: set[str] = set()
        self.started = time.monotonic_ns()
        self.newest = 0
        """Time of its newest flow: a node's times only grow."""
        self.held = False
        self._server: grpc.Server | None = None
        self._ending: grpc.StatusCode | None = None
        self._generation = 0

    @property
    def up(self) -> bool:
        """Whether its server answers."""
        return self._server is not None

    def start(self) -> None:
        """Open the server; on the port it had, if it had one."""
        server = grpc.server(
            futures.ThreadPoolExecutor(STREAMS, thread_name_prefix=self.name),
            options=[("grpc.so_reuseport", 0)],
        )
        Observer(self).add_to(server)
        port = server.add_insecure_port(self.address or "127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        self._generation += 1
        server.start()
        self._server = server

    def stop(self) -> None:
        """Close the server and with it all connections."""
        server, self._server = self._server, None
        if server is not None:
            # A server that stops cancels its streams, whereas those of a process that is gone
            # are unavailable, and relay tells the one from the other.
            self._end(grpc.StatusCode.UNAVAILABLE)
            server.stop(GOING_SECONDS).wait()

    def write(self, written: Sequence[events.Event]) -> None:
        """Put events into the ring, the newest last."""
        self.seen += events.flows(written)
        self.newest = max(self.newest, written[-1].time)
        self.ring.write(written)

    def clear(self) -> None:
        """Lose the ring, as an agent does that is started anew; streams must be ended first."""
        self.ring = ring.Ring(self.ring.capacity)
        self.seen, self.started = 0, time.monotonic_ns()

    def end_streams(self, code: grpc.StatusCode | None) -> None:
        """End all streams, in good order or with a code; the server stays."""
        self._end(code)

    def hold(self, *, held: bool) -> None:
        """Hold streams up: they stay open and get nothing, while the ring goes on."""
        self.held = held
        self.ring.wake()

    def _end(self, code: grpc.StatusCode | None) -> None:
        self._ending = code
        self._generation += 1
        self.ring.wake()

    def alive(self, generation: int) -> bool:
        """Whether streams of that generation go on."""
        return generation == self._generation

    @property
    def generation(self) -> int:
        """Return what new streams belong to."""
        return self._generation

    @property
    def ending(self) -> grpc.StatusCode | None:
        """Return how the last generation of streams ended."""
        return self._ending


class Observer:
    """Hubble's service Observer over a node's ring; what agents do not offer is unimplemented."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def add_to(self, server: grpc.Server) -> None:
        """Register the service; GetFlows answers with bytes that are already serialised."""
        messages = observer_pb2
        handlers = {
            "GetFlows": grpc.unary_stream_rpc_method_handler(
                self.GetFlows, request_deserializer=messages.GetFlowsRequest.FromString
            ),
            "ServerStatus": grpc.unary_unary_rpc_method_handler(
                self.ServerStatus,
                request_deserializer=messages.ServerStatusRequest.FromString,
                response_serializer=messages.ServerStatusResponse.SerializeToString,
            ),
            "GetNamespaces": grpc.unary_unary_rpc_method_handler(
                self.GetNamespaces,
                request_deserializer=messages.GetNamespacesRequest.FromString,
                response_serializer=messages.GetNamespacesResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("observer.Observer", handlers),)
        )

    def ServerStatus(
        self, request: observer_pb2.ServerStatusRequest, context: grpc.ServicerContext
    ) -> observer_pb2.ServerStatusResponse:
        node = self._node
        return observer_pb2.ServerStatusResponse(
            version=VERSION,
            max_flows=node.ring.capacity,
            num_flows=len(node.ring),
            seen_flows=node.seen,
            uptime_ns=time.monotonic_ns() - node.started,
            flows_rate=self._rate(),
        )

    def GetNamespaces(
        self, request: observer_pb2.GetNamespacesRequest, context: grpc.ServicerContext
    ) -> observer_pb2.GetNamespacesResponse:
        cluster = self._node.name.partition("/")[0]
        return observer_pb2.GetNamespacesResponse(
            namespaces=[
                observer_pb2.Namespace(cluster=cluster, namespace=name)
                for name in sorted(self._node.namespaces)
            ]
        )

    def GetFlows(
        self, request: observer_pb2.GetFlowsRequest, context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        if request.first and request.follow:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "first cannot be specified with follow")
        try:
            wanted = filters.Wanted(request.whitelist, request.blacklist)
        except filters.Unsupported as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except filters.Invalid as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))
        if not request.field_mask.IsValidForDescriptor(flow_pb2.Flow.DESCRIPTOR):
            context.abort(grpc.StatusCode.UNKNOWN, "invalid field mask")
        stream = Stream(self._node, request, wanted)
        if not context.add_callback(stream.leave):
            return
        yield from stream.responses()
        if stream.broken is not None:
            context.abort(stream.broken, "error reading from server: EOF")

    def _rate(self) -> float:
        """Return flows a second over the last minute, or as far as the ring goes back."""
        now = time.time_ns()
        since, count = now - 60 * events.NANOSECONDS, 0
        position = self._node.ring.newest()
        while (event := self._node.ring.look(position)) is not None and event.time >= since:
            count, position, oldest = count + 1, position - 1, event.time
        if count and event is None:
            since = oldest  # the ring goes back less than a minute
        return count * events.NANOSECONDS / max(now - since, 1)


class Stream:
    """One GetFlows call."""

    def __init__(
        self, node: Node, request: observer_pb2.GetFlowsRequest, wanted: filters.Wanted
    ) -> None:
        self._node, self._request, self._wanted = node, request, wanted
        self._ring = node.ring
        self._since = request.since.ToNanoseconds() if request.HasField("since") else None
        self._until = request.until.ToNanoseconds() if request.HasField("until") else None
        self._verdicts: dict[int, tuple[flow_pb2.Flow, bool]] = {}
        self._generation = node.generation
        self._left = threading.Event()
        self.broken: grpc.StatusCode | None = None

    def leave(self) -> None:
        """Take note that the client is gone."""
        self._left.set()
        self._ring.wake()

    def responses(self) -> Iterator[bytes]:
        """Yield what the request asks for."""
        position, delivered, missed = self._start(), 0, Missed()
        follow, number = self._request.follow, self._request.number
        while self._goes_on():
            chunk = self._ring.read(position, at_most=AT_ONCE)
            position = chunk.position
            if chunk.lost:
                missed.add(chunk.lost, time.time_ns())
            for event in chunk.events:
                if missed.count and missed.due(now := time.time_ns()):
                    yield self._told(missed, now)
                    missed = Missed()
                if not self._goes_on():
                    return
                if not follow and number and delivered >= number:
                    return
                if event.flow is not None:
                    if self._until is not None and event.time > self._until:
                        return
                    if self._since is not None and event.time < self._since:
                        continue
                    if not self._passes(event):
                        continue
                    delivered += 1
                yield self._masked(event)
            if not chunk.events and not chunk.lost:
                if not follow:
                    return
                self._ring.wait(position, LOOK_SECONDS)

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
