"""A member of a Kafka consumer group.

The client tells of rebalances on its own network thread, in the middle of a poll. Here they are
noted and told on again on the polling thread, before that poll returns any record. Partitions are
handed out eagerly: each rebalance takes all away and gives them back at their committed offsets.
All members of a group read the same topics: a leader learns those of others late.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import ConsumerGroupMetadata, ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from bus import kafka_connection, kafka_errors, kafka_reading, port

SESSION_MS = 10_000
HEARTBEAT_MS = 2_000
POLL_GAP_MS = 60_000
"""A member that does not poll for so long loses its partitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A place in the group at one moment: the token of a `port.Membership`."""

    metadata: ConsumerGroupMetadata
    partitions: frozenset[port.Partition]


def metadata_for(offsets: port.Offsets, membership: port.Membership) -> ConsumerGroupMetadata:
    """Return what the broker fences by.

    The broker checks the member and its generation, not who holds which partition, and takes
    offsets from nobody at all into an empty group: so both are checked here. Raises Fenced.
    """
    held = membership.token
    if not isinstance(held, Held) or held.metadata.generation_id < 0:
        raise port.Fenced(f"this member has not joined {membership.group}")
    if not held.partitions >= offsets.keys():
        others = sorted(offsets.keys() - held.partitions)
        raise port.Fenced(f"{others} are not held by this member of {membership.group}")
    return held.metadata


class _Notes(ConsumerRebalanceListener):  # type: ignore[misc] # the client has no types
    """Notes what the network thread tells. Appending to a list needs no lock."""

    def __init__(self) -> None:
        self.told: list[tuple[bool, frozenset[port.Partition]]] = []

    def on_partitions_revoked(self, revoked: Any) -> None:
        self._note(revoked=True, partitions=revoked)

    def on_partitions_lost(self, lost: Any) -> None:
        self._note(revoked=True, partitions=lost)

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._note(revoked=False, partitions=assigned)

    def _note(self, *, revoked: bool, partitions: Any) -> None:
        if partitions:
            self.told.append((revoked, frozenset(map(kafka_reading.ours, partitions))))


@dataclass(slots=True)
class Consumer:
    """`port.Consumer` over Kafka."""

    group: str
    _reading: kafka_reading.Reading
    _notes: _Notes
    _listener: port.RebalanceListener | None
    _paused: frozenset[port.Partition] = field(default=frozenset())
    _closed: bool = False

    @classmethod
    def open(
        cls,
        cluster: kafka_connection.Cluster,
        group: str,
        topics: Sequence[str],
        *,
        listener: port.RebalanceListener | None,
        session_ms: int = SESSION_MS,
    ) -> "Consumer":
        """Subscribe; the first polls join the group."""
        notes = _Notes()
        with kafka_errors.translated(f"joining {group}"):
            client = kafka_connection.made(
                KafkaConsumer,
                **kafka_reading.options(cluster),
                group_id=group,
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=min(HEARTBEAT_MS, session_ms // 3),
                max_poll_interval_ms=max(POLL_GAP_MS, session_ms),
                partition_assignment_strategy=(CooperativeStickyAssignor,),
            )
            client.subscribe(topics=list(topics), listener=notes)
            kafka_reading.learn(client, topics)
        return cls(group, kafka_reading.Reading(client), notes, listener)

    def poll(self, *, timeout: float, max_records: int = 500) -> Sequence[port.Record]:
        """Wait for records, joining or rejoining the group as needed."""
        try:
            return self._reading.poll(timeout=timeout, max_records=max_records)
        finally:
            self._tell()

    def assignment(self) -> frozenset[port.Partition]:
        """Return the partitions held now."""
        return frozenset(map(kafka_reading.ours, self._reading.client.assignment() or ()))

    def membership(self) -> port.Membership:
        """Return the generation joined last, and what it gave."""
        return port.Membership(
            self.group,
            Held(metadata=self._reading.client.group_metadata(), partitions=self.assignment()),
        )

    def seek(self, partition: port.Partition, offset: int) -> None:
        """Read on from `offset`."""
        self._reading.seek(partition, offset)

    def pause(self, partitions: frozenset[port.Partition]) -> None:
        """Return no records of these until resumed; a rebalance does not resume them."""
        self._paused |= partitions
        self._apply()

    def resume(self, partitions: frozenset[port.Partition]) -> None:
        """Return their records again."""
        self._paused -= partitions
        self._reading.client.resume(*self._theirs(partitions))

    def position(self, partition: port.Partition) -> int:
        """Return the offset that the next poll reads from."""
        return self._reading.position(partition)

    def committed(self, partition: port.Partition) -> int | None:
        """Return the group's committed offset, or None."""
        with kafka_errors.translated(f"asking for the offset of {self.group} in {partition}"):
            offset = self._reading.client.committed(
                kafka_reading.theirs(partition), timeout_ms=kafka_reading.CALL_MS
            )
        return None if offset is None else int(offset)

    def commit(self, offsets: port.Offsets) -> None:
        """Commit outside a transaction."""
        metadata_for(offsets, self.membership())
        with kafka_errors.translated(f"committing offsets of {self.group}"):
            self._reading.client.commit(
                {
                    kafka_reading.theirs(partition): kafka_reading.committed_at(offset)
                    for partition, offset in offsets.items()
                },
                timeout_ms=kafka_reading.CALL_MS,
            )

    def close(self) -> None:
        """Leave the group at once."""
        if not self._closed:
            self._closed = True
            kafka_reading.close(self._reading.client)

    def _tell(self) -> None:
        while self._notes.told:
            revoked, partitions = self._notes.told.pop(0)
            if not revoked:
                self._apply()
            if self._listener is None:
                continue
            if revoked:
                self._listener.on_revoked(partitions)
            else:
                self._listener.on_assigned(partitions)

    def _apply(self) -> None:
        # The client forgets pauses with the assignment.
        self._reading.client.pause(*self._theirs(self._paused))

    def _theirs(self, partitions: frozenset[port.Partition]) -> list[TopicPartition]:
        return [kafka_reading.theirs(each) for each in partitions & self.assignment()]
