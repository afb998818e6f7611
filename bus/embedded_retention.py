"""Deleting what the embedded log need not keep: old records, superseded ones, tombstones.

Whoever produces does it now and then, a bounded number of records at a time, in a transaction of
its own. It never touches `next_offset`, and never a key's newest record unless that is a tombstone
whose time is over.
"""

import contextlib
import sqlite3
from dataclasses import dataclass

from bus import embedded_file, port
from runtime import clock

EVERY_SECONDS = 30.0
AT_ONCE = 500
"""How many records one run deletes of a topic: at most a fraction of a second of writing."""


def supersede(
    sql: sqlite3.Connection,
    topic: embedded_file.TopicRow,
    *,
    row_id: int,
    key: bytes,
    value: bytes | None,
    timestamp: int,
) -> None:
    """Note that a record of a compacted topic replaces the one before it under its key."""
    before = sql.execute(
        "SELECT id FROM newest WHERE topic = ? AND key = ?", (topic.id, key)
    ).fetchone()
    if before is not None:
        sql.execute("INSERT INTO superseded VALUES (?, ?, ?)", (topic.id, timestamp, before[0]))
    sql.execute("INSERT OR REPLACE INTO newest VALUES (?, ?, ?)", (topic.id, key, row_id))
    if value is None:
        # Due at once with what it replaces, and after it: rows go in the order of time and id.
        sql.execute("INSERT INTO superseded VALUES (?, ?, ?)", (topic.id, timestamp, row_id))


@dataclass(slots=True, kw_only=True)
class Retention:
    """When to delete next, and how much."""

    time: clock.Clock
    every_seconds: float = EVERY_SECONDS
    at_once: int = AT_ONCE
    _due: float = 0.0

    def run(self, connection: embedded_file.Connection) -> int:
        """Delete what is due where it is time to; return how many records went.

        Goes on at the next call where more was due than one run deletes. What fails now (a full
        disk, a busy file) is tried again later: the producer's own work is done.
        """
        now = self.time.now()
        if now < self._due:
            return 0
        deleted = 0
        with contextlib.suppress(port.LogError):
            with connection.reading() as sql:
                names = [row[0] for row in sql.execute("SELECT name FROM topics")]
            for name in names:
                deleted += self._tidy(connection, name, now_ms=int(now * 1000))
        self._due = now if deleted >= self.at_once else now + self.every_seconds
        return deleted

    def _tidy(self, connection: embedded_file.Connection, name: str, *, now_ms: int) -> int:
        with connection.reading() as sql:
            topic = connection.topic(name)
            if topic.retention_ms is None or not self._anything(sql, topic, now_ms):
                return 0
        with connection.writing() as sql:
            topic = connection.topic(name)
            if topic.compacted:
                return self._compact(sql, topic, before=now_ms - (topic.retention_ms or 0))
            return self._delete(sql, topic, before=now_ms - (topic.retention_ms or 0))

    def _anything(self, sql: sqlite3.Connection, topic: embedded_file.TopicRow, now: int) -> bool:
        before = now - (topic.retention_ms or 0)
        if topic.compacted:
            statement = "SELECT 1 FROM superseded WHERE topic = ? AND since < ? LIMIT 1"
            return sql.execute(statement, (topic.id, before)).fetchone() is not None
        oldest = sql.execute(
            "SELECT timestamp FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT 1",
            (topic.row_id(topic.first), topic.row_id(topic.next)),
        ).fetchone()
        return oldest is not None and oldest[0] < before

    def _delete(
        self, sql: sqlite3.Connection, topic: embedded_file.TopicRow, *, before: int
    ) -> int:
        rows = sql.execute(
            "SELECT id, timestamp FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (topic.row_id(topic.first), topic.row_id(topic.next), self.at_once),
        ).fetchall()
        first = topic.next if len(rows) < self.at_once else embedded_file.offset_of(rows[-1][0]) + 1
        deleted = len(rows)
        for index, (row_id, timestamp) in enumerate(rows):
            if timestamp >= before:
                first, deleted = embedded_file.offset_of(row_id), index
                break
        sql.execute(
            "DELETE FROM records WHERE id >= ? AND id < ?",
            (topic.row_id(topic.first), topic.row_id(first)),
        )
        sql.execute("UPDATE topics SET first_offset = ? WHERE id = ?", (first, topic.id))
        return deleted

    def _compact(
        self, sql: sqlite3.Connection, topic: embedded_file.TopicRow, *, before: int
    ) -> int:
        due = sql.execute(
            "SELECT since, id FROM superseded WHERE topic = ? AND since < ?"
            " ORDER BY since, id LIMIT ?",
            (topic.id, before, self.at_once),
        ).fetchall()
        for since, row_id in due:
            sql.execute("DELETE FROM records WHERE id = ?", (row_id,))
            sql.execute("DELETE FROM newest WHERE topic = ? AND id = ?", (topic.id, row_id))
            sql.execute(
                "DELETE FROM superseded WHERE topic = ? AND since = ? AND id = ?",
                (topic.id, since, row_id),
            )
        return len(due)
