"""Reading the embedded log: positions in topics, and the reader that belongs to no group.

Nothing here writes. One poll returns at most 8 MiB beside its number of records, so that large
records do not fill a process's memory.
"""

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bus import embedded_file, port

POLL_BYTES = 8 * 1024 * 1024
LOOK_SECONDS = 0.5
"""How long a wait goes on without a look at the file."""


@dataclass(slots=True)
class Positions:
    """Where reading goes on in each topic, and the fetching from there."""

    connection: embedded_file.Connection
    next: dict[str, int] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    _turn: int = 0

    def fetch(self, max_records: int) -> tuple[list[port.Record], dict[str, tuple[int, int]]]:
        """Return records that are there now, and topics whose next offset did not exist.

        The latter map to (what was wanted, where reading goes on): the topic's first offset where
        the wanted one was deleted, its end where it lies past that. Nothing is read then.
        """
        names = [name for name in self.next if name not in self.paused]
        if not names:
            return [], {}
        # Each topic gets to be first, or a busy one would starve the others.
        self._turn = (self._turn + 1) % len(names)
        names = names[self._turn :] + names[: self._turn]
        records: list[port.Record] = []
        with self.connection.reading() as sql:
            rows = {name: self.connection.topic(name) for name in names}
            if moved := self._out_of_range(rows.values()):
                return [], moved
            room = POLL_BYTES
            for row in rows.values():
                if len(records) >= max_records or room <= 0:
                    break
                room = self._read(sql, row, records, limit=max_records, room=room)
        return records, {}

    def _out_of_range(self, rows: Iterable[embedded_file.TopicRow]) -> dict[str, tuple[int, int]]:
        moved = {}
        for row in rows:
            wanted = self.next[row.name]
            if not row.first <= wanted <= row.next:
                moved[row.name] = wanted, min(max(wanted, row.first), row.next)
        self.next.update({name: stands for name, (_, stands) in moved.items()})
        return moved

    def _read(
        self,
        sql: sqlite3.Connection,
        row: embedded_file.TopicRow,
        records: list[port.Record],
        *,
        limit: int,
        room: int,
    ) -> int:
        start = self.next[row.name]
        if start >= row.next:
            return room
        partition = row.partition
        cursor = sql.execute(
            "SELECT id, timestamp, key, headers, value FROM records"
            " WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (row.row_id(start), row.row_id(row.next), limit - len(records)),
        )
        for row_id, timestamp, key, headers, value in cursor:
            offset = embedded_file.offset_of(row_id)
            records.append(
                port.Record(
                    partition=partition,
                    offset=offset,
                    key=key,
                    value=value,
                    headers=() if headers is None else decode_headers(headers),
                    timestamp=timestamp,
                )
            )
            self.next[row.name] = offset + 1
            room -= len(value or b"") + len(key or b"")
            if room <= 0 or len(records) >= limit:
                cursor.close()
                return room
        # What is left up to the end was compacted away.
        self.next[row.name] = row.next
        return room


@dataclass(slots=True)
class Reader:
    """`port.Reader` over the file."""

    _connection: embedded_file.Connection
    _positions: Positions

    @classmethod
    def open(cls, connection: embedded_file.Connection, topics: Sequence[str]) -> "Reader":
        """Stand at the beginning of each topic. Raises Misconfigured for an unknown one."""
        with connection.reading():
            first = {name: connection.topic(name).first for name in topics}
        return cls(connection, Positions(connection, first))

    def partitions(self) -> frozenset[port.Partition]:
        """Return the one partition of each topic."""
        return frozenset(port.Partition(name, 0) for name in self._positions.next)

    def seek(self, partition: port.Partition, offset: int) -> None:
        """Read on from `offset`."""
        self._positions.next[self._name(partition)] = max(offset, 0)

    def beginning(self) -> dict[port.Partition, int]:
        """Return the first offset of each topic."""
        return {row.partition: row.first for row in self._rows()}

    def end(self) -> dict[port.Partition, int]:
        """Return the end of each topic."""
        return {row.partition: row.next for row in self._rows()}

    def at_time(self, milliseconds: int) -> dict[port.Partition, int]:
        """Return the first offset at or after this time; else the end.

        Looks at one record after another, since a clock that was set back breaks their order.
        """
        found = {}
        with self._connection.reading() as sql:
            for row in [self._connection.topic(name) for name in self._positions.next]:
                first = sql.execute(
                    "SELECT id FROM records WHERE id >= ? AND id < ? AND timestamp >= ?"
                    " ORDER BY id LIMIT 1",
                    (row.row_id(row.first), row.row_id(row.next), milliseconds),
                ).fetchone()
                found[row.partition] = (
                    row.next if first is None else embedded_file.offset_of(first[0])
                )
        return found

    def position(self, partition: port.Partition) -> int:
        """Return the offset that the next poll reads from."""
        return self._positions.next[self._name(partition)]

    def poll(self, *, timeout: float, max_records: int = 500) -> Sequence[port.Record]:
        """Wait for records; what was deleted before it was read is passed over."""
        deadline = time.monotonic() + timeout
        while True:
            records, moved = self._positions.fetch(max_records)
            left = deadline - time.monotonic()
            if records or (left <= 0 and not moved):
                return records
            if not moved:
                self._connection.wait(min(left, LOOK_SECONDS))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _name(self, partition: port.Partition) -> str:
        if partition.number != 0 or partition.topic not in self._positions.next:
            raise port.Misconfigured(f"this reader does not read {partition}")
        return partition.topic

    def _rows(self) -> list[embedded_file.TopicRow]:
        with self._connection.reading():
            return [self._connection.topic(name) for name in self._positions.next]


def encode_headers(headers: port.Headers) -> str | None:
    """Return headers as the text of a column; None for none."""
    if not headers:
        return None
    return json.dumps([[name, value.decode("latin-1")] for name, value in headers])


def decode_headers(text: str) -> port.Headers:
    """Return what `encode_headers` wrote."""
    return tuple((name, value.encode("latin-1")) for name, value in json.loads(text))
