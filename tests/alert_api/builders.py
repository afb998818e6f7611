"""What the tests of the alert API are made from."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import prometheus_client
import sqlalchemy as sa

from alert_api import ingest, instants
from alert_api.database import Database
from alert_api.ingest import Ingest
from alert_api.leasing import Lease
from alert_api.letters import DeadLetters
from alert_api.metrics import Metrics
from alert_api.publishing import Publisher
from alert_api.repository import changes, listing
from alert_api.settings import Settings
from alert_api.upkeep import Upkeep
from bus import port
from bus.embedded import EmbeddedLog
from runtime.clock import Clock
from schemas import messages, topics
from schemas.messages import AlertStatus

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOKEN = "a-token-of-the-tests-0123456789"


@dataclass(slots=True)
class Time:
    """A clock that stands until it is moved."""

    at: datetime = START

    @property
    def clock(self) -> Clock:
        return Clock(now=self._read, monotonic=self._read)

    def _read(self) -> float:
        return self.at.timestamp()

    @property
    def now(self) -> int:
        return instants.from_datetime(self.at)

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def a_match(fingerprint: str = "f1", **given: Any) -> dict[str, Any]:
    """Return the data of a match; `at` sets all its times."""
    at: datetime = given.pop("at", START)
    last: datetime = given.pop("last", at)
    return {
        "fingerprint": fingerprint,
        "cluster": "demo",
        "policy": {"kind": "CiliumNetworkPolicy", "namespace": "shop", "name": "db"},
        "project": "42",
        "direction": "ingress",
        "reason": "no-rule-allowed",
        "subject": {"kind": "workload", "namespace": "shop", "name": "db", "text": "shop/db"},
        "peer": {"kind": "workload", "namespace": "shop", "name": "web", "text": "shop/web"},
        "sentence": "shop/web may not reach shop/db: no rule of policy db allows it",
        "findings": [
            {
                "policy": {"kind": "CiliumNetworkPolicy", "namespace": "shop", "name": "db"},
                "path": "spec.ingress[0]",
                "why": "the peer is not selected",
            }
        ],
        "minute": at.replace(second=0, microsecond=0).isoformat(),
        "count": 1,
        "first_seen": at.isoformat(),
        "last_seen": last.isoformat(),
        "ports": [{"protocol": "TCP", "port": 5432, "count": given.get("count", 1)}],
        "peers": [{"address": "10.0.0.1", "name": "shop/web-0", "count": given.get("count", 1)}],
        "samples": [{"uuid": f"{fingerprint}-{at.isoformat()}", "verdict": "DROPPED"}],
        **given,
    }


def progress(flow_time: datetime | None = START, **given: Any) -> dict[str, Any]:
    """Return the data of a progress message."""
    return {
        "cluster": "demo",
        "partition": 0,
        "flow_time": flow_time.isoformat() if flow_time else None,
        "state": "live",
        "flows": 0,
        "notices": [],
        **given,
    }


def a_notice(**given: Any) -> dict[str, Any]:
    """Return a notice."""
    return {
        "kind": "unexplained",
        "reason": "no policy known",
        "node": "",
        "count": 1,
        "first_seen": START.isoformat(),
        "last_seen": START.isoformat(),
        "detail": "",
        **given,
    }


def event(data: dict[str, Any]) -> port.Outgoing:
    """Return the record of a match, or of progress."""
    is_match = "fingerprint" in data
    key = data["fingerprint"] if is_match else data["cluster"]
    body = {
        "specversion": "1.0",
        "id": "x",
        "source": "/picket/enricher",
        "type": messages.MATCH if is_match else messages.PROGRESS,
        "subject": key,
        "time": START.isoformat(),
        "data": data,
    }
    return port.Outgoing(
        topic=topics.MATCHES.name, key=key.encode(), value=json.dumps(body).encode()
    )


def put(log: port.Log, *records: port.Outgoing | dict[str, Any] | bytes) -> None:
    """Put matches, progress or raw bytes onto picket.matches."""
    producer = log.producer("tests")
    with producer.transaction() as transaction:
        for record in records:
            if isinstance(record, bytes):
                transaction.send(port.Outgoing(topic=topics.MATCHES.name, key=b"k", value=record))
            else:
                transaction.send(event(record) if isinstance(record, dict) else record)
    producer.close()


def a_log(path: Path) -> EmbeddedLog:
    """Return an embedded log with all topics."""
    log = EmbeddedLog(path)
    log.ensure(topics.ALL)
    return log


def topic(log: port.Log, name: str) -> list[port.Record]:
    """Return all records of a topic."""
    reader = log.reader([name])
    try:
        return list(port.read_to_end(reader, timeout=0.1))
    finally:
        reader.close()


@dataclass(slots=True, kw_only=True)
class Stage:
    """The parts of an alert API without its threads, to be stepped by hand."""

    database: Database
    log: port.Log
    time: Time
    metrics: Metrics = field(default_factory=lambda: Metrics(prometheus_client.CollectorRegistry()))
    batch_records: int = 100
    recount: bool = False
    consumer: port.Consumer | None = None
    reading: Ingest | None = None

    def ingest(self) -> Ingest:
        """Return the ingest loop, its consumer opened."""
        if self.reading is None:
            self.reading = Ingest(
                database=self.database,
                log=self.log,
                clock=self.time.clock,
                metrics=self.metrics,
                letters=DeadLetters(
                    log=self.log, transactional_id="tests-letters", stage="alert-api"
                ),
                batch_records=self.batch_records,
                recount=self.recount,
            )
        if self.consumer is None:
            self.consumer = self.log.consumer(
                ingest.GROUP, [ingest.TOPIC], listener=self.reading._listener
            )
        return self.reading

    def read(self) -> int:
        """Step until nothing comes any more; return how many records were counted."""
        reading = self.ingest()
        assert self.consumer is not None
        counted = 0
        # The first polls may bring the assignment only, or what is dropped while it is placed.
        quiet = 0
        while quiet < 3:
            more = reading.step(self.consumer, timeout=0.003)
            counted += more
            quiet = 0 if more else quiet + 1
        return counted

    def die(self) -> None:
        """Lose all that was in memory, as after kill -9."""
        if self.consumer is not None:
            self.consumer.close()
        self.consumer = self.reading = None

    def publisher(self) -> Publisher:
        return Publisher(
            database=self.database, log=self.log, clock=self.time.clock, metrics=self.metrics
        )

    def upkeep(self, *, resolve_after: int | None = None, keep_days: int = 90) -> Upkeep:
        return Upkeep(
            database=self.database,
            log=self.log,
            clock=self.time.clock,
            metrics=self.metrics,
            resolve_after=resolve_after,
            keep_days=keep_days,
        )

    def lease(self, name: str = "gitlab", slot: str = "0", incarnation: str = "a") -> Lease:
        return Lease(
            database=self.database,
            clock=self.time.clock,
            name=name,
            slot=slot,
            incarnation=incarnation,
        )

    def alerts(self, *statuses: AlertStatus) -> list[Any]:
        """Return alerts of any, or these, statuses, the one opened first first."""
        with self.database.reading() as connection:
            filters = listing.Filters(status=statuses or tuple(AlertStatus))
            rows = listing.alerts(
                connection, filters, order=listing.Order.FIRST_SEEN, limit=1000
            ).rows
        return sorted(rows, key=lambda row: (row.opened_at, row.fingerprint))

    def set_status(self, alert: Any, status: AlertStatus) -> Any:
        """Change a status as a person does."""
        with self.database.writing() as connection:
            return changes.set_status(
                connection,
                alert.id,
                status,
                revision=alert.revision,
                actor="tests",
                now=self.time.now,
            )

    def rows(self, sql: str) -> list[Any]:
        """Return what a query finds."""
        with self.database.reading() as connection:
            return list(connection.execute(sa.text(sql)))


def settings(folder: Path, database: str, **given: Any) -> Settings:
    """Return settings with a token, on any port."""
    token = folder / "token"
    token.write_text(TOKEN)
    return Settings.model_validate({"database": database, "token_file": token, "port": 0, **given})


def events_of(rows: Iterable[Any]) -> dict[str, int]:
    """Return counts by fingerprint, over all alerts of it."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.fingerprint] = sums.get(row.fingerprint, 0) + row.events
    return sums


def sent(log: port.Log) -> list[tuple[str, int, str | None]]:
    """Return (alert, version, status) of all records on picket.alerts; no status: a tombstone."""
    found: list[tuple[str, int, str | None]] = []
    for record in topic(log, topics.ALERTS.name):
        version = int(dict(record.headers)["version"])
        status: str | None = None
        if record.value is not None:
            told = messages.AlertEvent.model_validate_json(record.value)
            assert told.data.version == version
            assert told.subject == told.data.id == (record.key or b"").decode()
            status = told.data.status.value
        found.append(((record.key or b"").decode(), version, status))
    return found


def minutes(*offsets: float) -> Sequence[datetime]:
    """Return moments, in seconds after the start."""
    return [START + timedelta(seconds=offset) for offset in offsets]
