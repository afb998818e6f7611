"""From the outbox to picket.alerts, each record once.

A record is produced, then removed from the outbox. Between the two a crash may come, so whoever
takes over first reads from the topic what is there already. The producer's transactional id keeps
the one before from producing any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from alert_api import instants
from alert_api.database import Database
from alert_api.metrics import Metrics
from alert_api.repository import outbox
from bus import port
from runtime.clock import Clock
from schemas import topics

log = structlog.get_logger()

TOPIC = topics.ALERTS.name
TRANSACTIONAL_ID = "picket-alert-api-outbox"
VERSION = "version"
"""Header with the alert's version in decimal digits, on tombstones too."""
BATCH = 500
MARK_SECONDS = 30.0


@dataclass(slots=True, kw_only=True)
class Publisher:
    """Produces what the outbox holds. One thread uses it, while it holds the lease."""

    database: Database
    log: port.Log
    clock: Clock
    metrics: Metrics
    _producer: port.Producer | None = field(init=False, default=None)
    _marked: float = field(init=False, default=float("-inf"))
    _moved: bool = field(init=False, default=True)

    def step(self) -> int:
        """Produce what is due; return how many records went.

        After Unavailable or Fenced the producer is closed, and the next step starts by finding out
        what became of the last one.
        """
        now = instants.from_seconds(self.clock.now())
        with self.database.writing() as connection:
            outbox.add_due(connection, now=now, limit=BATCH)
        try:
            if self._producer is None:
                self._producer = self.log.producer(TRANSACTIONAL_ID)
                self._settle()
            return self._produce(self._producer)
        except port.LogError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the producer. Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()

    def _produce(self, producer: port.Producer) -> int:
        with self.database.reading() as connection:
            waiting = outbox.oldest(connection, limit=BATCH)
            self.metrics.outbox.set(outbox.depth(connection) if waiting else 0)
        if not waiting:
            self._mark()
            return 0
        with producer.transaction() as transaction:
            for pending in waiting:
                transaction.send(_record(pending))
        self._moved = True
        self._remove(waiting)
        self.metrics.published.inc(len(waiting))
        return len(waiting)

    def _remove(self, produced: Sequence[outbox.Pending]) -> None:
        with self.database.writing() as connection:
            outbox.remove(connection, [pending.number for pending in produced])

    def _settle(self) -> None:
        """Remove from the outbox what the topic holds already."""
        with self.database.reading() as connection:
            if not outbox.depth(connection):
                return
            marks = outbox.marks(connection, TOPIC, log=self.log.identity(TOPIC))
        newest: dict[str, int] = {}
        reader = self.log.reader([TOPIC])
        try:
            for partition in reader.partitions():
                reader.seek(partition, marks.get(partition.number, 0))
            for record in port.read_to_end(reader):
                alert, version = (record.key or b"").decode(errors="replace"), _version(record)
                newest[alert] = max(version, newest.get(alert, 0))
        finally:
            reader.close()
        while True:
            with self.database.reading() as connection:
                waiting = outbox.oldest(connection, limit=10_000)
            done = [one for one in waiting if one.version <= newest.get(one.alert_id, 0)]
            if not done:
                return
            log.info("already on the topic", records=len(done))
            self._remove(done)

    def _mark(self) -> None:
        """Remember how far the topic needs no reading, now that the outbox is empty."""
        now = self.clock.monotonic()
        if not self._moved or now - self._marked < MARK_SECONDS:
            return
        reader = self.log.reader([TOPIC])
        try:
            ends = {partition.number: end for partition, end in reader.end().items()}
        finally:
            reader.close()
        with self.database.writing() as connection:
            outbox.set_marks(connection, TOPIC, log=self.log.identity(TOPIC), ends=ends)
        self._marked, self._moved = now, False


def _record(pending: outbox.Pending) -> port.Outgoing:
    return port.Outgoing(
        topic=TOPIC,
        key=pending.alert_id.encode(),
        value=None if pending.value is None else pending.value.encode(),
        headers=(
            (VERSION, str(pending.version).encode()),
            ("content-type", b"application/cloudevents+json; charset=UTF-8"),
        ),
    )


def _version(record: port.Record) -> int:
    for name, value in record.headers:
        if name == VERSION and value.isdigit():
            return int(value)
    return 0
