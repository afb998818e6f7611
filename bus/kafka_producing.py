"""Producing to Kafka in transactions.

The client recovers from some errors by itself in ways that would break the promises, so here
nothing is left to it: a transaction commits only after each of its records was acknowledged, every
wait is bounded, and after any failure the client is thrown away, so that nothing of it can reach a
broker later. Whoever gets an error opens the producer anew.
"""

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer, errors

from bus import kafka_connection, kafka_errors, kafka_groups, kafka_reading, kafka_topics, port

TRANSACTION_MS = 10_000
WAIT_SECONDS = 10.0
DELIVERY_MS = 9_000
LINGER_MS = 5
RETRY_MS = 20
"""The client sleeps so long where the transaction before is still being finished: keep it short."""
BATCH_BYTES = 128 * 1024
REQUEST_BYTES = 16 * 1024 * 1024
CLOSE_SECONDS = 2.0
ABORT_SECONDS = 3.0
NO_RECOVERY = (2, 4)


def record_bytes(record: port.Outgoing) -> int:
    """Return the size that counts against a topic's limit: key, value and headers."""
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


@dataclass(slots=True)
class Transaction:
    """`port.Transaction`: records are on their way, offsets wait for the commit."""

    _producer: "Producer"
    sent: list[Any] = field(default_factory=list)
    offsets: list[tuple[port.Offsets, port.Membership]] = field(default_factory=list)
    _chosen: dict[str, int] = field(default_factory=dict)

    def send(self, record: port.Outgoing) -> None:
        """Add a record. Those without key and partition go to one partition a transaction."""
        topic = self._producer.topics.known(record.topic)
        number = record.partition
        if number is not None and number not in topic.replicas:
            raise port.Misconfigured(f"{record.topic} has no partition {number}")
        if topic.compacted and record.key is None:
            raise port.Misconfigured(f"{record.topic} is compacted: its records need keys")
        size = record_bytes(record)
        if size > topic.max_record_bytes:
            raise port.RecordTooLarge(
                f"a record of {size} bytes for {record.topic}, which takes {topic.max_record_bytes}"
            )
        if number is None and record.key is None:
            # Each partition costs a transaction two more round trips and a marker.
            number = self._chosen.setdefault(record.topic, random.choice(tuple(topic.replicas)))  # noqa: S311
        self.sent.append(self._producer.send(record, number))

    def commit_offsets(self, offsets: port.Offsets, membership: port.Membership) -> None:
        """Add a group's consumed offsets."""
        kafka_groups.metadata_for(offsets, membership)
        self.offsets.append((dict(offsets), membership))


class Producer:
    """`port.Producer` over Kafka."""

    def __init__(
        self,
        cluster: kafka_connection.Cluster,
        topics: kafka_topics.Topics,
        transactional_id: str,
    ) -> None:
        """Connect, fence the one before and finish what it left open."""
        self.topics = topics
        self._id = transactional_id
        self._broken: port.LogError | None = None
        with kafka_errors.translated(f"opening the producer {transactional_id}"):
            self._client = kafka_connection.made(
                KafkaProducer,
                **cluster.options(),
                transactional_id=transactional_id,
                transaction_timeout_ms=TRANSACTION_MS,
                acks="all",
                compression_type="lz4",
                linger_ms=LINGER_MS,
                batch_size=BATCH_BYTES,
                max_request_size=REQUEST_BYTES,
                delivery_timeout_ms=DELIVERY_MS,
                max_block_ms=int(WAIT_SECONDS * 1000),
                retry_backoff_ms=RETRY_MS,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
            self._manager = self._client._transaction_manager  # noqa: SLF001 - see below
            # The client would answer a stale epoch by asking for a new one, which with some
            # brokers fences the rightful owner. Told that the broker is too old for that, it
            # takes a stale epoch for what it is: fatal.
            self._manager._api_version = NO_RECOVERY  # noqa: SLF001
            try:
                self._client.init_transactions()
            except BaseException:
                self._discard()
                raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Commit when the block is left, abort where it raised."""
        if self._broken is not None:
            raise self._broken
        with self._guarded("beginning a transaction"):
            self._client.begin_transaction()
        transaction = Transaction(self)
        try:
            yield transaction
        except BaseException:
            self._abort()
            raise
        with self._guarded("committing a transaction"):
            self._commit(transaction)

    def send(self, record: port.Outgoing, partition: int | None) -> Any:
        """Hand a record to the client; return its future."""
        with self._guarded(f"producing to {record.topic}"):
            return self._client.send(
                record.topic,
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                partition=partition,
            )

    def close(self) -> None:
        """Let go of the connection; what is open is aborted by the next of this id, or by time."""
        if self._broken is None:
            self._broken = port.Unavailable(f"the producer {self._id} was closed")
            self._discard()

    def _commit(self, transaction: Transaction) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        if transaction.sent:
            self._client.flush(timeout=WAIT_SECONDS)
            # A batch whose time ran out fails its records, but not the client's transaction.
            for future in transaction.sent:
                if not future.succeeded():
                    raise future.exception or errors.KafkaTimeoutError("a record got no answer")
        for offsets, membership in transaction.offsets:
            metadata = kafka_groups.metadata_for(offsets, membership)
            theirs = {
                kafka_reading.theirs(partition): kafka_reading.committed_at(offset)
                for partition, offset in offsets.items()
            }
            self._wait(self._manager.send_offsets_to_transaction(theirs, metadata), deadline)
        self._wait(self._manager.begin_commit(), deadline)

    def _abort(self) -> None:
        if self._broken is not None:
            return
        try:
            self._wait(self._manager.begin_abort(), time.monotonic() + WAIT_SECONDS)
        except errors.KafkaError as error:
            # The broker aborts it in time, or whoever opens this id next does.
            self._break(kafka_errors.translate(error, doing="aborting a transaction"))

    def _wait(self, result: Any, deadline: float) -> None:
        """Wait for an answer; the client's own methods would wait for ever."""
        self._client._sender.wakeup()  # noqa: SLF001
        if not result.wait(timeout_ms=max(deadline - time.monotonic(), 0.0) * 1000):
            raise errors.KafkaTimeoutError(f"no answer within {WAIT_SECONDS:.0f} s")

    @contextlib.contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        try:
            yield
        except port.LogError as error:
            self._break(error)
            raise
        except (errors.KafkaError, OSError) as error:
            # What the client raises now is often only the echo of an earlier failure.
            cause = self._manager.last_error or error
            broken = kafka_errors.translate(cause, doing=f"{doing} as {self._id}")
            self._break(broken)
            raise broken from error

    def _break(self, error: port.LogError) -> None:
        self._broken = error
        if not isinstance(error, port.Unavailable):
            self._end_open_transaction()
        self._discard()

    def _end_open_transaction(self) -> None:
        """Abort in time: until then read-committed readers wait at the open transaction."""
        with contextlib.suppress(errors.KafkaError):
            self._wait(self._manager.begin_abort(), time.monotonic() + ABORT_SECONDS)

    def _discard(self) -> None:
        """End the client's thread without letting it send anything more."""
        sender = self._client._sender  # noqa: SLF001 - a plain close would first try to deliver
        sender.force_close()
        sender.join(CLOSE_SECONDS)
        with contextlib.suppress(errors.KafkaError, OSError):
            self._client.close(timeout=0)
