"""Into the log: batches, dead letters and checkpoints, one transaction at a time.

A transaction is kept until it is known to be in the log. Where the answer to a commit was lost,
the log itself is asked: a transaction is there whole or not at all, so one record of it tells. A
header makes that record like no other, since two that hold no flow may be alike to the byte.
"""

import bisect
import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bus import port
from collector import instants
from collector.continuity import Gap
from schemas import topics
from schemas.picket.v1 import flows_pb2

TRANSACTION = "transaction"
"""The header of a transaction's first record."""


@dataclass(slots=True, kw_only=True)
class Packer:
    """Makes records of responses.

    Partitions take turns by transaction, since each one in a transaction costs round trips.
    """

    cluster: str
    batch_bytes: int
    partitions: Sequence[int]
    _turn: Iterator[int] = field(init=False)
    _said_until: int = 0

    def __post_init__(self) -> None:
        self._turn = itertools.cycle(self.partitions)

    def pack(
        self,
        responses: Sequence[bytes],
        said: flows_pb2.FlowBatch,
        *,
        read_until: int,
        to_all: bool = False,
        ahead: Sequence[bytes] = (),
    ) -> list[port.Outgoing]:
        """Return records of about `batch_bytes`, at least one; those of `ahead` come first.

        All carry state and capture of `said`, the first one what else it says. Only the last of
        each partition says how far the stream was read, since the others have responses behind
        them. `to_all` sees to it that every partition gets a record, if need be an empty one.
        """
        own = next(self._turn)
        batches = [self._batch(said, chunk) for chunk in self._chunks(responses)]
        batches = batches or [self._batch(said, ())]
        early = [self._batch(said, chunk) for chunk in self._chunks(ahead)]
        for batch in early:
            batch.ahead = True
        batches[0].MergeFrom(said)
        batches = early + batches
        targets = [own] * len(batches)
        if to_all:
            others = [number for number in self.partitions if number != own]
            targets += others
            batches += [self._batch(said, ()) for _ in others]
        before, self._said_until = self._said_until, max(self._said_until, read_until)
        last = {number: index for index, number in enumerate(targets)}
        for index, (number, batch) in enumerate(zip(targets, batches, strict=True)):
            until = self._said_until if last[number] == index else before
            if until:
                batch.read_until.CopyFrom(instants.timestamp(until))
        return [
            port.Outgoing(
                topic=topics.FLOWS.name, value=batch.SerializeToString(), partition=number
            )
            for number, batch in zip(targets, batches, strict=True)
        ]

    def restore(self, read_until: int) -> None:
        """Never say less than was said before."""
        self._said_until = max(self._said_until, read_until)

    def _batch(self, said: flows_pb2.FlowBatch, responses: Sequence[bytes]) -> flows_pb2.FlowBatch:
        return flows_pb2.FlowBatch(
            cluster=self.cluster, responses=responses, state=said.state, capture=said.capture
        )

    def _chunks(self, responses: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        # Sums and a search by halves: nothing here happens once a flow.
        ends = list(itertools.accumulate(map(len, responses)))
        start = 0
        while start < len(responses):
            before = ends[start - 1] if start else 0
            stop = max(bisect.bisect_right(ends, before + self.batch_bytes), start + 1)
            yield responses[start:stop]
            start = stop


@dataclass(slots=True, kw_only=True)
class Writer:
    """The cluster's transactional producer. Opening it fences the one before."""

    log: port.Log
    cluster: str
    _producer: port.Producer | None = None
    _sent: tuple[str, bytes] = (TRANSACTION, b"")

    def open(self) -> None:
        """Fence whoever wrote before, and resolve what it left open. Raises Unavailable."""
        self.close()
        self._producer = self.log.producer(f"picket-collector-{self.cluster}")

    def write(self, records: Sequence[port.Outgoing]) -> None:
        """Commit a transaction, of which the first record is one of the flows topic.

        Raises Fenced; Unavailable, and then nobody knows.
        """
        self._sent = (TRANSACTION, uuid.uuid4().bytes)
        if self._producer is None:
            raise port.Unavailable("the producer is not open")
        first, *others = records
        with self._producer.transaction() as transaction:
            for record in (replace(first, headers=(*first.headers, self._sent)), *others):
                transaction.send(record)

    def is_written(self, *, since: Mapping[int, int]) -> bool:
        """Return whether the log has the last transaction, whose fate is unknown, after `open`.

        `since` gives offsets of the flows topic, by partition number. Raises Unavailable.
        """
        reader = self.log.reader([topics.FLOWS.name])
        try:
            for partition in reader.partitions():
                reader.seek(partition, since.get(partition.number, 0))
            return any(self._sent in record.headers for record in port.read_to_end(reader))
        finally:
            reader.close()

    def close(self) -> None:
        """Let go of the producer. Idempotent."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()


def gap_message(gap: Gap) -> flows_pb2.Gap:
    """Return a gap as it stands in a batch."""
    message = flows_pb2.Gap(
        node=gap.node, until=instants.timestamp(gap.until), reason=gap.reason.value
    )
    getattr(message, "from").CopyFrom(instants.timestamp(gap.start))
    return message
