"""The stages, each a process, on the real cluster: its relay, its API server, real packets."""

import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from agent import table
from bus import opening, port
from schemas import topics
from schemas.hubble import flow_pb2
from tests import waiting
from tests.journeys import pipeline
from tests.journeys.pipeline import Counted
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.hosts import Call
from tests.parts.cilium.pods import DISCARD, Pod

ONE_PACKET = 0.3
"""Seconds of patience within which nothing is sent a second time: one packet, one event."""
VERDICT = 5
WORLD = "world//world"
PROJECT = {"app.gitlab.com/proj": "123"}
ALERT = {"app.gitlab.com/alert": "true"}
Manifest = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Live:
    """A pipeline at work, and the books of what it must come to."""

    cluster: Cluster
    stages: pipeline.Pipeline
    books: Counter[Counted] = field(default_factory=Counter)
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    """What was stopped before is in the rings as well: earlier tests, whose policies are gone."""

    def stopped(self, call: Call, *alerts: Counted) -> Call:
        """Book a call that must have been stopped, once in each of these alerts."""
        assert call.error == "timed out", call
        self.books.update(alerts)
        return call

    def passed(self, call: Call, *alerts: Counted) -> Call:
        """Book a call that must have got through; in audit mode it counts all the same."""
        assert call.error in {"", "refused"}, call
        self.books.update(alerts)
        return call

    def watched(self, flows: Iterable[flow_pb2.Flow], alert: Counted) -> int:
        """Book those of the flows that tell of something stopped; return how many these are.

        Also a packet in the middle of a connection is one, where a policy came meanwhile.
        """
        count = sum(map(tells_of_a_stop, flows))
        self.books[alert] += count
        return count

    def audit(self, *, seconds: float = 60.0) -> None:
        """Wait until the alerts are exactly what the books say, and nothing is unexplained."""
        deadline = time.monotonic() + seconds
        while (found := self.stages.counts()) != self.books:
            self.stages.check_alive()
            too_many = found - self.books
            assert not too_many, f"counted and not in the books: {dict(too_many)}"
            if time.monotonic() > deadline:
                missing = dict(self.books - found)
                where = self.stages.state_of_affairs()
                raise AssertionError(f"not counted within {seconds} s: {missing}\n{where}")
            self.cluster.nudge()
            time.sleep(0.3)
        assert not (left := self.unexplained()), f"unexplained: {left}"

    def seconds_until(self, alert: Counted, count: int) -> float:
        """Return how long it takes until an alert counts so many, without any further event."""
        began = time.monotonic()
        waiting.until(lambda: self.stages.counts()[alert] >= count, every=0.05, what=str(alert))
        return time.monotonic() - began

    def tell(self, pod: Pod) -> None:
        """Have one later event, an allowed one, on a pod's node: its newest is told only then."""
        pod.node.host.udp(pod.ip, DISCARD, timeout=0)

    def unexplained(self) -> list[Mapping[str, Any]]:
        """Return what the operator was told to be unexplained."""
        return [
            row
            for row in self.stages.notices()
            if row["kind"] == "unexplained"
            and datetime.fromisoformat(row["last_seen"]) > self.since
        ]

    def notices(self, kind: str) -> list[Mapping[str, Any]]:
        """Return what the operator was told of a kind."""
        return [row for row in self.stages.notices() if row["kind"] == kind]

    @contextlib.contextmanager
    def frozen(self, stage: str) -> Iterator[None]:
        """Have a stage stand still for a while, its connections open."""
        process = self.stages.processes[stage]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def lost(self) -> Counter[str]:
        """Return the numbers of lost events that the operator was told, by their source."""
        told: Counter[str] = Counter()
        for row in self.notices("lost-events"):
            told[row["reason"]] += row["count"]
        return told


@contextlib.contextmanager
def running(
    cluster: Cluster, folder: Path, *, wait: bool = True, **settings: Mapping[str, Any]
) -> Iterator[Live]:
    """Run all stages over the embedded log; `wait` until policies are read and flows arrive."""
    own: dict[str, dict[str, Any]] = {
        "agent": {"cluster": cluster.name, "kubeconfig": str(cluster.kubeconfig)},
        "collector": {"cluster": cluster.name, "relay": cluster.relay.address},
        "enricher": {},
        "alert-api": {},
    }
    for stage, own_settings in settings.items():
        own[stage.replace("_", "-")] |= own_settings
    stages = pipeline.Pipeline(
        folder=folder,
        bus=str(folder / "log.db"),
        database=f"sqlite:///{folder / 'alerts.db'}",
        settings=own,
    )
    with pipeline.running(stages):
        live = Live(cluster=cluster, stages=stages)
        if wait:
            log = opening.open_log(opening.BusSettings(bus=stages.bus))
            log.ensure(topics.ALL)
            waiting.until(lambda: _is_up(live, log), what="every stage at work", every=0.2)
            log.close()
        yield live


def _is_up(live: Live, log: port.Log) -> bool:
    """Return whether the policies are known, flows are collected, and the API answers."""
    live.stages.check_alive()
    is_read = table.read(log, live.cluster.name).synced is not None
    is_collecting = "collecting" in live.stages.tail("collector", 100)
    with contextlib.suppress(httpx.HTTPError):
        return is_read and is_collecting and live.stages.alerts() is not None
    return False


def tells_of_a_stop(flow: flow_pb2.Flow) -> bool:
    """Return whether a flow is the verdict on a packet that was stopped."""
    return flow.verdict == flow_pb2.DROPPED and flow.event_type.type == VERDICT


def alert(
    policy: str,
    subject: str,
    peer: str,
    *,
    direction: str = "ingress",
    reason: str = "no-rule-allowed",
) -> Counted:
    """Return what an alert is about; pods are workloads, `namespace/app`, unless a kind is named."""

    def whole(name: str) -> str:
        return name if name.count("/") >= 2 else f"workload/{name}"

    kind, slash, rest = policy.partition(":")
    named = f"{kind}/{rest}" if slash else f"CiliumNetworkPolicy/{policy}"
    return Counted(named, direction, reason, whole(subject), whole(peer))


def a_policy(namespace: str, name: str, selected: Mapping[str, str], **spec: Any) -> Manifest:
    """Return an alerting CiliumNetworkPolicy."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(PROJECT),
            "annotations": dict(ALERT),
        },
        "spec": {"endpointSelector": {"matchLabels": dict(selected)}, **spec},
    }


def nobody() -> Manifest:
    """Return a rule that allows no pod there is."""
    return {"fromEndpoints": [{"matchLabels": {"app": "nobody"}}]}


def until(act: Callable[[], Call], *, ok: bool) -> None:
    """Repeat a call until it gets through, or is stopped."""
    waiting.until(lambda: act().ok is ok, every=0.05, what=f"a call with ok={ok}")
