"""The loop that counts matches onto alerts, each exactly once.

A batch and the offsets it moves are one transaction of the database. The offset rows are locked
first, and where one is not where this batch starts, another process has read on: the batch of that
partition is dropped, and reading goes on from the row. The group's offsets in the log are a mirror
for tools that show lag, and decide nothing.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
import structlog

from alert_api import decoding, gathering, instants
from alert_api.database import Database, Unreachable
from alert_api.decoding import Garbage, LetterRecord, MatchRecord, ProgressRecord
from alert_api.letters import DeadLetters
from alert_api.metrics import Metrics
from alert_api.placing import Placing
from alert_api.repository import arrivals, offsets, streams
from bus import port
from runtime.clock import Clock
from runtime.errors import UserError
from schemas import messages, topics

log = structlog.get_logger()

GROUP = "picket-alert-api"
TOPIC = topics.MATCHES.name
TOPICS = (TOPIC, topics.DEADLETTER.name)
TOLD_BY_LETTER = frozenset({"collector", "agent"})
"""Stages whose dead letters become notices here; the enricher tells its own with its progress."""
STAGE = "alert-api"

POLL_SECONDS = 0.5
PORTION_BYTES = 8 * 1024 * 1024
"""Written in one transaction; decoded, it takes some times as much memory."""
MIRROR_SECONDS = 2.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
TRIES = 5
"""How often in a row a batch may collide with another writer before that is a fault."""


@dataclass(slots=True)
class Arrivals:
    """The partitions that came since they were last asked for: the consumer's listener."""

    fresh: set[port.Partition] = field(default_factory=set)

    def on_revoked(self, partitions: frozenset[port.Partition]) -> None:
        """Forget them."""
        self.fresh -= partitions

    def on_assigned(self, partitions: frozenset[port.Partition]) -> None:
        """Remember to place them where the database stands."""
        self.fresh |= partitions


@dataclass(slots=True, kw_only=True)
class Ingest:
    """Reads picket.matches into the database. One thread runs it from start to end."""

    database: Database
    log: port.Log
    clock: Clock
    metrics: Metrics
    letters: DeadLetters
    batch_records: int
    recount: bool = False
    problem: str | None = "not started"
    """What keeps it from reading now, for the readiness check; None is fine."""
    _placing: Placing = field(init=False)
    _listener: Arrivals = field(init=False, default_factory=Arrivals)
    _next: dict[port.Partition, int] = field(init=False, default_factory=dict)
    """Where each placed partition is read on, as the database has it."""
    _logs: dict[port.Partition, str] = field(init=False, default_factory=dict)
    _mirrored: float = field(init=False, default=float("-inf"))
    _unmirrored: set[port.Partition] = field(init=False, default_factory=set)
    _collisions: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Nothing is opened yet."""
        self._placing = Placing(
            database=self.database, log=self.log, clock=self.clock, recount=self.recount
        )

    def run(self, stop: threading.Event) -> None:
        """Read until told to stop. Raises UserError where log and database do not fit."""
        pause = FIRST_PAUSE
        while not stop.is_set():
            try:
                self._consume(stop)
            except port.Misconfigured as error:
                raise UserError(str(error)) from error
            except (port.Unavailable, Unreachable) as error:
                # Everything is read again from where the database stands.
                self.problem = str(error)
                log.warning("reading matches is interrupted", reason=str(error), pause=pause)
                stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE

    def _consume(self, stop: threading.Event) -> None:
        self._listener = Arrivals()
        self._next.clear()
        consumer = self.log.consumer(GROUP, TOPICS, listener=self._listener)
        try:
            while not stop.is_set():
                self.step(consumer)
                self.problem = None
            self._mirror(consumer, at_once=True)
        finally:
            consumer.close()

    def step(self, consumer: port.Consumer, *, timeout: float = POLL_SECONDS) -> int:
        """Poll once and write what came; return how many records were counted.

        Raises Unavailable, Unreachable, UserError.
        """
        try:
            records = consumer.poll(timeout=timeout, max_records=self.batch_records)
        except port.OffsetOutOfRange as error:
            self._skip(error)
            return 0
        idle = not records
        records = self._place(consumer, records)
        counted = 0
        stopped: frozenset[port.Partition] = frozenset()
        for portion in _portions(records):
            wanted = [record for record in portion if record.partition not in stopped]
            if wanted:
                written, elsewhere = self._write(consumer, wanted)
                counted += written
                stopped |= elsewhere
        if idle:
            self._pass_markers(consumer)
        self._mirror(consumer)
        return counted

    def _place(
        self, consumer: port.Consumer, records: Sequence[port.Record]
    ) -> Sequence[port.Record]:
        """Seek fresh partitions to where the database stands, and drop what was read of them."""
        held = consumer.assignment()
        for gone in self._next.keys() - held:
            del self._next[gone]
        fresh = (self._listener.fresh & held) | (held - self._next.keys())
        if fresh:
            for partition, standing in self._placing.place(fresh, consumer).items():
                consumer.seek(partition, standing.next)
                self._next[partition] = standing.next
                self._logs[partition] = standing.log
            self._listener.fresh -= fresh
        return [
            record
            for record in records
            if record.partition in self._next and record.partition not in fresh
        ]

    def _write(
        self, consumer: port.Consumer, records: Sequence[port.Record]
    ) -> tuple[int, frozenset[port.Partition]]:
        """Write records; return how many were counted, and the partitions now read elsewhere.

        Of those, whatever was read further on is to be forgotten.
        """
        now = self.clock.utc()
        decoded = [decoding.decode(record, now=now) for record in records]
        garbage = [entry for entry in decoded if isinstance(entry, Garbage)]
        self.letters.post(garbage, at=now)
        following = port.offsets_after(records)
        with self.metrics.batch_seconds.time():
            try:
                fenced = self._commit(decoded, following, now=now)
            except sa.exc.IntegrityError:
                # Another writer opened an alert of the same fingerprint at this very moment, as can
                # be while partitions are added to the topic. The next try sees it.
                self._collisions += 1
                if self._collisions > TRIES:
                    raise
                for partition in following:
                    consumer.seek(partition, self._next[partition])
                return 0, frozenset(following)
        self._collisions = 0
        for partition, standing in fenced.items():
            log.warning("another process has read on", partition=partition.number)
            self.metrics.batches_dropped.inc()
            consumer.seek(partition, standing.next)
            self._next[partition] = standing.next
        moved = {part: after for part, after in following.items() if part not in fenced}
        self._next.update(moved)
        self._unmirrored |= moved.keys()
        counted = [entry for entry in decoded if entry.record.partition in moved]
        self.metrics.count(counted)
        return len(counted), frozenset(fenced)

    def _commit(
        self, decoded: Sequence[decoding.Decoded], following: port.Offsets, *, now: datetime
    ) -> dict[port.Partition, offsets.Standing]:
        """Write a batch; return the partitions in which another has read on, and how far."""
        at = instants.from_datetime(now)
        with self.database.writing() as connection:
            held = offsets.lock(connection, following)
            fenced = {
                partition: held[partition]
                for partition in following
                if held[partition] != offsets.Standing(self._logs[partition], self._next[partition])
            }
            entries = [entry for entry in decoded if entry.record.partition not in fenced]
            by_log: dict[str, list[MatchRecord]] = {}
            for entry in entries:
                if isinstance(entry, MatchRecord):
                    by_log.setdefault(self._logs[entry.record.partition], []).append(entry)
            for identity, matches in by_log.items():
                gathered = gathering.by_fingerprint(matches, log=identity)
                arrived = arrivals.record(connection, gathered, now=at)
                self.metrics.alerts_opened.inc(arrived.opened)
                self.metrics.alerts_triggered.inc(arrived.triggered)
            progress = [entry for entry in entries if isinstance(entry, ProgressRecord)]
            if progress:
                known = streams.views(connection, [entry.progress.cluster for entry in progress])
                streams.advance(connection, gathering.reached(progress, known), now=at)
            streams.note(connection, gathering.notices(_notices(entries, now)))
            offsets.move(
                connection,
                {part: after for part, after in following.items() if part not in fenced},
            )
        return fenced

    def _skip(self, error: port.OffsetOutOfRange) -> None:
        """Record that records were deleted before they were read, and go on after them."""
        for partition in error.missing:
            # Placing looks at the log's identity and ends, and records the gap.
            self._next.pop(partition, None)
            self._listener.fresh.add(partition)

    def _pass_markers(self, consumer: port.Consumer) -> None:
        """Move the rows past what carries no record, so that they can reach the log's end."""
        ahead = {
            partition: position
            for partition, at in self._next.items()
            if (position := consumer.position(partition)) > at
        }
        if not ahead:
            return
        with self.database.writing() as connection:
            held = offsets.lock(connection, ahead)
            moved = {
                partition: position
                for partition, position in ahead.items()
                if held[partition] == offsets.Standing(self._logs[partition], self._next[partition])
            }
            offsets.move(connection, moved)
        self._next.update(moved)
        self._unmirrored |= moved.keys()

    def _mirror(self, consumer: port.Consumer, *, at_once: bool = False) -> None:
        """Show the group's tools how far this is; losing it loses nothing."""
        now = self.clock.monotonic()
        if not self._unmirrored or not (at_once or now - self._mirrored >= MIRROR_SECONDS):
            return
        mirrored = self._unmirrored & self._next.keys()
        try:
            consumer.commit({partition: self._next[partition] for partition in mirrored})
        except port.Unavailable as error:
            log.info("offsets not mirrored yet", reason=str(error))
        except port.Fenced as error:
            log.info("offsets not mirrored", reason=str(error))
            self._unmirrored.clear()
        else:
            self._unmirrored.clear()
        self._mirrored = now


def _portions(records: Sequence[port.Record]) -> Iterator[Sequence[port.Record]]:
    """Yield the records in order, in portions that fit into memory once they are decoded."""
    start = size = 0
    for index, record in enumerate(records):
        size += len(record.value or b"")
        if size > PORTION_BYTES and index > start:
            yield records[start:index]
            start, size = index, len(record.value or b"")
    if records:
        yield records[start:]


def _notices(
    entries: Iterable[decoding.Decoded], now: datetime
) -> Iterable[tuple[str, messages.Notice]]:
    for entry in entries:
        if isinstance(entry, ProgressRecord):
            for notice in entry.progress.notices:
                yield entry.progress.cluster, notice
        elif isinstance(entry, LetterRecord):
            if entry.letter.stage in TOLD_BY_LETTER:
                yield _told_by_letter(entry)
        elif isinstance(entry, Garbage):
            record = entry.record
            where = f"{record.partition.topic}/{record.partition.number} at {record.offset}"
            yield (
                "",
                messages.Notice(
                    kind=messages.NoticeKind.DEAD_LETTER,
                    reason=f"{STAGE}: {entry.reason}",
                    count=1,
                    first_seen=now,
                    last_seen=now,
                    detail=f"{where}: {entry.detail}",
                ),
            )


def _told_by_letter(entry: LetterRecord) -> tuple[str, messages.Notice]:
    letter = entry.letter
    cluster, _, _ = (entry.record.key or b"").decode(errors="replace").partition("/")
    where = letter.topic if letter.index is None else f"{letter.topic}:{letter.index}"
    # What follows the first colon differs from letter to letter.
    reason, _, _ = letter.reason.partition(":")
    return cluster[: decoding.MAX_TEXT], messages.Notice(
        kind=messages.NoticeKind.DEAD_LETTER,
        reason=f"{letter.stage}: {reason}",
        count=1,
        first_seen=letter.at,
        last_seen=letter.at,
        detail=f"{where}: {letter.reason}",
    )
