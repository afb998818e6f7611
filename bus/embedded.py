"""The embedded log: every topic, group and transaction in one SQLite file on a local disk.

For one machine: several processes share the file, each topic has one partition, and each group one
active member a topic, by lease. What Kafka promises the stages, this promises too; it must not
grow features that Kafka lacks.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

from bus import (
    embedded_file,
    embedded_groups,
    embedded_producing,
    embedded_reading,
    embedded_retention,
    port,
)
from runtime import clock
from schemas.topics import Topic


class EmbeddedLog:
    """`port.Log` over a SQLite file."""

    def __init__(
        self,
        path: Path,
        *,
        time: clock.Clock = clock.SYSTEM,
        lease_seconds: float = embedded_groups.LEASE_SECONDS,
        retention_seconds: float = embedded_retention.EVERY_SECONDS,
        max_pages: int | None = None,
    ) -> None:
        """Open or make the file.

        `retention_seconds` is the time between two looks for what may be deleted; `max_pages`
        caps the file at so many pages of 16 KiB. Raises Misconfigured, Unavailable.
        """
        self._path = path
        self._time = time
        self._lease_seconds = lease_seconds
        self._retention_seconds = retention_seconds
        self._max_pages = max_pages
        self._lock = threading.Lock()
        self._connection = self._connect()

    def ensure(self, topics: Sequence[Topic]) -> None:
        """Create the missing topics; take over changed times and sizes of the others.

        Nobody else administers the file, so a newer definition simply holds from now on. Only a
        topic that was compacted and now is not, or the reverse, is refused.
        """
        with self._lock:
            with self._connection.reading() as sql:
                known = {
                    row[0]: row[1:]
                    for row in sql.execute(
                        "SELECT name, cleanup, retention_ms, max_record_bytes FROM topics"
                    )
                }
            if wrong := [
                f"{topic.name}: cleanup is {known[topic.name][0]}, must be {topic.cleanup.value}"
                for topic in topics
                if topic.name in known and known[topic.name][0] != topic.cleanup.value
            ]:
                raise port.Misconfigured(f"{self._path}: " + "; ".join(wrong))
            rows = {
                topic.name: (topic.cleanup.value, topic.retention_ms, topic.max_record_bytes)
                for topic in topics
            }
            changed = {name: row for name, row in rows.items() if known.get(name) != row}
            if not changed:
                return
            with self._connection.writing() as sql:
                sql.executemany(
                    "INSERT INTO topics (name, cleanup, retention_ms, max_record_bytes)"
                    " VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                    " retention_ms = excluded.retention_ms,"
                    " max_record_bytes = excluded.max_record_bytes",
                    [(name, *row) for name, row in changed.items()],
                )

    def identity(self, topic: str) -> str:
        """Return the file's UUID."""
        with self._lock, self._connection.reading() as sql:
            self._connection.topic(topic)
            return str(sql.execute("SELECT uuid FROM identity").fetchone()[0])

    def consumer(
        self, group: str, topics: Sequence[str], *, listener: port.RebalanceListener | None = None
    ) -> embedded_groups.Consumer:
        """Join a group; the first poll takes the leases that are free."""
        connection = self._connect()
        try:
            return embedded_groups.Consumer(
                group=group,
                topics=tuple(topics),
                listener=listener,
                connection=connection,
                time=self._time,
                lease_seconds=self._lease_seconds,
            )
        except BaseException:
            connection.close()
            raise

    def reader(self, topics: Sequence[str]) -> embedded_reading.Reader:
        """Open a reader at the beginning of the topics."""
        connection = self._connect()
        try:
            return embedded_reading.Reader.open(connection, topics)
        except BaseException:
            connection.close()
            raise

    def producer(self, transactional_id: str) -> embedded_producing.Producer:
        """Open a producer, fencing any other of this id."""
        connection = self._connect()
        try:
            return embedded_producing.Producer(
                transactional_id=transactional_id,
                connection=connection,
                time=self._time,
                lease_seconds=self._lease_seconds,
                retention=embedded_retention.Retention(
                    time=self._time, every_seconds=self._retention_seconds
                ),
            )
        except BaseException:
            connection.close()
            raise

    def partition_for(self, topic: str, key: bytes) -> port.Partition:  # noqa: ARG002 - the port's
        """Return the one partition."""
        with self._lock, self._connection.reading():
            return self._connection.topic(topic).partition

    def lag(self, group: str, topics: Sequence[str]) -> Sequence[port.Lag]:
        """Return how far a group is behind."""
        with self._lock, self._connection.reading():
            rows = [self._connection.topic(name) for name in topics]
            return [
                port.Lag(
                    row.partition,
                    embedded_groups.committed(self._connection, group, row),
                    row.next,
                )
                for row in rows
            ]

    def close(self) -> None:
        """Close the connection of this object; consumers, readers and producers have their own."""
        with self._lock:
            self._connection.close()

    def _connect(self) -> embedded_file.Connection:
        return embedded_file.connect(self._path, max_pages=self._max_pages)
