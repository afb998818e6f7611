"""What the contract suite needs of each adapter, and builders for its topics and records."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import IsolationLevel, OffsetSpec, TopicPartition

from bus import embedded, kafka, kafka_connection, opening, port
from schemas.topics import Cleanup, Encoding, Topic
from tests.waiting import until

LEASE_SECONDS = 2.0
DEADLINE_SECONDS = 60.0
CHECKOUT = Path(__file__).parents[3]


def a_topic(
    name: str | None = None,
    *,
    cleanup: Cleanup = Cleanup.DELETE,
    retention_ms: int | None = 3_600_000,
    partitions: int = 1,
    max_record_bytes: int = 10_000,
) -> Topic:
    """Return a topic with a name of its own."""
    return Topic(
        name=name or f"contract.{uuid.uuid4().hex[:12]}",
        summary="for a test",
        key="any",
        encoding=Encoding.JSON,
        cleanup=cleanup,
        retention_ms=retention_ms,
        partitions=partitions,
        max_record_bytes=max_record_bytes,
    )


def an_id(kind: str) -> str:
    """Return a name of its own for a group or a transactional id."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def open_log(bus: str) -> port.Log:
    """Open a log whose members are given up after two seconds, and which tidies up at once."""
    if bus.startswith(opening.KAFKA):
        cluster = kafka_connection.Cluster(servers=opening.servers(bus))
        return kafka.KafkaLog(cluster, session_ms=int(LEASE_SECONDS * 1000))
    return embedded.EmbeddedLog(
        opening.file(bus), lease_seconds=LEASE_SECONDS, retention_seconds=0.0
    )


@dataclass(slots=True)
class Remote:
    """An actor in another process."""

    process: subprocess.Popen[str]

    def ask(self, name: str, *arguments: Any) -> Any:
        """Have a command done and return its result; raises the port's error that it raised."""
        self.tell(name, *arguments)
        return self.answer()

    def answer(self) -> Any:
        """Wait for the answer to what was told."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the actor ended"
        kind, result = json.loads(line)
        if kind != "ok":
            raise getattr(port, kind)(result)
        return result

    def tell(self, name: str, *arguments: Any) -> None:
        """Give a command without waiting."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9 and wait."""
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@dataclass(slots=True)
class Harness:
    """One log under test; everything opened through it is closed at the end."""

    name: str
    bus: str
    restart: Callable[[], None] | None = None
    """Kill -9 and start the server, where there is one."""
    stop: Callable[[], None] | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _log: port.Log | None = None

    @property
    def log(self) -> port.Log:
        """Return the log, opened once."""
        if self._log is None:
            self._log = self.open()
        return self._log

    def open(self) -> port.Log:
        """Return another connection."""
        return self.closing(open_log(self.bus))

    def reopen(self) -> None:
        """Use a new connection from now on."""
        self._log = None

    def topic(self, **settings: Any) -> Topic:
        """Make a topic."""
        topic = a_topic(**settings)
        self.log.ensure([topic])
        return topic

    def closing(self, part: Any) -> Any:
        """Close this at the end."""
        self._stack.callback(part.close)
        return part

    def producer(self, transactional_id: str | None = None) -> port.Producer:
        """Open a producer."""
        return self.closing(self.log.producer(transactional_id or an_id("producer")))

    def consumer(
        self,
        group: str,
        *topics: str,
        listener: port.RebalanceListener | None = None,
        held: int | None = None,
    ) -> port.Consumer:
        """Open a consumer; wait until it holds `held` partitions (by default: all of them)."""
        consumer = self.closing(self.log.consumer(group, topics, listener=listener))
        if held is None:
            held = len(self.reader(*topics).partitions())
        early: list[port.Record] = []

        def joined() -> bool:
            early.extend(consumer.poll(timeout=0.1))
            return len(consumer.assignment()) >= held

        until(joined)
        for partition in {record.partition for record in early}:
            first = min(record.offset for record in early if record.partition == partition)
            consumer.seek(partition, first)
        return consumer

    def reader(self, *topics: str) -> port.Reader:
        """Open a reader."""
        return self.closing(self.log.reader(topics))

    def actor(self) -> Remote:
        """Start an actor."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.contracts.log.actor", self.bus],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        )
        remote = Remote(process)
        self._stack.callback(remote.kill)
        return remote

    def produce(self, topic: Topic, *values: str | None, key: str | None = None) -> None:
        """Commit records in one transaction under an id of its own."""
        with contextlib.closing(self.log.producer(an_id("producer"))) as producer:
            send(producer, topic, *values, key=key)

    def settle(self, topic: Topic, *, seconds: float = 2.0) -> None:
        """Wait until no decided transaction's records are still invisible; open ones stay so."""
        admin = getattr(self.log, "_admin", None)
        if admin is None:
            return
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        wanted = dict.fromkeys(partitions, OffsetSpec.LATEST)

        def ends(level: IsolationLevel) -> dict[TopicPartition, int]:
            found = admin.list_partition_offsets(wanted, isolation_level=level)
            return {each: end.offset for each, end in found.items()}

        deadline = time.monotonic() + seconds
        while ends(IsolationLevel.READ_COMMITTED) != ends(IsolationLevel.READ_UNCOMMITTED):
            if time.monotonic() > deadline:
                return

    def values(self, topic: Topic) -> list[str | None]:
        """Return the values of all committed records, partition by partition."""
        self.settle(topic)
        return self.visible(topic)

    def visible(self, topic: Topic) -> list[str | None]:
        """Return the values that can be read at this moment."""
        with contextlib.closing(self.log.reader([topic.name])) as reader:
            records = sorted(
                port.read_to_end(reader), key=lambda record: (record.partition, record.offset)
            )
        return [text(record) for record in records]

    def close(self) -> None:
        """Close all that was opened."""
        self._stack.close()


def send(
    producer: port.Producer, topic: Topic, *values: str | None, key: str | None = None
) -> None:
    """Commit records to partition 0 in one transaction."""
    with producer.transaction() as transaction:
        for value in values:
            transaction.send(a_record(topic, value, key=key))


def a_record(topic: Topic, value: str | None, *, key: str | None = None) -> port.Outgoing:
    """Return a record for partition 0."""
    return port.Outgoing(
        topic=topic.name,
        value=None if value is None else value.encode(),
        key=None if key is None else key.encode(),
        partition=0,
    )


def text(record: port.Record) -> str | None:
    """Return a record's value as text."""
    return None if record.value is None else record.value.decode()


def texts(records: Iterable[port.Record]) -> list[str | None]:
    """Return records' values as text."""
    return [text(record) for record in records]


def take(consumer: port.Consumer | port.Reader, count: int) -> list[port.Record]:
    """Poll until `count` records came."""
    records: list[port.Record] = []

    def more() -> bool:
        records.extend(consumer.poll(timeout=0.5))
        return len(records) >= count

    until(more)
    return records


@dataclass(slots=True)
class Heard:
    """A rebalance listener that writes down what it hears."""

    events: list[tuple[str, Sequence[port.Partition]]] = field(default_factory=list)

    def on_revoked(self, partitions: frozenset[port.Partition]) -> None:
        self.events.append(("revoked", sorted(partitions)))

    def on_assigned(self, partitions: frozenset[port.Partition]) -> None:
        self.events.append(("assigned", sorted(partitions)))
