"""From the moment a flow happened to the answer of the list of alerts that counts it.

Real relay, Kafka (one broker) and PostgreSQL (every commit on its disk), each stage a process of
its own, as the command line starts it; only the nodes are synthetic. A fresh fingerprint is a
workload's first stopped call ever: nothing about it is in any cache. Each is its own sample: from
the flow's time to the end of the GET that showed its alert, asked every 20 ms.

The rates are of stopped flows, which are all that relay passes on to the collector: the pipeline
has to work off every one. Relay's sorting holds each back until as many others came as there are
nodes, or a second passed without any, and gets no help from flows that nobody collects. Slow loads
are played at random moments, each verdict with its drop event, as a cluster shows them; fast ones
are written by the nodes' own generator, verdicts only.
"""

import contextlib
import itertools
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from bench.figures import Better, Figure, quantile
from bus import opening, port
from runtime.supervisor import PARENT_VARIABLE
from schemas import topics
from tests import waiting
from tests.journeys import pipeline
from tests.parts import kafka, postgres, relay
from tests.parts.nodes import Nodes
from tests.parts.synthetic import mix

CLUSTER = "demo"
NODES = 3
RING = 16_383
"""Flows that a node keeps: at 5,000 a second about ten seconds, so that a hiccup loses none."""
JVM = ("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC")
"""The tests' broker must be quick to start; this one may compile as it likes."""

PLAYED_RATE = 50
"""Up to so many flows a second each is played by itself."""
POLL_SECONDS = 0.02
START_SECONDS = 60.0
AWAIT_SECONDS = 30.0
"""A fresh alert that takes longer ends the benchmark: it is lost, not late."""
CAUGHT_UP_SECONDS = 60.0
WARM_RATE = 500
WARM_SECONDS = 10.0
SUSTAINED = 0.95
"""Of a load's rate: where the nodes wrote fewer flows, it was another load."""
MILLISECOND = 10**6
SECOND = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many stopped flows a second, the fresh ones among them, until all of those were sent."""

    rate: float
    fresh: int
    seconds: float
    """Over which the fresh ones are spread."""
    target: float
    """Seconds that 99 of 100 fresh ones may take."""

    @property
    def name(self) -> str:
        """Return how the figures speak of it."""
        return f"{self.rate:,g} flows/s"


LOADS = (
    Load(rate=2, fresh=200, seconds=150, target=2.5),
    Load(rate=20, fresh=200, seconds=40, target=1.5),
    Load(rate=200, fresh=200, seconds=40, target=1.5),
    Load(rate=5_000, fresh=200, seconds=40, target=1.5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One fresh flow. All times in nanoseconds since the epoch."""

    happened: int
    in_flows: int
    """When its record was sent to the topic of flows, to the millisecond."""
    in_matches: int
    shown: int
    """When the GET that showed it had returned."""

    @property
    def seconds(self) -> float:
        """Return how long it took in all."""
        return (self.shown - self.happened) / SECOND

    @property
    def stages(self) -> tuple[float, float, float]:
        """Return the seconds to each topic and from the last one to the list."""
        times = (self.happened, self.in_flows, self.in_matches, self.shown)
        relayed, enriched, listed = ((b - a) / SECOND for a, b in itertools.pairwise(times))
        return relayed, enriched, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one load came to."""

    samples: Sequence[Sample]
    sustained: float
    """Stopped flows a second that the nodes really wrote, the fresh ones included."""
    uncounted: int
    """Flows that never reached an alert: nodes that had to overwrite them."""


def run(loads: Sequence[Load] = LOADS) -> list[Figure]:
    """Return the figures of every load, one after the other over the same pipeline."""
    with full_run() as whole:
        warm_up(whole)
        return [figure for load in loads for figure in _figures(load, _measure(whole, load))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The pipeline with all that it stands on."""

    nodes: Nodes
    stages: pipeline.Pipeline

    def expected(self) -> int:
        """Return how many events all alerts together must have."""
        return sum(pipeline.expected(self.nodes.do("truth")).values())

    def counted(self) -> int:
        """Return how many they have. Raises AssertionError where a stage ended."""
        self.stages.check_alive()
        return sum(self.stages.counts().values())

    def uncounted(self) -> int:
        """Return how many events are missing once nothing more comes; the load must be over.

        Raises AssertionError where something was counted twice.
        """
        expected = self.expected()
        deadline = time.monotonic() + CAUGHT_UP_SECONDS
        while (missing := expected - self.counted()) > 0 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert missing >= 0, f"{-missing} events too many"
        return missing


class Stages(pipeline.Pipeline):
    """The stages as the command line starts them, with nothing planted into them."""

    def start(self, *stages: str, die_at: int = 0) -> None:
        """Start stages; they end with this process."""
        assert not die_at, "here no stage dies"
        self.prepare()
        for stage in stages or pipeline.STAGES:
            command = [sys.executable, "-m", "cli", stage]
            command += [f"--config={self.folder / 'picket.toml'}", "--log-format=json"]
            with (self.folder / f"{stage}.log").open("ab") as output:
                self.processes[stage] = subprocess.Popen(
                    command,
                    cwd=pipeline.ROOT,
                    env=os.environ | {PARENT_VARIABLE: str(os.getpid())},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )


@contextlib.contextmanager
def full_run() -> Iterator[Whole]:
    """Start all parts and all stages; none outlives the block.

    Raises cache.Missing where a part cannot be had here.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="picket-bench-")))
        broker = stack.enter_context(kafka.running(folder / "kafka", jvm=JVM))
        database = stack.enter_context(postgres.running(durable=True))
        nodes = stack.enter_context(Nodes(NODES, f"--capacity={RING}"))
        front = stack.enter_context(relay.running(folder / "relay", nodes.peers, nodes=NODES))
        stages = Stages(
            folder=folder / "picket",
            bus=broker.url,
            database=database.create(),
            settings={
                "agent": {"cluster": CLUSTER, "policies": str(mix.POLICIES)},
                "collector": {"cluster": CLUSTER, "relay": front.address},
            },
        )
        stack.enter_context(pipeline.running(stages))
        try:
            yield Whole(nodes=nodes, stages=stages)
        except BaseException:
            _say_last_words(stages)
            raise


def _say_last_words(stages: pipeline.Pipeline) -> None:
    """Write what may explain a failure; the stages' folder goes with them."""
    for stage in pipeline.STAGES:
        print(f"{stage}:\n{stages.tail(stage)}", file=sys.stderr)
    with contextlib.suppress(port.LogError):
        log = opening.open_log(opening.BusSettings(bus=stages.bus))
        for topic, group in pipeline.READ_BY.items():
            for lag in log.lag(group, [topic]):
                print(f"{group}: {lag}", file=sys.stderr)
        log.close()


def warm_up(whole: Whole) -> None:
    """Wait until alerts come out of it, then for the broker's compiler."""
    whole.nodes.start(WARM_RATE, mix.Mix.DENIED)
    waiting.until(whole.counted, what="the first alerts", seconds=START_SECONDS)
    waiting.for_seconds(WARM_SECONDS, check=whole.stages.check_alive)
    whole.nodes.stop()
    uncounted = whole.uncounted()
    assert not uncounted, f"{uncounted} flows were not counted:\n{whole.stages.notices()}"


class Asking:
    """Asks for the list on a thread of its own while anything fresh is awaited."""

    def __init__(self, stages: pipeline.Pipeline, words: str) -> None:
        """`words` are what the list is filtered by."""
        self._query = {"text": words, "sort": "-first_seen"}
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{stages.port}",
            headers={"Authorization": f"Bearer {(stages.folder / 'token').read_text()}"},
            timeout=10,
        )
        self._awaited: set[str] = set()
        self.shown: dict[str, int] = {}
        """When each workload was first in an answer, in nanoseconds."""
        self.problem: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="asking", daemon=True)

    def expect(self, app: str) -> None:
        """Ask until this workload is the peer of an alert. To be called before its flow."""
        self._awaited.add(app)

    def all_shown(self) -> bool:
        """Return whether nothing is awaited. Raises what ended the asking."""
        if self.problem is not None:
            raise self.problem
        return len(self.shown) == len(self._awaited)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while not self._over.wait(max(due - time.monotonic(), 0.0)):
                due = time.monotonic() + POLL_SECONDS
                if outstanding := len(self._awaited) - len(self.shown):
                    self._ask(outstanding)
        except Exception as problem:  # noqa: BLE001 - raised again on the thread that waits
            self.problem = problem

    def _ask(self, outstanding: int) -> None:
        # What is outstanding is the newest, so the answer need not grow with what was seen.
        query: dict[str, str | int] = {**self._query, "limit": min(outstanding + 5, 100)}
        answer = self._client.get("/api/v1/alerts", params=query)
        now = time.time_ns()
        answer.raise_for_status()
        for alert in answer.json()["alerts"]:
            app = alert["peer"]["name"]
            if alert["events"] >= 1 and app in self._awaited:
                self.shown.setdefault(app, now)


def _measure(whole: Whole, load: Load) -> Measured:
    """Let fresh flows happen now and then under a load, and wait for each."""
    words = f"fresh-{load.rate:g}-"
    happened: dict[str, int] = {}
    others = mix.Cast(list(whole.nodes.addresses)).stopped
    chance = random.Random(load.rate)
    with Asking(whole.stages, words) as asking:
        booked = whole.nodes.do("truth")["counted"]
        began = time.monotonic()
        if load.rate > PLAYED_RATE:
            whole.nodes.start(load.rate - load.fresh / load.seconds, mix.Mix.DENIED)
        for at, number in _schedule(load, chance):
            time.sleep(max(began + at - time.monotonic(), 0.0))
            if number is None:
                whole.nodes.play(chance.choice(others), release=False)
                continue
            app = f"{words}{number}"
            asking.expect(app)
            # A verdict, and the drop event without which its node would withhold it.
            verdict, _ = whole.nodes.do("strangers", apps=[app])["flows"]
            happened[app] = verdict["time"]
        waiting.until(asking.all_shown, what="the fresh alerts", seconds=AWAIT_SECONDS)
        books = whole.nodes.stop()
        lasted = time.monotonic() - began
    since = min(happened.values())
    in_flows = _written(whole.stages, topics.FLOWS.name, words, since=since)
    in_matches = _written(whole.stages, topics.MATCHES.name, words, since=since)
    return Measured(
        samples=[
            Sample(
                happened=at,
                in_flows=in_flows[app],
                in_matches=in_matches[app],
                shown=asking.shown[app],
            )
            for app, at in happened.items()
        ],
        sustained=(books["counted"] - booked) / lasted,
        uncounted=whole.uncounted(),
    )


def _schedule(load: Load, chance: random.Random) -> list[tuple[float, int | None]]:
    """Return what happens at which second: a fresh flow, by its number, or None, another one."""
    # Not in step with anything that ticks.
    each = load.seconds / load.fresh
    plan: list[tuple[float, int | None]] = [
        ((number + chance.random()) * each, number) for number in range(load.fresh)
    ]
    if load.rate <= PLAYED_RATE:
        others = round(load.rate * load.seconds) - load.fresh
        plan += [(chance.uniform(0, load.seconds), None) for _ in range(others)]
    return sorted(plan, key=lambda entry: entry[0])


def _written(stages: pipeline.Pipeline, topic: str, words: str, *, since: int) -> Mapping[str, int]:
    """Return when each workload was first in a record of a topic, in nanoseconds."""
    pattern = re.compile(re.escape(words.encode()) + rb"\d+(?![\d-])")
    first: dict[str, int] = {}
    log = opening.open_log(opening.BusSettings(bus=stages.bus))
    try:
        reader = log.reader([topic])
        for partition, offset in reader.at_time(since // MILLISECOND).items():
            reader.seek(partition, offset)
        for record in port.read_to_end(reader):
            at = record.timestamp * MILLISECOND
            for app in map(bytes.decode, pattern.findall(record.value or b"")):
                first[app] = min(at, first.get(app, at))
        reader.close()
    finally:
        log.close()
    return first


def _figures(load: Load, measured: Measured) -> list[Figure]:
    taken = [sample.seconds for sample in measured.samples]
    steps = zip(*(sample.stages for sample in measured.samples), strict=True)
    relayed, enriched, listed = map(statistics.median, steps)

    def figure(name: str, value: float, *, unit: str = "s", **more: Any) -> Figure:
        return Figure(name=f"flow to GET at {load.name}, {name}", value=value, unit=unit, **more)

    return [
        figure(
            "p50",
            statistics.median(taken),
            note=f"to the flows topic {relayed:.3f}, on to matches {enriched:.3f},"
            f" on to the list {listed:.3f}",
        ),
        figure(
            "p99",
            quantile(taken, 0.99),
            target=load.target,
            note=f"{len(taken)} fresh ones",
        ),
        figure("max", max(taken)),
        figure(
            "sustained",
            measured.sustained,
            unit="flows/s",
            target=load.rate * SUSTAINED,
            better=Better.HIGHER,
        ),
        figure("never counted", measured.uncounted, unit="flows", target=0),
    ]
