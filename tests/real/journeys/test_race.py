"""A policy applied and violated within the same second: no alert missing, none unexplained."""

import time
from collections.abc import Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests import waiting
from tests.contracts.hubble.reading import Client, moment
from tests.journeys.pipeline import Counted
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.hosts import Call
from tests.parts.cilium.pods import Pod, Wanted
from tests.parts.cilium.standard import Cast
from tests.real.journeys import live
from tests.real.journeys.live import alert
from tests.real.watching import Flow, watching

pytestmark = [
    *(pytest.mark.cilium, pytest.mark.kubernetes, pytest.mark.journey, pytest.mark.soak),
    *(pytest.mark.xdist_group("cilium"), pytest.mark.timeout(600)),
]

TARGETS = 20
ROUNDS = 10
BRIEF = 0.1
LATER = 2**63
APART_SECONDS = 6.0
"""Between two policies of one pod: nearer than 5 s, either may have been in force on a node."""


@pytest.fixture
def targets(cilium_cluster: Cluster) -> Iterator[list[Pod]]:
    """Pods that policies are raced for."""
    made = cilium_cluster.make(
        [
            Wanted("shop", f"target-{number}", ("n1", "n2")[number % 2], {"app": f"t{number}"})
            for number in range(TARGETS)
        ]
    )
    for pod in made:
        pod.serve(8080)
    yield made
    for pod in made:
        cilium_cluster.remove(pod)


@dataclass(slots=True)
class Race:
    """One policy after the other for one pod, each violated as soon as it is enforced."""

    at: live.Live
    cast: Cast
    target: Pod
    laps: list[tuple[Counted, int, int]] = field(default_factory=list)
    """What each policy's alert is about, and between which times it may have stopped packets."""

    def run(self, number: int, *, withdraw: bool) -> None:
        """Apply a policy, and call until it stops a call."""
        app = self.target.labels["app"]
        policy = live.a_policy(
            "shop", f"race-{app}-{number}", {"app": app}, ingress=[live.nobody()]
        )
        began = time.time_ns()
        self.at.cluster.control.apply(policy)
        live.until(self._call, ok=False)
        if withdraw:
            self.at.cluster.control.delete(policy)
            live.until(self._call, ok=True)
        about = alert(f"shop/race-{app}-{number}", f"shop/{app}", "shop/backend")
        self.laps.append((about, began, time.time_ns() if withdraw else LATER))

    def book(self, seen: Iterable[Flow]) -> None:
        """Book what was stopped, policy by policy."""
        flows = [flow for flow in seen if flow.IP.destination == self.target.ip]
        for about, began, ended in self.laps:
            lap = [flow for flow in flows if began <= flow.time.ToNanoseconds() <= ended]
            self.at.watched(lap, about)

    def _call(self) -> Call:
        return self.cast.backend.connect(self.target.ip, 8080, timeout=BRIEF)


def test_two_hundred_policies_are_violated_as_they_come(
    cilium_cluster: Cluster, cilium_cast: Cast, targets: list[Pod], tmp_path: Path
) -> None:
    """Many pods at a time, with the pipeline warm; each violation counts for its own policy."""
    with live.running(cilium_cluster, tmp_path) as at, watching(cilium_cluster) as watch:
        races = [Race(at, cilium_cast, target) for target in targets]
        with futures.ThreadPoolExecutor(len(races)) as pool:
            for number in range(ROUNDS):
                list(pool.map(lambda race, n=number: race.run(n, withdraw=True), races))
                waiting.for_seconds(APART_SECONDS, check=at.stages.check_alive)
        for race in races:
            race.book(watch.flows)
        assert len(at.books) == TARGETS * ROUNDS
        at.audit(seconds=120)


def test_a_pipeline_that_only_starts_misses_none_either(
    cilium_cluster: Cluster, cilium_cast: Cast, targets: list[Pod], tmp_path: Path
) -> None:
    """The stages start while the policies are applied and violated."""
    began = moment(time.time_ns())
    with live.running(cilium_cluster, tmp_path, wait=False) as at:
        races = [Race(at, cilium_cast, target) for target in targets]
        with futures.ThreadPoolExecutor(len(races)) as pool:
            list(pool.map(lambda race: race.run(0, withdraw=False), races))

        def is_counted() -> bool:
            # What was cut off in the middle is sent again and again, ever more rarely.
            cilium_cluster.nudge()
            at.books.clear()
            with cilium_cluster.relay.channel() as channel:
                # What the rings can still tell: no reader gets more of what was before it.
                seen = Client(channel).flows(since=began)
            for race in races:
                race.book(seen)
            return at.stages.counts() == at.books

        waiting.until(is_counted, what="each violation in its alert", seconds=120, every=0.5)
        assert not at.unexplained()
    for target in targets:
        name = f"race-{target.labels['app']}-0"
        cilium_cluster.control.delete(live.a_policy("shop", name, {}, ingress=[live.nobody()]))
