"""Groups of the embedded log: leases with epochs, and the consumer that holds them.

A lease is the right to one topic within a group. Taking one over raises its epoch, and every
commit of offsets checks the epoch: an owner that lost it cannot commit, however late it notices.
Expiry only decides when another *may* take over; safety never rests on a clock.
"""

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bus import embedded_file, embedded_reading, port
from runtime import clock

LEASE_SECONDS = 10.0
RENEW_AT = 2 / 3
"""A lease is renewed when no more than this share of it is left."""
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The leases held at one moment: the token of a `port.Membership`."""

    holder: str
    epochs: Mapping[str, int]


def commit(
    connection: embedded_file.Connection,
    offsets: port.Offsets,
    membership: port.Membership,
    *,
    expires: float,
) -> None:
    """Write a group's offsets and prolong its leases, within the caller's transaction.

    Raises Fenced where a lease was taken over since the membership was read.
    """
    held = membership.token
    if not isinstance(held, Held):
        raise port.Fenced(f"the membership in {membership.group} is of another log")
    sql = connection.sql
    for partition, offset in offsets.items():
        topic = connection.topic(partition.topic)
        epoch = held.epochs.get(partition.topic)
        prolonged = sql.execute(
            "UPDATE leases SET expires = max(expires, ?)"
            " WHERE member_of = ? AND topic = ? AND holder = ? AND epoch = ?",
            (expires, membership.group, topic.id, held.holder, epoch),
        )
        if prolonged.rowcount != 1:
            raise port.Fenced(
                f"{partition.topic} was taken over from this member of {membership.group}"
            )
        sql.execute(
            "INSERT INTO offsets VALUES (?, ?, ?) ON CONFLICT (member_of, topic)"
            " DO UPDATE SET next_offset = excluded.next_offset",
            (membership.group, topic.id, offset),
        )


def committed(
    connection: embedded_file.Connection, group: str, topic: embedded_file.TopicRow
) -> int | None:
    """Return the offset that a group committed, or None."""
    row = connection.sql.execute(
        "SELECT next_offset FROM offsets WHERE member_of = ? AND topic = ?", (group, topic.id)
    ).fetchone()
    return None if row is None else int(row[0])


@dataclass(slots=True, kw_only=True)
class Consumer:
    """`port.Consumer` over the file."""

    group: str
    topics: tuple[str, ...]
    listener: port.RebalanceListener | None
    connection: embedded_file.Connection
    time: clock.Clock
    lease_seconds: float = LEASE_SECONDS
    _holder: str = field(default_factory=lambda: uuid.uuid4().hex)
    _epochs: dict[str, int] = field(default_factory=dict)
    _positions: embedded_reading.Positions = field(init=False)
    _renew_at: float = 0.0
    _closed: bool = False

    def __post_init__(self) -> None:
        self._positions = embedded_reading.Positions(self.connection)
        with self.connection.reading():
            for name in self.topics:
                self.connection.topic(name)

    def poll(self, *, timeout: float, max_records: int = 500) -> Sequence[port.Record]:
        """Keep the leases, take free ones, and wait for records."""
        deadline = time.monotonic() + timeout
        while True:
            self._keep()
            records, moved = self._positions.fetch(max_records)
            if moved:
                raise port.OffsetOutOfRange(
                    {port.Partition(name, 0): offsets for name, offsets in moved.items()}
                )
            left = deadline - time.monotonic()
            if records or left <= 0:
                return records
            self.connection.wait(min(left, embedded_reading.LOOK_SECONDS, self.lease_seconds / 4))

    def assignment(self) -> frozenset[port.Partition]:
        """Return the partitions of the leases held."""
        return frozenset(port.Partition(name, 0) for name in self._epochs)

    def membership(self) -> port.Membership:
        """Return the leases held now."""
        return port.Membership(self.group, Held(holder=self._holder, epochs=dict(self._epochs)))

    def seek(self, partition: port.Partition, offset: int) -> None:
        """Read on from `offset`. Raises Fenced where the partition is not held."""
        self._positions.next[self._held(partition)] = offset

    def pause(self, partitions: frozenset[port.Partition]) -> None:
        """Return no records of these until resumed."""
        self._positions.paused.update(partition.topic for partition in partitions)

    def resume(self, partitions: frozenset[port.Partition]) -> None:
        """Return their records again."""
        self._positions.paused.difference_update(partition.topic for partition in partitions)

    def position(self, partition: port.Partition) -> int:
        """Return where the next poll reads from. Raises Fenced where it is not held."""
        return self._positions.next[self._held(partition)]

    def committed(self, partition: port.Partition) -> int | None:
        """Return the group's committed offset, or None."""
        with self.connection.reading():
            return committed(self.connection, self.group, self.connection.topic(partition.topic))

    def commit(self, offsets: port.Offsets) -> None:
        """Commit outside a transaction."""
        with self.connection.writing():
            commit(self.connection, offsets, self.membership(), expires=self._expires())

    def close(self) -> None:
        """Free the leases for whoever stands by."""
        if self._closed:
            return
        self._closed = True
        # A lease that cannot be freed now expires by itself.
        with contextlib.suppress(port.LogError), self.connection.writing() as sql:
            for name, epoch in self._epochs.items():
                # The epoch goes up, so that no commit of this member comes through any more.
                sql.execute(
                    "UPDATE leases SET holder = '', expires = 0, epoch = epoch + 1"
                    " WHERE member_of = ? AND topic = ? AND holder = ? AND epoch = ?",
                    (self.group, self.connection.topic(name).id, self._holder, epoch),
                )
        self._epochs.clear()
        self._positions.next.clear()
        self.connection.close()

    def _held(self, partition: port.Partition) -> str:
        if partition.number != 0 or partition.topic not in self._epochs:
            raise port.Fenced(f"{partition} is not held by this member of {self.group}")
        return partition.topic

    def _expires(self) -> float:
        return self.time.now() + self.lease_seconds

    def _keep(self) -> None:
        now = self.time.now()
        with self.connection.reading() as sql:
            rows = self._rows(sql)
        lost = {name for name in self._epochs if not self._is_mine(rows.get(name), name)}
        if lost:
            for name in lost:
                del self._epochs[name]
                self._positions.next.pop(name, None)
            if self.listener is not None:
                self.listener.on_revoked(frozenset(port.Partition(name, 0) for name in lost))
        if any(self._is_free(rows.get(name), now) for name in self.topics):
            self._take()
        elif self._epochs and now >= self._renew_at:
            self._renew(now)

    def _rows(self, sql: sqlite3.Connection) -> dict[str, tuple[str, int, float]]:
        return {
            name: (holder, epoch, expires)
            for name, holder, epoch, expires in sql.execute(
                "SELECT name, holder, epoch, expires FROM leases JOIN topics ON topic = id"
                " WHERE member_of = ?",
                (self.group,),
            )
        }

    def _is_mine(self, row: tuple[str, int, float] | None, name: str) -> bool:
        return row is not None and row[:2] == (self._holder, self._epochs.get(name))

    def _is_free(self, row: tuple[str, int, float] | None, now: float) -> bool:
        # An own lease that expired and that nobody took is not free: it is renewed.
        return row is None or (row[0] != self._holder and row[2] <= now)

    def _take(self) -> None:
        now, taken = self.time.now(), {}
        with self.connection.writing() as sql:
            rows = self._rows(sql)
            for name in self.topics:
                row = rows.get(name)
                if not self._is_free(row, now):
                    continue
                topic = self.connection.topic(name)
                epoch = 1 if row is None else row[1] + 1
                sql.execute(
                    "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)",
                    (self.group, topic.id, self._holder, epoch, now + self.lease_seconds),
                )
                start = committed(self.connection, self.group, topic)
                taken[name] = epoch, topic.first if start is None else start
        for name, (epoch, start) in taken.items():
            self._epochs[name] = epoch
            self._positions.next[name] = start
        self._renew_at = now + self.lease_seconds * (1 - RENEW_AT)
        if taken and self.listener is not None:
            self.listener.on_assigned(frozenset(port.Partition(name, 0) for name in taken))

    def _renew(self, now: float) -> None:
        self._renew_at = now + RETRY_SECONDS
        # A full disk or a busy file must not keep anyone from reading: the epoch guards commits.
        with contextlib.suppress(port.Unavailable):
            with self.connection.writing() as sql:
                for name, epoch in self._epochs.items():
                    sql.execute(
                        "UPDATE leases SET expires = ? WHERE member_of = ? AND holder = ?"
                        " AND epoch = ? AND topic = (SELECT id FROM topics WHERE name = ?)",
                        (now + self.lease_seconds, self.group, self._holder, epoch, name),
                    )
            self._renew_at = now + self.lease_seconds * (1 - RENEW_AT)
