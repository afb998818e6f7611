"""A policy applied and violated within the same second: no alert missing, none unexplained."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    *(pytest.mark.cilium, pytest.mark.kubernetes, pytest.mark.journey),
    *(pytest.mark.xdist_group("cilium"), pytest.mark.timeout(1200)),
]

TARGETS = 20
POLICIES = 200
"""So many are violated within their second, of a warm pipeline and of cold ones."""
MOST_ROUNDS = 3 * POLICIES // TARGETS
"""A policy that Cilium took longer to enforce is seen to be counted, and another one raced."""
AT_ONCE = 4
"""With many more, Cilium takes longer than a second for each."""
FEW = 3
SOON_SECONDS = 10.0
BRIEF = 0.1
LATER = 2**63
SECOND = 10**9
APART_SECONDS = 6.0
"""Between two policies of one pod: nearer than 5 s, either may have been in force on a node."""


@contextlib.contextmanager
def targets(cluster: Cluster, count: int) -> Iterator[list[Pod]]:
    """Have pods that policies are raced for."""
    made = cluster.make(
        [
            Wanted("shop", f"target-{number}", ("n1", "n2")[number % 2], {"app": f"t{number}"})
            for number in range(count)
        ]
    )
    try:
        for pod in made:
            pod.serve(8080)
        yield made
    finally:
        for pod in made:
            cluster.remove(pod)


@dataclass(slots=True, kw_only=True)
class Lap:
    """One policy of a race; times are nanoseconds since the epoch."""

    policy: live.Manifest
    about: Counted
    """What its alert is about."""
    began: int
    """Not before this time it stops anything."""
    applied: int
    """From this time on the API server has it."""
    ended: int = LATER

    def stopped(self, flows: Iterable[Flow]) -> list[Flow]:
        """Return those flows that tell of what it stopped."""
        return [
            flow
            for flow in flows
            if self.began <= flow.time.ToNanoseconds() <= self.ended and live.tells_of_a_stop(flow)
        ]

    def seconds(self, flows: Iterable[Flow]) -> float:
        """Return how long it had been applied when it first stopped something, if it ever did."""
        times = (flow.time.ToNanoseconds() for flow in self.stopped(flows))
        return (min(times, default=math.inf) - self.applied) / SECOND


@dataclass(slots=True)
class Race:
    """One policy after the other for one pod, each violated as soon as it is enforced."""

    at: live.Live
    cast: Cast
    target: Pod
    laps: list[Lap] = field(default_factory=list)

    def run(self, number: int) -> None:
        """Apply a policy, and call until it stops a call."""
        app = self.target.labels["app"]
        name = f"race-{app}-{number}"
        policy = live.a_policy("shop", name, {"app": app}, ingress=[live.nobody()])
        about = alert(f"shop/{name}", f"shop/{app}", "shop/backend")
        began = time.time_ns()
        self.at.cluster.control.apply(policy)
        lap = Lap(policy=policy, about=about, began=began, applied=time.time_ns())
        self.laps.append(lap)
        live.until(self._call, ok=False)

    def withdraw(self) -> None:
        """Delete the newest policy, and call until it stops none any more."""
        lap = self.laps[-1]
        self.at.cluster.control.delete(lap.policy)
        live.until(self._call, ok=True)
        lap.ended = time.time_ns()

    def book(self, seen: Iterable[Flow]) -> list[float]:
        """Book what was stopped, policy by policy; return how soon each stopped something."""
        flows = [flow for flow in seen if flow.IP.destination == self.target.ip]
        for lap in self.laps:
            self.at.watched(lap.stopped(flows), lap.about)
        return [lap.seconds(flows) for lap in self.laps]

    def _call(self) -> Call:
        return self.cast.backend.connect(self.target.ip, 8080, timeout=BRIEF)


def each(races: Sequence[Race], act: Callable[[Race], None]) -> None:
    """Have all races do something, several at the same time."""
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(act, races))


def run(races: Sequence[Race], number: int) -> None:
    """Apply a policy in each race, violate it, and withdraw it at once."""

    def lap(race: Race) -> None:
        race.run(number)
        race.withdraw()

    each(races, lap)


def run_cold(races: Sequence[Race], number: int, *, since: int) -> list[float]:
    """Withdraw only what is counted: an agent that starts reads nothing that is gone by then."""
    each(races, lambda race: race.run(number))
    try:
        return settle(races, lambda: in_the_rings(races[0].at.cluster, since))
    finally:
        each(races, Race.withdraw)


def in_the_rings(cluster: Cluster, since: int) -> list[Flow]:
    """Return what the rings can still tell: no reader gets more of what was before it."""
    with cluster.relay.channel() as channel:
        return Client(channel).flows(since=moment(since))


def settle(races: Sequence[Race], seen: Callable[[], Iterable[Flow]]) -> list[float]:
    """Wait until each violation that was seen is in its alert, and nothing else is.

    Return how soon each policy was violated.
    """
    at = races[0].at
    late: list[float] = []

    def is_counted() -> bool:
        # What was cut off in the middle is sent again and again, ever more rarely.
        at.cluster.nudge()
        at.books.clear()
        late[:] = book(races, seen())
        return at.stages.counts() == at.books

    waiting.until(is_counted, what="each violation in its alert", seconds=120, every=0.5)
    assert len(at.books) == sum(len(race.laps) for race in races)
    assert min(at.books.values()) >= 1
    assert not at.unexplained()
    return late


def book(races: Iterable[Race], seen: Iterable[Flow]) -> list[float]:
    """Book what was stopped in each race; return how soon each policy was violated."""
    return [seconds for race in races for seconds in race.book(seen)]


def in_time(late: Iterable[float]) -> int:
    """Return how many policies were violated within the second after they were applied."""
    return sum(seconds < 1 for seconds in late)


def test_a_few_policies_are_violated_as_they_come(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """While the stages start, and once they are at work; each violation counts for its policy.

    Cilium may need more than a second for a policy where a machine has much else to do: the soak
    tests count seconds.
    """
    began = time.time_ns()
    with (
        targets(cilium_cluster, 2 * FEW) as pods,
        live.running(cilium_cluster, tmp_path, wait=False) as at,
    ):
        races = [Race(at, cilium_cast, pod) for pod in pods]
        cold, warm = races[:FEW], races[FEW:]
        run_cold(cold, 0, since=began)
        run(warm, 0)
        assert max(settle(races, lambda: in_the_rings(cilium_cluster, began))) < SOON_SECONDS


@pytest.mark.soak
def test_two_hundred_policies_are_violated_within_their_second(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """Many pods at a time, with the pipeline warm; each violation counts for its own policy."""
    with (
        targets(cilium_cluster, TARGETS) as pods,
        live.running(cilium_cluster, tmp_path) as at,
        watching(cilium_cluster) as watch,
    ):
        races = [Race(at, cilium_cast, pod) for pod in pods]
        for number in range(MOST_ROUNDS):
            run(races, number)
            waiting.for_seconds(APART_SECONDS, check=at.stages.check_alive)
            if in_time(book(races, watch.flows)) >= POLICIES:
                break
        # Relay tells the watch some things later than the collector, which asks it otherwise.
        late = settle(races, lambda: watch.flows)
        assert in_time(late) >= POLICIES, sorted(late)


@pytest.mark.soak
def test_two_hundred_policies_are_violated_while_the_pipeline_starts(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """Start after start without a past, in the middle of policies that are applied and violated."""
    late: list[float] = []
    with targets(cilium_cluster, TARGETS) as pods:
        for number in range(MOST_ROUNDS):
            began = time.time_ns()
            with live.running(cilium_cluster, tmp_path / str(number), wait=False) as at:
                races = [Race(at, cilium_cast, pod) for pod in pods]
                late += run_cold(races, number, since=began)
                waiting.for_seconds(APART_SECONDS, check=at.stages.check_alive)
            if in_time(late) >= POLICIES:
                break
    assert in_time(late) >= POLICIES, sorted(late)
