"""The nodes that the contract is held against: each can make flows happen, and be asked.

A further kind is a class with these methods and a line in conftest.py.
"""

import base64
import contextlib
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Protocol

import grpc

from schemas.hubble import flow_pb2
from tests import waiting
from tests.contracts.hubble.reading import Client
from tests.parts import nodes, ports, relay
from tests.parts.cilium import pods, standard
from tests.parts.cilium.cluster import Cluster
from tests.parts.synthetic import events, kinds, mix


class Agent(Protocol):
    """One node of Hubble."""

    @property
    def name(self) -> str:
        """Return `<cluster>/<node>`."""
        ...

    @property
    def client(self) -> Client:
        """Return a client of its observer."""
        ...

    def happen(self, times: int = 1) -> None:
        """Have a call denied so often: each time a verdict, then its drop event.

        One more event of whatever kind comes after, so that all of them can be read.
        """
        ...

    def nudge(self) -> None:
        """Have one event of whatever kind happen."""
        ...

    def restart(self) -> None:
        """End its process and start it anew; returns when it answers, with a ring to read from."""
        ...


class Fed(Agent, Protocol):
    """A node whose events a test makes up."""

    def lose(self, count: int) -> None:
        """Lose so many events before they reach the ring."""
        ...


class Synthetic:
    """The first of the synthetic nodes: denied is what calls shop/frontend's wrong port."""

    def __init__(self, running: nodes.Nodes, channel: grpc.Channel) -> None:
        self.nodes = running
        self.client = Client(channel)
        self.name = "demo/n1"

    def happen(self, times: int = 1) -> None:
        self.nodes.play("frontend-calls-wrong-port", times)

    def nudge(self) -> None:
        self.nodes.do("release")

    def lose(self, count: int) -> None:
        self.nodes.do("lost", node=self.name, count=count)

    def restart(self) -> None:
        self.nodes.do("clear", node=self.name)


class Reference:
    """Hubble's own observer and ring, fed with the events of the synthetic nodes."""

    name = "demo/n1"

    def __init__(self, capacity: int, *, seeded: bool) -> None:
        self._capacity, self._seeded = capacity, seeded
        self._cast = mix.Cast([self.name])
        self._address = f"127.0.0.1:{ports.free()}"
        self._channel = grpc.insecure_channel(self._address)
        self.client = Client(self._channel)
        self._start()

    def happen(self, times: int = 1) -> None:
        for _ in range(times):
            for step in self._cast.scenarios["frontend-calls-wrong-port"].steps:
                self._write(events.Kind(step.flow))
        self.nudge()

    def nudge(self) -> None:
        self._write(events.Kind(kinds.noise(self.name)))

    def lose(self, count: int) -> None:
        at = time.time_ns()
        lost = events.Lost(source=1, count=count, cpu=0)
        self._put(lost.response(self.name, at))

    def restart(self) -> None:
        self.stop()
        self._start()

    def stop(self) -> None:
        """End the process as a kill -9 does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()

    def close(self) -> None:
        self.stop()
        self._channel.close()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [relay.reference(), f"--capacity={self._capacity}", f"--address={self._address}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout.readline().strip().decode() == self._address
        if self._seeded:
            self.nudge()
            self.nudge()
        grpc.channel_ready_future(self._channel).result(10)

    def _write(self, kind: events.Kind) -> None:
        self._put(kind.event(str(uuid.uuid4()).encode(), time.time_ns(), 40_000).data)

    def _put(self, data: bytes) -> None:
        self._process.stdin.write(base64.b64encode(data) + b"\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == b"ok\n"


class Real:
    """A node of the real cluster: denied is what its name server calls at the backend."""

    POLICY = "backend-ingress"
    CALL_SECONDS = 0.05
    """Less than a second, after which the packet would be sent again."""

    def __init__(self, cluster: Cluster, cast: standard.Cast, channel: grpc.Channel) -> None:
        self._cluster, self._cast = cluster, cast
        self._node = cast.backend.node
        self.client = Client(channel)
        self.name = f"{cluster.name}/{self._node.name}"

    def happen(self, times: int = 1) -> None:
        caller, called = self._cast.coredns, self._cast.backend
        calls = [caller.connect(called.ip, 8080, timeout=self.CALL_SECONDS) for _ in range(times)]
        assert {call.error for call in calls} == {"timed out"}
        told = flow_pb2.FlowFilter(
            source_port=[str(call.port) for call in calls],
            event_type=[flow_pb2.EventTypeFilter(type=number) for number in (1, 5)],
        )

        def all_told() -> bool:
            self.nudge()
            return len(self.client.flows(first=True, whitelist=[told])) == 2 * times

        waiting.until(all_told, what="the denied calls")

    def nudge(self) -> None:
        before = self.client.status().seen_flows
        self._node.host.udp(self._cast.coredns.ip, pods.DISCARD, timeout=0)
        waiting.until(lambda: self.client.status().seen_flows > before, what="an event")

    def restart(self) -> None:
        self._cluster.stop_agent(self._node.name, kill=True)
        self._cluster.start_agent(self._node.name)
        waiting.until(lambda: self._node.realizes(1), what="endpoints", despite=(OSError,))
        self.nudge()
        self.nudge()


@contextlib.contextmanager
def synthetic(*, capacity: int = 4095, seeded: bool = True) -> Iterator[Synthetic]:
    """Run one synthetic node; `seeded`: its ring has two events to begin with."""
    arguments = [f"--capacity={capacity}", *([] if seeded else ["--empty"])]
    with (
        nodes.Nodes(1, *arguments) as running,
        grpc.insecure_channel(running.addresses["demo/n1"]) as channel,
    ):
        yield Synthetic(running, channel)


@contextlib.contextmanager
def reference(*, capacity: int = 4095, seeded: bool = True) -> Iterator[Reference]:
    """Run Hubble's own observer."""
    running = Reference(capacity, seeded=seeded)
    try:
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def real(cluster: Cluster, cast: standard.Cast) -> Iterator[Real]:
    """Have a policy in force at a node of the real cluster."""
    denying = [each for each in standard.policies() if each["metadata"]["name"] == Real.POLICY]
    with (
        cluster.enforced(denying),
        grpc.insecure_channel(cast.backend.node.observer) as channel,
    ):
        agent = Real(cluster, cast, channel)
        # Its ring is to hold what the contract's tests have happen, and nothing of before.
        agent.restart()
        yield agent
