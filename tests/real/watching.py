"""Reading a cluster's flows through its relay, to find the ones that a call brought about."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from schemas.hubble import flow_pb2
from tests.contracts.hubble.reading import Client, Following, eventually, moment, only_flows
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.hosts import Call

Flow = flow_pb2.Flow


@dataclass(frozen=True, slots=True)
class Watch:
    """A stream of all flows of a cluster."""

    cluster: Cluster
    stream: Following

    @property
    def flows(self) -> list[Flow]:
        """Return what has come so far."""
        return only_flows(list(self.stream.answers))

    def until(self, met: Callable[[Flow], bool], what: str) -> list[Flow]:
        """Wait for flows of a kind, and return those that have come."""

        def found() -> list[Flow]:
            return [flow for flow in self.flows if met(flow)]

        # The newest event of a node is held back until the next one.
        eventually(lambda: bool(found()), what, meanwhile=self.cluster.nudge)
        return found()


@contextlib.contextmanager
def watching(cluster: Cluster) -> Iterator[Watch]:
    """Follow a cluster's flows from now on."""
    since = moment(time.time_ns())
    with (
        cluster.relay.channel() as channel,
        # `number` makes relay's heap small, so that a trickle gets through.
        Client(channel).follow(since=since, number=1) as stream,
    ):
        stream.until(len, "the connected nodes")
        yield Watch(cluster, stream)


def ports(flow: Flow) -> tuple[int, int]:
    """Return source and destination port, 0 where the protocol has none."""
    name = flow.l4.WhichOneof("protocol")
    protocol = getattr(flow.l4, name) if name else None
    return getattr(protocol, "source_port", 0), getattr(protocol, "destination_port", 0)


def of_call(flow: Flow, call: Call) -> bool:
    """Return whether a flow is of the caller's packets, and not of what came back."""
    return (flow.IP.source, ports(flow)[0]) == (call.source, call.port)


def named(endpoint: flow_pb2.Endpoint) -> str:
    """Return the pod's name, or `world`, or nothing."""
    return endpoint.pod_name or ("world" if "reserved:world" in endpoint.labels else "")
