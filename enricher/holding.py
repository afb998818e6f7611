"""Partitions that have to wait: for a cluster's policies, or for a retry to be due.

What waits stays in the log: the partition is set back to the record and paused, and the consumer
goes on polling, so neither memory nor the place in the group is at risk.
"""

from dataclasses import dataclass

from bus import port


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a partition waits: until a time (unix seconds), or for a cluster's policies."""

    until: float | None = None
    cluster: str | None = None


class Holds:
    """The partitions of one consumer that wait."""

    def __init__(self, consumer: port.Consumer) -> None:
        self._consumer = consumer
        self._held: dict[port.Partition, Hold] = {}

    def __contains__(self, partition: port.Partition) -> bool:
        return partition in self._held

    def __len__(self) -> int:
        return len(self._held)

    def add(self, record: port.Record, hold: Hold) -> None:
        """Stop before this record."""
        self._consumer.seek(record.partition, record.offset)
        self._consumer.pause(frozenset({record.partition}))
        self._held[record.partition] = hold

    def release(self, partitions: frozenset[port.Partition]) -> None:
        """Go on with these."""
        for partition in partitions:
            self._held.pop(partition, None)
        if partitions:
            self._consumer.resume(partitions)

    def forget(self, partitions: frozenset[port.Partition]) -> None:
        """Leave out partitions that are held no longer."""
        for partition in partitions:
            self._held.pop(partition, None)

    def due(self, now: float) -> frozenset[port.Partition]:
        """Return those that waited for a time that has come."""
        return frozenset(
            partition
            for partition, hold in self._held.items()
            if hold.until is not None and hold.until <= now
        )

    def waiting(self) -> dict[port.Partition, str]:
        """Return the cluster that each partition waits for."""
        return {
            partition: hold.cluster
            for partition, hold in self._held.items()
            if hold.cluster is not None
        }
