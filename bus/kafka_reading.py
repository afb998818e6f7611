"""Reading Kafka without a group, and what a group's consumer shares with that.

A read-committed end may be a transaction's marker: positions decide, never a record's offset. The
client runs its connections on a thread of its own; all calls here come from one other thread.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition, errors

from bus import kafka_connection, kafka_errors, port

FETCH_BYTES = 8 * 1024 * 1024
PARTITION_BYTES = 2 * 1024 * 1024
CALL_MS = 10_000
"""How long a question to the brokers may take."""
AWAY_SECONDS = 3.0
"""How long no connection may stand before a poll says so; the client itself would wait for ever."""
LEAST_POLL_MS = 1


def options(cluster: kafka_connection.Cluster) -> dict[str, Any]:
    """Return the options of every consumer here."""
    return cluster.options() | {
        "isolation_level": "read_committed",
        # Out of range must be told, not papered over: `Reading` handles it.
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "fetch_max_bytes": FETCH_BYTES,
        "max_partition_fetch_bytes": PARTITION_BYTES,
        "metrics_enabled": False,
    }


def learn(client: KafkaConsumer, topics: Iterable[str]) -> None:
    """Wait until a client knows its topics.

    It asks for metadata when it is made and again when told its topics; where the first answer is
    still under way, it takes that for the second and then knows no topics until the next regular
    look. A group's leader would hand out nothing until then.
    """
    deadline = time.monotonic() + CALL_MS / 1000
    cluster = client._cluster  # noqa: SLF001 - the public call asks for all topics, unbounded
    while any(cluster.partitions_for_topic(topic) is None for topic in topics):
        if time.monotonic() > deadline:
            raise errors.KafkaTimeoutError("the brokers do not tell about the topics")
        update = cluster.request_update()
        client._net.run(client._manager.wait_for, update, CALL_MS)  # noqa: SLF001


def theirs(partition: port.Partition) -> TopicPartition:
    """Return the client's name for a partition."""
    return TopicPartition(partition.topic, partition.number)


def ours(partition: TopicPartition) -> port.Partition:
    """Return the port's name for a partition."""
    return port.Partition(partition.topic, partition.partition)


@dataclass(slots=True)
class Reading:
    """One client and how it is polled."""

    client: KafkaConsumer
    _connected: float = 0.0

    def __post_init__(self) -> None:
        self._connected = time.monotonic()

    def poll(self, *, timeout: float, max_records: int) -> list[port.Record]:
        """Return records, or none where there are none in time.

        Raises OffsetOutOfRange for the partitions that stand where nothing is, having moved them.
        """
        wait = max(int(timeout * 1000), LEAST_POLL_MS)
        deadline = time.monotonic() + timeout
        while True:
            try:
                fetched = self.client.poll(timeout_ms=wait, max_records=max_records)
            except errors.NoOffsetForPartitionError as error:
                self.client.seek_to_beginning(*error.args[0])
            except (errors.OffsetOutOfRangeError, errors.LogTruncationError) as error:
                if moved := self._move(error):
                    raise port.OffsetOutOfRange(moved) from error
            except errors.KafkaError as error:
                raise kafka_errors.translate(error, doing="reading from Kafka") from error
            else:
                if not fetched:
                    self._check()
                return _records(fetched)
            wait = max(int((deadline - time.monotonic()) * 1000), LEAST_POLL_MS)

    def position(self, partition: port.Partition) -> int:
        """Return the offset that the next poll reads from."""
        with kafka_errors.translated(f"asking for the position in {partition}"):
            try:
                position = self.client.position(theirs(partition), timeout_ms=CALL_MS)
            except errors.NoOffsetForPartitionError as error:
                self.client.seek_to_beginning(*error.args[0])
                position = self.client.position(theirs(partition), timeout_ms=CALL_MS)
            except errors.IllegalStateError as error:
                raise port.Fenced(f"{partition} is not held by this consumer") from error
        if position is None:
            raise port.Unavailable(f"no broker told the position in {partition}")
        return int(position)

    def seek(self, partition: port.Partition, offset: int) -> None:
        """Read on from `offset`. Raises Fenced where the partition is not held."""
        try:
            self.client.seek(theirs(partition), max(offset, 0))
        except ValueError as error:
            raise port.Fenced(f"{partition} is not held by this consumer") from error

    def beginning(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset that exists."""
        with kafka_errors.translated("asking for the beginning of partitions"):
            return dict(self.client.beginning_offsets(list(partitions), timeout_ms=CALL_MS))

    def end(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the read-committed end."""
        with kafka_errors.translated("asking for the end of partitions"):
            return dict(self.client.end_offsets(list(partitions), timeout_ms=CALL_MS))

    def _move(self, error: errors.KafkaError) -> dict[port.Partition, tuple[int, int]]:
        """Move what stands out of range; return (what was wanted, where it stands now)."""
        held = list(self.client.assignment())
        first, end = self.beginning(held), self.end(held)
        wanted = {each: self._wanted(each, error) for each in held}
        moved = {
            each: (offset, min(max(offset, first[each]), end[each]))
            for each, offset in wanted.items()
            if offset is not None and not first[each] <= offset <= end[each]
        }
        for each, (_, stands) in moved.items():
            self.client.seek(each, stands)
        return {ours(each): offsets for each, offsets in moved.items()}

    def _wanted(self, partition: TopicPartition, error: errors.KafkaError) -> int | None:
        """Return where a partition stands, without asking a broker."""
        named = error.args[0] if error.args else None
        if isinstance(named, Mapping) and isinstance(named.get(partition), int):
            return int(named[partition])
        try:
            position = self.client.position(partition, timeout_ms=CALL_MS)
        except errors.KafkaError:
            return None
        return None if position is None else int(position)

    def _check(self) -> None:
        """Raise where there has been no connection for a while: the client only goes on trying."""
        manager = self.client._manager  # noqa: SLF001 - the client tells it no other way
        now = time.monotonic()
        if any(connection.connected for connection in list(manager._conns.values())):  # noqa: SLF001
            self._connected = now
        elif now - self._connected > AWAY_SECONDS:
            for failure in list(manager._auth_failures.values()):  # noqa: SLF001
                raise kafka_errors.translate(failure, doing="signing in to Kafka") from failure
            raise port.Unavailable(
                f"no Kafka broker could be reached for {now - self._connected:.0f} s"
            )


@dataclass(slots=True)
class Reader:
    """`port.Reader` over Kafka."""

    _reading: Reading
    _partitions: tuple[TopicPartition, ...]

    @classmethod
    def open(
        cls, cluster: kafka_connection.Cluster, partitions: Sequence[port.Partition]
    ) -> "Reader":
        """Stand at the beginning of all partitions."""
        with kafka_errors.translated("opening a reader"):
            client = kafka_connection.made(KafkaConsumer, **options(cluster))
            chosen = tuple(theirs(partition) for partition in partitions)
            client.assign(list(chosen))
            learn(client, {each.topic for each in chosen})
            client.seek_to_beginning()
        return cls(Reading(client), chosen)

    def partitions(self) -> frozenset[port.Partition]:
        """Return all partitions of the topics."""
        return frozenset(map(ours, self._partitions))

    def seek(self, partition: port.Partition, offset: int) -> None:
        """Read on from `offset`."""
        self._reading.seek(partition, offset)

    def beginning(self) -> dict[port.Partition, int]:
        """Return the first offsets."""
        found = self._reading.beginning(self._partitions)
        return {ours(partition): offset for partition, offset in found.items()}

    def end(self) -> dict[port.Partition, int]:
        """Return the read-committed ends."""
        found = self._reading.end(self._partitions)
        return {ours(partition): offset for partition, offset in found.items()}

    def at_time(self, milliseconds: int) -> dict[port.Partition, int]:
        """Return the first offsets at or after this time; else the ends."""
        with kafka_errors.translated("asking for offsets by time"):
            found = self._reading.client.offsets_for_times(
                dict.fromkeys(self._partitions, milliseconds), timeout_ms=CALL_MS
            )
        end = self._reading.end(self._partitions)
        return {
            ours(each): end[each] if found.get(each) is None else found[each].offset
            for each in self._partitions
        }

    def position(self, partition: port.Partition) -> int:
        """Return the offset that the next poll reads from."""
        return self._reading.position(partition)

    def poll(self, *, timeout: float, max_records: int = 500) -> Sequence[port.Record]:
        """Wait for records; what was deleted before it was read is passed over."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                left = max(deadline - time.monotonic(), 0.0)
                return self._reading.poll(timeout=left, max_records=max_records)
            except port.OffsetOutOfRange:
                continue

    def close(self) -> None:
        """Let go of the connection."""
        close(self._reading.client)


def close(client: KafkaConsumer) -> None:
    """Close a client within seconds, also while no broker answers."""
    try:
        client.close(autocommit=False, timeout_ms=2000)
    except (errors.KafkaError, OSError, RuntimeError):
        # It leaves its group by timeout then.
        return
    finally:
        client._net.stop(timeout_ms=2000)  # noqa: SLF001 - closing leaves the thread to itself


def committed_at(offset: int) -> OffsetAndMetadata:
    """Return the client's form of an offset to be committed."""
    return OffsetAndMetadata(offset, "", -1)


def _records(fetched: Mapping[TopicPartition, Sequence[Any]]) -> list[port.Record]:
    records = []
    for partition, batch in fetched.items():
        where = ours(partition)
        records += [
            port.Record(
                partition=where,
                offset=each.offset,
                key=each.key,
                value=each.value,
                headers=tuple(each.headers) if each.headers else (),
                timestamp=each.timestamp,
            )
            for each in batch
        ]
    return records
