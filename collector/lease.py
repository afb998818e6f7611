"""Who collects a cluster: whoever holds the partition of its key in the collectors' group.

All collectors of a cluster are members; the others stand by. Offsets are never committed: the
group serves only to agree on one holder. What a late holder could still write, the producer's
fencing prevents.
"""

from dataclasses import dataclass, field

from bus import port
from schemas import topics

WAIT_SECONDS = 0.2


@dataclass(slots=True, kw_only=True)
class Lease:
    """One member's view. One thread only, as consumers are."""

    log: port.Log
    cluster: str
    _consumer: port.Consumer | None = None
    _partition: port.Partition | None = field(default=None)

    @property
    def group(self) -> str:
        """Return the group's name."""
        return f"picket-collector-{self.cluster}"

    def is_held(self, *, wait: float = 0.0) -> bool:
        """Keep the membership alive; return whether this process is the active one.

        Raises Unavailable, Misconfigured.
        """
        if self._consumer is None:
            self._partition = self.log.partition_for(topics.COLLECTOR.name, self.cluster.encode())
            self._consumer = self.log.consumer(self.group, [topics.COLLECTOR.name])
        self._consumer.poll(timeout=wait, max_records=1)
        assigned = self._consumer.assignment()
        # Only the membership is wanted, not the records.
        self._consumer.pause(assigned)
        return self._partition in assigned

    def close(self) -> None:
        """Leave the group, so that another takes over at once. Idempotent."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()
