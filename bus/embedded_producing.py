"""Producing to the embedded log: a transaction is gathered in memory and written in one commit.

So there is never an open transaction in the file: a process that is killed leaves nothing behind,
and readers never wait for it. Two counters fence: the producer's epoch and the leases' epochs.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from bus import embedded_file, embedded_groups, embedded_reading, embedded_retention, port
from runtime import clock


def record_bytes(record: port.Outgoing) -> int:
    """Return the size that counts against a topic's limit: key, value and headers."""
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


@dataclass(slots=True)
class Transaction:
    """`port.Transaction`: what was sent, checked and not yet written."""

    _producer: "Producer"
    records: list[port.Outgoing] = field(default_factory=list)
    offsets: list[tuple[port.Offsets, port.Membership]] = field(default_factory=list)

    def send(self, record: port.Outgoing) -> None:
        """Add a record."""
        topic = self._producer.topic(record.topic)
        if record.partition not in {None, 0}:
            raise port.Misconfigured(f"{record.topic} has the one partition 0")
        if topic.compacted and record.key is None:
            raise port.Misconfigured(f"{record.topic} is compacted: its records need keys")
        size = record_bytes(record)
        if size > topic.max_record_bytes:
            raise port.RecordTooLarge(
                f"a record of {size} bytes for {record.topic}, which takes {topic.max_record_bytes}"
            )
        self.records.append(record)

    def commit_offsets(self, offsets: port.Offsets, membership: port.Membership) -> None:
        """Add a group's consumed offsets."""
        self.offsets.append((dict(offsets), membership))


@dataclass(slots=True, kw_only=True)
class Producer:
    """`port.Producer` over the file."""

    transactional_id: str
    connection: embedded_file.Connection
    time: clock.Clock
    lease_seconds: float
    retention: embedded_retention.Retention
    _epoch: int = 0
    _topics: dict[str, embedded_file.TopicRow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with self.connection.writing() as sql:
            sql.execute(
                "INSERT INTO producers VALUES (?, 1)"
                " ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1",
                (self.transactional_id,),
            )
            self._epoch = self._current(sql)

    def topic(self, name: str) -> embedded_file.TopicRow:
        """Return a topic's definition, read once. Raises Misconfigured where there is none."""
        if name not in self._topics:
            with self.connection.reading():
                self._topics[name] = self.connection.topic(name)
        return self._topics[name]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Write what was sent when the block is left, or nothing where it raised."""
        transaction = Transaction(self)
        yield transaction
        if transaction.records or transaction.offsets:
            with self.connection.writing() as sql:
                self._check(sql)
                for offsets, membership in transaction.offsets:
                    embedded_groups.commit(
                        self.connection,
                        offsets,
                        membership,
                        expires=self.time.now() + self.lease_seconds,
                    )
                self._append(sql, transaction.records)
            self.retention.run(self.connection)
        else:
            with self.connection.reading() as sql:
                self._check(sql)

    def close(self) -> None:
        """Let go of the file. Nothing is ever open in it."""
        self.connection.close()

    def _current(self, sql: sqlite3.Connection) -> int:
        row = sql.execute(
            "SELECT epoch FROM producers WHERE id = ?", (self.transactional_id,)
        ).fetchone()
        return int(row[0])

    def _check(self, sql: sqlite3.Connection) -> None:
        current = self._current(sql)
        if current != self._epoch:
            raise port.Fenced(
                f"{self.transactional_id} was opened anew: epoch {current}, here {self._epoch}"
            )

    def _append(self, sql: sqlite3.Connection, records: Sequence[port.Outgoing]) -> None:
        timestamp = int(self.time.now() * 1000)
        ordered = sorted(records, key=lambda record: record.topic)
        for name, group in groupby(ordered, key=lambda record: record.topic):
            topic = self.connection.topic(name)
            rows = [
                (
                    topic.row_id(offset),
                    timestamp,
                    record.key,
                    embedded_reading.encode_headers(record.headers),
                    record.value,
                )
                for offset, record in enumerate(group, topic.next)
            ]
            sql.executemany(
                "INSERT INTO records (id, timestamp, key, headers, value) VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            sql.execute(
                "UPDATE topics SET next_offset = ? WHERE id = ?",
                (topic.next + len(rows), topic.id),
            )
            if topic.compacted:
                for row_id, _, key, _, value in rows:
                    embedded_retention.supersede(
                        sql, topic, row_id=row_id, key=key or b"", value=value, timestamp=timestamp
                    )
