"""One node: an observer that answers as Hubble's does, by the sources of Cilium 1.19.

Its server can go away and come back, its streams can be broken, ended or held up, and its ring can
be lost, as happens to an agent.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent import futures

import grpc

from schemas.hubble import flow_pb2, observer_pb2
from tests.parts.synthetic import events, filters, ring, streams

STREAMS = 32
"""How many streams one node serves at a time."""
GOING_SECONDS = 5.0
"""How long streams have to end before the server stops; one that nobody reads cannot.

Longer than a stream may take to notice on a busy machine: then it would be cancelled, which relay
takes for an end in good order.
"""
VERSION = "cilium v1.19.6+synthetic"


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
        stream = streams.Stream(self._node, request, wanted)
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
