"""Matches onto alerts: records a second from the log into PostgreSQL, and into SQLite.

10,000 alerts are open already; matches come for them by Zipf's law, and every tenth is of a
fingerprint never seen. A match has the size that the enricher's have, with a sample. The log is the
embedded one, and commits reach the disk. Time is wall clock, from the first poll to the last
commit; the database server runs on the same cores.
"""

import itertools
import random
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prometheus_client
import pydantic_core

from alert_api import ingest
from alert_api.database import Database
from alert_api.ingest import Ingest
from alert_api.letters import DeadLetters
from alert_api.metrics import Metrics
from alert_api.publishing import Publisher
from alert_api.settings import Settings
from bench.figures import Better, Figure
from bus import port
from bus.embedded import EmbeddedLog
from runtime import clock
from schemas import messages, topics
from tests.parts import postgres

FINGERPRINTS = 10_000
MATCHES = 30_000
NEW = 0.1
ZIPF = 1.0
TARGET = 3000
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of wall clock and of CPU for so many matches."""

    matches: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.matches / self.seconds


def run() -> list[Figure]:
    """Return the figures of the alert API, all from one run."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="picket-bench-") as name:
        folder = Path(name)
        with _postgres() as address:
            measured, told = _measure(folder / "postgres", address)
        figures += [
            _rate("matches into PostgreSQL", measured, target=TARGET),
            Figure(
                name="CPU a match, PostgreSQL, without the server",
                value=measured.cpu / measured.matches * 1e6,
                unit="µs",
            ),
            _rate("events from PostgreSQL to picket.alerts", told),
        ]
        (folder / "sqlite").mkdir()
        measured, told = _measure(folder / "sqlite", f"sqlite:///{folder}/sqlite/alerts.db")
        figures += [
            _rate("matches into SQLite", measured),
            _rate("events from SQLite to picket.alerts", told),
        ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB
    note = "the benchmark's records included"
    figures.append(Figure(name="resident memory, peak", value=peak, unit="MiB", note=note))
    return figures


def _rate(name: str, measured: Measured, *, target: float | None = None) -> Figure:
    return Figure(name=name, value=measured.rate, unit="/s", target=target, better=Better.HIGHER)


@contextmanager
def _postgres() -> Iterator[str]:
    with postgres.running(durable=True) as server:
        yield server.create()


def _measure(folder: Path, address: str) -> tuple[Measured, Measured]:
    """Return what reading the matches took, and what telling of the alerts did."""
    folder.mkdir(exist_ok=True)
    settings = Settings(database=address, token_file=folder / "none")
    database = Database(settings.database_url())
    database.upgrade()
    log = EmbeddedLog(folder / "log.db")
    log.ensure(topics.ALL)
    figures = Metrics(prometheus_client.CollectorRegistry())
    reading = Ingest(
        database=database,
        log=log,
        clock=clock.SYSTEM,
        metrics=figures,
        letters=DeadLetters(log=log, transactional_id="bench", stage=ingest.STAGE),
        batch_records=settings.batch_records,
    )
    consumer = log.consumer(ingest.GROUP, [ingest.TOPIC], listener=reading._listener)  # noqa: SLF001
    chance = random.Random(1)
    known = [f"{number:040x}" for number in range(FINGERPRINTS)]
    _put(log, known, chance)
    _read(reading, consumer, FINGERPRINTS)
    _put(log, _picked(known, chance), chance)
    measured = _read(reading, consumer, MATCHES)
    publisher = Publisher(database=database, log=log, clock=clock.SYSTEM, metrics=figures)
    started, cpu, told = time.perf_counter(), time.process_time(), 0
    while sent := publisher.step():
        told += sent
    telling = Measured(told, time.perf_counter() - started, time.process_time() - cpu)
    publisher.close()
    consumer.close()
    log.close()
    database.close()
    return measured, telling


def _picked(known: Sequence[str], chance: random.Random) -> list[str]:
    weights = list(itertools.accumulate(1 / rank**ZIPF for rank in range(1, len(known) + 1)))
    picked = chance.choices(known, cum_weights=weights, k=MATCHES)
    return [f"{chance.getrandbits(160):040x}" if chance.random() < NEW else name for name in picked]


def _read(reading: Ingest, consumer: port.Consumer, records: int) -> Measured:
    started, cpu, counted = time.perf_counter(), time.process_time(), 0
    while counted < records:
        counted += reading.step(consumer)
    return Measured(counted, time.perf_counter() - started, time.process_time() - cpu)


def _put(log: port.Log, fingerprints: Sequence[str], chance: random.Random) -> None:
    producer = log.producer("bench")
    for start in range(0, len(fingerprints), 1000):
        with producer.transaction() as transaction:
            for name in fingerprints[start : start + 1000]:
                transaction.send(
                    port.Outgoing(topic=ingest.TOPIC, key=name.encode(), value=_event(name, chance))
                )
    producer.close()


def _event(fingerprint: str, chance: random.Random) -> bytes:
    now = datetime.now(tz=UTC)
    policy = {"kind": "CiliumNetworkPolicy", "namespace": "shop", "name": "backend"}
    peer = {"kind": "workload", "namespace": "shop", "name": "frontend", "text": "shop/frontend"}
    address = f"10.0.{chance.randrange(4)}.{chance.randrange(250)}"
    data: dict[str, Any] = {
        "fingerprint": fingerprint,
        "cluster": "bench",
        "policy": policy,
        "project": str(chance.randrange(20)),
        "direction": "ingress",
        "reason": "no-rule-allowed",
        "subject": {**peer, "name": "backend", "text": "shop/backend"},
        "peer": peer,
        "sentence": "shop/frontend may not reach shop/backend on TCP/8080: no rule allows it",
        "findings": [
            {"policy": policy, "path": "spec.ingress[0]", "why": "the port is not listed"}
        ],
        "minute": now.replace(second=0, microsecond=0),
        "count": 3,
        "first_seen": now,
        "last_seen": now,
        "ports": [{"protocol": "TCP", "port": 8080, "count": 3}],
        "peers": [{"address": address, "name": "shop/frontend-0", "count": 3}],
        "samples": [_flow(address, now)],
    }
    return pydantic_core.to_json(
        {
            "specversion": "1.0",
            "id": fingerprint,
            "source": "/picket/enricher",
            "type": messages.MATCH,
            "subject": fingerprint,
            "time": now,
            "data": data,
        }
    )


def _flow(address: str, now: datetime) -> dict[str, Any]:
    labels = ["k8s:app=frontend", "k8s:io.kubernetes.pod.namespace=shop", "k8s:team=web"]
    end = {"identity": 12345, "namespace": "shop", "labels": labels, "pod_name": "frontend-0"}
    return {
        "time": now,
        "uuid": "0d0f6e5e-55a7-4c4f-8e38-2f6b8f4d7a11",
        "verdict": "DROPPED",
        "IP": {"source": address, "destination": "10.0.9.9", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 40000, "destination_port": 8080, "flags": {"SYN": True}}},
        "source": end,
        "destination": {**end, "pod_name": "backend-0"},
        "Type": "L3_L4",
        "node_name": "node-1",
        "event_type": {"type": 5},
        "drop_reason_desc": "POLICY_DENIED",
    }
