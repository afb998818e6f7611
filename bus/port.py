"""The port through which every stage reads and writes the log.

Two adapters keep it: `bus.embedded` (one SQLite file) and `bus.kafka`. One contract suite runs over
both. The rules that hold everywhere stand here, once:

- A committed offset is the offset of the *next* record to read.
- Readers see committed records only, in the order of offsets within a partition. Offsets may skip
  (Kafka keeps markers among the records): never count by subtracting them.
- A transaction is produced records together with consumed offsets: all of it or nothing.
- One thread creates, polls and closes a consumer or a producer.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from schemas.topics import Topic

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A committed record. `timestamp` is in milliseconds since the epoch."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    """None is a tombstone."""
    headers: Headers = ()
    timestamp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A record to be produced. Without a partition number the key decides, or chance."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


Offsets = Mapping[Partition, int]


class LogError(Exception):
    """Anything the log could not do.

    LogError
     ├── Unavailable        try again: the broker or the file is away, or another holds it
     ├── Fenced             another holds this transactional id or these partitions: stand by
     ├── RecordTooLarge     rejected: the record can never be written
     ├── OffsetOutOfRange   the wanted offsets were deleted: a gap, to be recorded
     ├── LogFull            try again later: no room on the disk
     └── Misconfigured      a person must act: unknown topic, wrong password, wrong definition
    """


class Unavailable(LogError):
    """The log cannot be reached now; the same call may succeed later."""


class Fenced(LogError):
    """A newer owner took over; whatever this one had not committed is gone."""


class RecordTooLarge(LogError):
    """The record is over the size limit of its topic."""


class LogFull(Unavailable):
    """There is no room left on the log's disk."""


class Misconfigured(LogError):
    """The log refuses for a reason that time does not heal; the message says what to change."""


class OffsetOutOfRange(LogError):
    """Offsets that a consumer had committed no longer exist.

    `missing` maps each partition to (the offset that was wanted, the one where reading goes on):
    the first one that still exists, or the end where the wanted one lies past that.
    """

    def __init__(self, missing: Mapping[Partition, tuple[int, int]]) -> None:
        """Keep what is missing for whoever records the gap."""
        self.missing = dict(missing)
        super().__init__(f"offsets out of range: {self.missing}")


@dataclass(frozen=True, slots=True)
class Membership:
    """A consumer's place in its group at one moment: what fences a transaction's offsets."""

    group: str
    token: object = field(repr=False)
    """The adapter's own: Kafka's group metadata, or the embedded lease's epoch."""


class RebalanceListener(Protocol):
    """Told, on the polling thread and within poll, when partitions come and go."""

    def on_revoked(self, partitions: frozenset[Partition]) -> None:
        """Forget all uncommitted work of these partitions: someone else will redo it."""

    def on_assigned(self, partitions: frozenset[Partition]) -> None:
        """These partitions are ours from their committed offsets on."""


class Consumer(Protocol):
    """A member of a group. Starts at the committed offset, else at the beginning.

    Never commits by itself: offsets go into a producer's transaction, or to `commit`.
    """

    def poll(self, *, timeout: float, max_records: int = 500) -> Sequence[Record]:
        """Wait up to `timeout` seconds; return records in order within each partition.

        Raises Unavailable, OffsetOutOfRange (the consumer then stands where the error says, and
        polling goes on from there), Misconfigured.
        """

    def assignment(self) -> frozenset[Partition]:
        """Return the partitions held now; empty for a standby."""

    def membership(self) -> Membership:
        """Return what a transaction needs to commit this consumer's offsets."""

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from `offset`. Raises Fenced where the partition is not held."""

    def pause(self, partitions: frozenset[Partition]) -> None:
        """Return no records of these until resumed."""

    def resume(self, partitions: frozenset[Partition]) -> None:
        """Return their records again."""

    def position(self, partition: Partition) -> int:
        """Return the offset that the next poll reads from. Raises Fenced where it is not held."""

    def committed(self, partition: Partition) -> int | None:
        """Return the group's committed offset, or None."""

    def commit(self, offsets: Offsets) -> None:
        """Commit outside a transaction. Raises Fenced where the partitions were taken away."""

    def close(self) -> None:
        """Leave the group at once, committing nothing. Idempotent."""


class Reader(Protocol):
    """Reads partitions without a group: tables, scans, people looking."""

    def partitions(self) -> frozenset[Partition]:
        """Return all partitions of the topics this reader was opened for."""

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from `offset`; before the beginning means the beginning."""

    def beginning(self) -> dict[Partition, int]:
        """Return the first offset that exists, by partition."""

    def end(self) -> dict[Partition, int]:
        """Return the read-committed end, by partition: all below it can be read now."""

    def at_time(self, milliseconds: int) -> dict[Partition, int]:
        """Return from where to read for the first record at or after this time; else the end.

        Between that offset and the record may lie offsets that hold none.
        """

    def position(self, partition: Partition) -> int:
        """Return the offset that the next poll reads from."""

    def poll(self, *, timeout: float, max_records: int = 500) -> Sequence[Record]:
        """Wait up to `timeout` seconds for records of any partition.

        What was deleted before it was read is passed over. Raises Unavailable, Misconfigured.
        """

    def close(self) -> None:
        """Let go of the connection. Idempotent."""


class Transaction(Protocol):
    """Records and offsets that become visible together."""

    def send(self, record: Outgoing) -> None:
        """Add a record. Raises RecordTooLarge, Misconfigured (unknown topic), Unavailable."""

    def commit_offsets(self, offsets: Offsets, membership: Membership) -> None:
        """Add a group's consumed offsets; the commit fails with Fenced if they were taken away."""


class Producer(Protocol):
    """A transactional producer under a stable id: opening it fences the one before."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction; leaving the block commits it, an exception aborts it.

        What was committed is decided then; readers and `Log.lag` see it at once or, on Kafka,
        some milliseconds later. Opening a producer of the same id waits for that as well.

        Raises Fenced where a newer producer took the id; Unavailable if the commit did not go
        through: then nothing of it is visible, or all is (the commit's answer was lost). Close the
        producer and open it anew: opening resolves it, and the committed offsets tell which.
        """

    def close(self) -> None:
        """Abort what is open and let go. Idempotent."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is behind in one partition."""

    partition: Partition
    committed: int | None
    end: int


class Log(Protocol):
    """A connection to the log; the factory for all else. Thread-safe."""

    def ensure(self, topics: Sequence[Topic]) -> None:
        """Create the missing topics and check the others.

        Raises Misconfigured naming each setting of an existing topic that breaks a promise.
        """

    def identity(self, topic: str) -> str:
        """Return what tells this topic's offsets from those of any other log.

        Kafka's cluster id and topic id, or the file's UUID.
        """

    def consumer(
        self, group: str, topics: Sequence[str], *, listener: RebalanceListener | None = None
    ) -> Consumer:
        """Join a group."""

    def reader(self, topics: Sequence[str]) -> Reader:
        """Open a reader at the beginning of all partitions of the topics."""

    def producer(self, transactional_id: str) -> Producer:
        """Open a producer, fencing any other of this id and resolving what it left open."""

    def partition_for(self, topic: str, key: bytes) -> Partition:
        """Return the partition in which records of this key stand."""

    def lag(self, group: str, topics: Sequence[str]) -> Sequence[Lag]:
        """Return how far a group is behind, by partition."""

    def close(self) -> None:
        """Close what this connection holds. Idempotent."""


def offsets_after(records: Sequence[Record]) -> dict[Partition, int]:
    """Return the offsets to commit once these records are done with."""
    after: dict[Partition, int] = {}
    for record in records:
        after[record.partition] = max(after.get(record.partition, 0), record.offset + 1)
    return after


def read_to_end(reader: Reader, *, timeout: float = 1.0) -> Iterator[Record]:
    """Yield every record up to the end that stood when this was called.

    An end may be a commit marker that yields no record, so this goes by position, never by the
    last record's offset.
    """
    ends = reader.end()
    while any(reader.position(partition) < end for partition, end in ends.items()):
        yield from reader.poll(timeout=timeout)
