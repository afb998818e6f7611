"""A relay in this process: nodes with rings behind Hubble's Observer service, under our thumb.

It keeps what the collector relies on: rings, `since`, `number`, `first`, `follow`, filters, GetNodes,
a node's error with its replay from the stream's first `since`, and a node that relay forgets.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field

import grpc

from collector import filters, instants
from schemas.hubble import flow_pb2, observer_pb2, observer_pb2_grpc, relay_pb2

ANY = flow_pb2.Flow


@dataclass(slots=True)
class Node:
    name: str
    capacity: int = 4095
    address: str = "10.0.0.1:4244"
    connected: bool = True
    attachable: bool = True
    """Whether a stream may read this node; its ring is asked all the same."""
    started: float = field(default_factory=time.monotonic)
    ring: list[observer_pb2.GetFlowsResponse] = field(default_factory=list)
    first: int = 0
    """The number of the oldest event in the ring."""

    def restart(self) -> None:
        """Lose the ring, as an agent does."""
        self.first += len(self.ring)
        self.ring.clear()
        self.started = time.monotonic()


@dataclass(slots=True)
class _Attached:
    node: Node
    position: int
    generation: int


class Observer(observer_pb2_grpc.ObserverServicer):
    """What a test holds in its hands."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.requests: list[observer_pb2.GetFlowsRequest] = []
        """Of following streams."""
        self.condition = threading.Condition(threading.RLock())
        self.open_streams = 0
        self.sent = 0
        self._epoch = 0
        self._generations: dict[str, int] = {}
        self._statuses: list[observer_pb2.GetFlowsResponse] = []
        self.is_relay = True
        self.rate = 0.0
        """Flows a second, as its status tells."""
        self.readings = 0
        """How often what the rings hold since some time was asked for, without following."""
        self.failing = False
        """Whether such a question gets an error."""
        self.slow_before = 0
        """Following streams that ask since before this (nanoseconds) bring nothing for now."""

    def node(self, name: str = "demo/n1", *, capacity: int | None = None) -> Node:
        with self.condition:
            found = self.nodes.setdefault(name, Node(name))
            found.capacity = capacity or found.capacity
            return found

    def emit(self, *flows: flow_pb2.Flow | observer_pb2.GetFlowsResponse) -> None:
        """Let nodes see these, in this order."""
        with self.condition:
            for item in flows:
                response = (
                    item
                    if isinstance(item, observer_pb2.GetFlowsResponse)
                    else observer_pb2.GetFlowsResponse(
                        flow=item, node_name=item.node_name, time=item.time
                    )
                )
                node = self.nodes.setdefault(response.node_name, Node(response.node_name))
                node.ring.append(response)
                while len(node.ring) > node.capacity:
                    node.ring.pop(0)
                    node.first += 1
            self.condition.notify_all()

    def break_streams(self) -> None:
        """End all streams, as a relay that dies."""
        with self.condition:
            self._epoch += 1
            self.condition.notify_all()

    def fail(self, name: str) -> None:
        """Break a node's stream: relay says so, and reads it again from the first `since`."""
        with self.condition:
            self._generations[name] = self._generations.get(name, 0) + 1
            status = relay_pb2.NodeStatusEvent(
                state_change=relay_pb2.NODE_ERROR, node_names=[name], message="transport is closing"
            )
            self._statuses.append(
                observer_pb2.GetFlowsResponse(
                    node_status=status,
                    node_name="relay-host",
                    time=instants.timestamp(instants.of_seconds(time.time())),
                )
            )
            self.condition.notify_all()

    def forget(self, name: str) -> None:
        """End a node's stream without an error: relay never attaches it again to a stream."""
        with self.condition:
            self._generations[name] = -1
            self.condition.notify_all()

    def GetNodes(self, request, context):
        if not self.is_relay:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "GetNodes not implemented")
        with self.condition:
            return observer_pb2.GetNodesResponse(
                nodes=[
                    observer_pb2.Node(
                        name=node.name,
                        address=node.address,
                        state=relay_pb2.NODE_CONNECTED if node.connected else relay_pb2.NODE_ERROR,
                        max_flows=node.capacity,
                        num_flows=len(node.ring),
                        seen_flows=node.first + len(node.ring),
                    )
                    for node in self.nodes.values()
                ]
            )

    def ServerStatus(self, request, context):
        with self.condition:
            return observer_pb2.ServerStatusResponse(
                version="observer v0",
                max_flows=sum(node.capacity for node in self.nodes.values()),
                flows_rate=self.rate,
            )

    def GetFlows(self, request, context):
        wanted = filters.Filters(tuple(request.whitelist), tuple(request.blacklist))
        if request.follow:
            yield from self._follow(request, wanted, context)
            return
        with self.condition:
            if request.HasField("since"):
                self.readings += 1
                if self.failing:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "nothing but streams today")
            found = []
            for node in self.nodes.values():
                if not node.connected:
                    continue
                hits = [
                    item
                    for item in node.ring
                    if _passes(item, wanted)
                    and item.HasField("flow")
                    and instants.of(item.time) >= instants.of(request.since)
                ]
                count = int(request.number) or len(hits)
                found += hits[:count] if request.first else hits[-count:]
                # They pass every filter, and are not counted.
                found += [item for item in node.ring if item.HasField("lost_events")]
        yield from found

    def _follow(self, request, wanted, context) -> Iterator[observer_pb2.GetFlowsResponse]:
        with self.condition:
            self.requests.append(request)
            self.open_streams += 1
            epoch, told = self._epoch, len(self._statuses)
            # A stream of its own begins with a clean slate.
            for name, generation in self._generations.items():
                self._generations[name] = max(generation, 0)
            self.condition.notify_all()
        attached: dict[str, _Attached] = {}
        status = relay_pb2.NodeStatusEvent(
            state_change=relay_pb2.NODE_CONNECTED, node_names=list(self.nodes)
        )
        try:
            yield observer_pb2.GetFlowsResponse(node_status=status, node_name="relay-host")
            while context.is_active():
                with self.condition:
                    if self._epoch != epoch:
                        context.abort(grpc.StatusCode.UNAVAILABLE, "relay is going away")
                    batch = self._statuses[told:]
                    told = len(self._statuses)
                    batch += self._read(attached, request, wanted)
                    if not batch:
                        self.condition.wait(0.1)
                for item in batch:
                    yield item
                    self.sent += 1
        finally:
            with self.condition:
                self.open_streams -= 1
                self.condition.notify_all()

    def _read(self, attached, request, wanted) -> list[observer_pb2.GetFlowsResponse]:
        batch = []
        since = instants.of(request.since)
        if since < self.slow_before:
            return batch
        for node in self.nodes.values():
            generation = self._generations.get(node.name, 0)
            if generation < 0 or not node.connected or not node.attachable:
                continue
            reader = attached.get(node.name)
            if reader is None or reader.generation != generation:
                reader = attached[node.name] = _Attached(node, node.first, generation)
            start = max(reader.position - node.first, 0)
            for item in node.ring[start:]:
                is_old = item.HasField("flow") and instants.of(item.time) < since
                if not is_old and _passes(item, wanted):
                    batch.append(item)
            reader.position = node.first + len(node.ring)
        return batch


@contextlib.contextmanager
def serving(
    observer: Observer | None = None,
    *,
    port: int = 0,
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[tuple[Observer, str]]:
    """Serve on loopback; yield what to steer it by, and its address."""
    observer = observer or Observer()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    observer_pb2_grpc.add_ObserverServicer_to_server(observer, server)
    address = f"127.0.0.1:{port}"
    if credentials is None:
        bound = server.add_insecure_port(address)
    else:
        bound = server.add_secure_port(address, credentials)
    server.start()
    try:
        yield observer, f"127.0.0.1:{bound}"
    finally:
        observer.break_streams()
        server.stop(0).wait()


def _passes(item: observer_pb2.GetFlowsResponse, wanted: filters.Filters) -> bool:
    return not item.HasField("flow") or filters.passes(item.flow, wanted)


def uuids(flows: Sequence[flow_pb2.Flow]) -> list[str]:
    return [flow.uuid for flow in flows]
