"""Topic to matches: flows a second and core, over the embedded log.

Every flow is different in time, uuid and source port; keys (both ends and the port) follow Zipf's
law. What is measured is CPU time of the process from the first poll to the last commit: decoding,
explaining, adding up and writing. The numbers of policies take turns, round by round, over the same
records, so that what else the machine does concerns them alike; each figure is the median of the
rounds. Explanations found for the first time, and scans that no key repeats, are measured apart.
"""

import gc
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import prometheus_client
import pydantic_core

from bench import traffic
from bench.figures import Better, Figure
from bus import port
from bus.embedded import EmbeddedLog
from enricher import clusters, loop, metrics, session, settings
from runtime import clock
from schemas import messages, topics

NUMBERS = (10, 100, 1_000, 10_000)
"""Of policies."""
PEERS_OF_ONE = 10
"""Of each workload, each at ten ports: what one alert counts."""
ROUNDS = 11
FLOWS = 100_000
"""In each round."""
SCANNED = 65_535
SOURCES = 100_000
SCANS = 3
TARGET = 120_000
SCAN_TARGET = 60_000
COLD_TARGET = 3_000
MAX_RATIO = 1.15
CHANGED_BEFORE = 10
"""Seconds before the first flow."""
BATCH_SECONDS = 5
"""So that a round is one batch, as at this rate, even where the machine does something else too."""


@dataclass(frozen=True, slots=True)
class Measured:
    """CPU seconds for so many flows."""

    flows: int
    seconds: float
    matches: int = 0

    @property
    def rate(self) -> float:
        return self.flows / self.seconds


def run() -> list[Figure]:
    """Return the figures of the enricher, all from one run."""
    gc.set_threshold(*loop.GC_THRESHOLDS)
    rounds = _in_turns()
    rates = {
        number: statistics.median(found.rate for found in rounds[number]) for number in NUMBERS
    }
    noted = (
        f"{traffic.IDENTITIES} identities, {traffic.KEYS:,} keys, Zipf {traffic.ZIPF}; median of"
        f" {ROUNDS} rounds of {FLOWS:,} flows, {rounds[1_000][-1].matches:,} matches each"
    )
    return [
        Figure(
            name="enricher, 1,000 policies",
            value=rates[1_000],
            unit="flows/s a core",
            target=TARGET,
            better=Better.HIGHER,
            note=noted,
        ),
        *(
            Figure(
                name=f"enricher, {number:,} policies", value=rates[number], unit="flows/s a core"
            )
            for number in (10, 100, 10_000)
        ),
        *(
            Figure(
                name=f"enricher, {one:,} policies against {other:,}",
                value=_ratio(rounds, one, other),
                unit="times as fast",
                target=MAX_RATIO,
            )
            for one, other in ((100, 1_000), (1_000, 10_000))
        ),
        Figure(
            name="enricher, 10 policies against 10,000",
            value=_ratio(rounds, 10, 10_000),
            unit="times as fast",
        ),
        *_alone(),
        _just_changed(),
        *_all_alerting(),
    ]


def _ratio(rounds: dict[int, list[Measured]], one: int, other: int) -> float:
    pairs = zip(rounds[one], rounds[other], strict=True)
    return statistics.median(mine.rate / its.rate for mine, its in pairs)


def _in_turns() -> dict[int, list[Measured]]:
    """Return the rounds of each number of policies; what each key comes to is known by then."""
    keys = traffic.keys(peers_of_one=PEERS_OF_ONE)
    drawn = traffic.zipf(keys, FLOWS)
    known = traffic.records(keys)
    found: dict[int, list[Measured]] = {number: [] for number in NUMBERS}
    with ExitStack() as stack:
        benches = {
            number: stack.enter_context(_bench(traffic.policies(number))) for number in NUMBERS
        }
        for bench in benches.values():
            bench.write(known)
            bench.drain(traffic.KEYS)
        for _ in range(ROUNDS):
            records = traffic.records(drawn)
            for number, bench in benches.items():
                bench.write(records)
                found[number].append(bench.drain(FLOWS))
    return found


def _alone() -> Iterator[Figure]:
    """Measure what is not repeated: keys that are explanations of their own, and scans."""
    keys = traffic.keys(peers_of_one=traffic.KEYS // traffic.IDENTITIES)
    with _bench(traffic.policies(1_000)) as bench:
        bench.write(traffic.records(keys))
        cold = bench.drain(len(keys))
        explained = bench.explained()
        bench.write(traffic.records(traffic.zipf(keys, FLOWS)))
        apart = bench.drain(FLOWS)
        ports, sources = [], []
        for subject in range(SCANS):
            scan = (traffic.denied(subject, 7, number) for number in range(1, SCANNED + 1))
            bench.write(traffic.records(scan))
            ports.append(bench.drain(SCANNED))
            scan = (traffic.from_world(subject, number) for number in range(SOURCES))
            bench.write(traffic.records(scan))
            sources.append(bench.drain(SOURCES))
    yield Figure(
        name="enricher, explained for the first time, 1,000 policies",
        value=explained / cold.seconds,
        unit="explanations/s a core",
        target=COLD_TARGET,
        better=Better.HIGHER,
        note=f"{explained:,} explanations, each an alert of its own",
    )
    yield Figure(
        name="enricher, every pair of workloads an alert of its own",
        value=apart.rate,
        unit="flows/s a core",
        note=f"{apart.matches:,} matches of {FLOWS:,} flows",
    )
    for name, scans in (("65,535 ports", ports), ("100,000 sources", sources)):
        yield Figure(
            name=f"enricher, a scan of {name}",
            value=statistics.median(scan.rate for scan in scans),
            unit="flows/s a core",
            target=SCAN_TARGET,
            better=Better.HIGHER,
            note=f"{scans[0].matches:,} matches; median of {SCANS} scans",
        )


def _just_changed() -> Figure:
    """Measure flows of the minute in which nodes may still enforce what was before a change."""
    keys = traffic.keys(peers_of_one=PEERS_OF_ONE)
    changed = datetime.now(tz=UTC) - timedelta(seconds=traffic.AGO + CHANGED_BEFORE)
    with _bench(traffic.policies(1_000), since=changed) as bench:
        bench.write(traffic.records(keys))
        bench.drain(len(keys))
        bench.write(traffic.records(traffic.zipf(keys, FLOWS)))
        found = bench.drain(FLOWS)
    return Figure(
        name="enricher, 1,000 policies that all have just changed",
        value=found.rate,
        unit="flows/s a core",
        note="as long as either version may be in force",
    )


def _all_alerting() -> Iterator[Figure]:
    """Measure what each further owner costs who wants to know of the same flows."""
    keys = traffic.keys(peers_of_one=PEERS_OF_ONE)
    with _bench(traffic.policies(1_000, all_alert=True)) as bench:
        bench.write(traffic.records(keys))
        bench.drain(None)
        bench.write(traffic.records(traffic.zipf(keys, FLOWS)))
        found = bench.drain(None)
    yield Figure(
        name="enricher, 1,000 policies, all alerting",
        value=FLOWS / found.seconds,
        unit="flows/s a core",
        note=f"{found.flows / FLOWS:.1f} policies to a flow, {found.matches:,} matches",
    )


class _Bench:
    """An enricher over a log of its own, driven by hand."""

    def __init__(
        self, folder: Path, policies: Sequence[dict[str, Any]], since: datetime | None
    ) -> None:
        self._log = EmbeddedLog(folder / "log.db")
        self._log.ensure(topics.ALL)
        self._producer = self._log.producer("bench")
        self._publish(policies, since)
        table = clusters.Clusters(self._log.reader([topics.POLICIES.name]))
        table.read_to_end()
        self._registry = prometheus_client.CollectorRegistry()
        self._session = session.Session(
            settings.EnricherSettings(batch_seconds=BATCH_SECONDS),
            connection=self._log,
            clusters=table,
            matchings={},
            unreadable=[],
            clock=clock.SYSTEM,
            metrics=metrics.Metrics(self._registry),
        )
        self._session.step()
        self._reader = self._log.reader([topics.MATCHES.name])

    def write(self, records: Sequence[bytes]) -> None:
        """Put records of flows on the topic."""
        with self._producer.transaction() as transaction:
            for record in records:
                transaction.send(port.Outgoing(topic=topics.FLOWS.name, value=record))

    def drain(self, expected: int | None) -> Measured:
        """Enrich all that is on the topic; check that the matches add up to `expected`."""
        before = time.process_time()
        while any(
            lag.end > (lag.committed or 0)
            for lag in self._log.lag(session.GROUP, [topics.FLOWS.name])
        ):
            self._session.step()
        seconds = time.process_time() - before
        counted = records = 0
        for record in port.read_to_end(self._reader):
            event = pydantic_core.from_json(record.value)
            if event["type"] == messages.MATCH:
                counted += event["data"]["count"]
                records += 1
        if expected is not None and counted != expected:
            raise AssertionError(f"{expected} flows were written and {counted} counted")
        return Measured(counted, seconds, records)

    def explained(self) -> int:
        """Return how many explanations had to be found so far."""
        name = "picket_enricher_explanations_total"
        return int(self._registry.get_sample_value(name, {"cluster": traffic.CLUSTER}) or 0)

    def close(self) -> None:
        self._session.close()
        self._producer.close()
        self._reader.close()
        self._log.close()

    def _publish(self, policies: Sequence[dict[str, Any]], since: datetime | None) -> None:
        now = datetime.now(tz=UTC)
        with self._producer.transaction() as transaction:
            for manifest in policies:
                metadata = manifest["metadata"]
                name = f"{metadata['namespace']}/{metadata['name']}"
                value = messages.PolicyObject(
                    cluster=traffic.CLUSTER, manifest=manifest, since=since
                )
                transaction.send(
                    port.Outgoing(
                        topic=topics.POLICIES.name,
                        key=f"{traffic.CLUSTER}/{manifest['kind']}/{name}".encode(),
                        value=value.model_dump_json().encode(),
                    )
                )
            marker = messages.Synced(cluster=traffic.CLUSTER, at=now, objects=len(policies))
            transaction.send(
                port.Outgoing(
                    topic=topics.POLICIES.name,
                    key=f"{traffic.CLUSTER}/{clusters.SYNCED}".encode(),
                    value=marker.model_dump_json().encode(),
                )
            )


@contextmanager
def _bench(
    policies: Sequence[dict[str, Any]], *, since: datetime | None = None
) -> Iterator[_Bench]:
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), policies, since)
        try:
            yield bench
        finally:
            bench.close()


if __name__ == "__main__":
    for figure in run():
        print(f"{figure.name}: {figure.value:,.2f} {figure.unit} {figure.note}")
