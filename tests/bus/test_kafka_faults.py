"""A broker that hangs in the middle of things: bounded waits, and nothing half done."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from kafka import errors
from kafka.future import Future

from bus import kafka, kafka_connection, kafka_producing, port
from tests.contracts.log.harness import Harness, a_record, an_id, send, take, texts
from tests.parts import cache, demand
from tests.parts import kafka as kafka_part
from tests.parts.kafka import Broker
from tests.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that nobody else uses."""
    try:
        with kafka_part.running(tmp_path_factory.mktemp("faults") / "kafka") as running:
            yield running
    except cache.Missing as missing:
        demand.require("Apache Kafka", str(missing))


def test_a_commit_without_an_answer_is_bounded_and_resolved(broker: Broker) -> None:
    """A hanging broker gives Unavailable in time; what of it counts is told by opening anew."""
    harness = Harness("kafka", broker.url)
    source, target = harness.topic(), harness.topic()
    harness.produce(source, "a")
    identity, group = an_id("producer"), an_id("group")
    consumer, producer = harness.consumer(group, source.name), harness.producer(identity)
    send(producer, target, "before")
    records = take(consumer, 1)

    broker.freeze()
    started = time.monotonic()
    with pytest.raises(port.Unavailable):
        copy(producer, a_record(target, "in doubt"), records, consumer.membership())
    assert time.monotonic() - started < kafka_producing.WAIT_SECONDS + 5
    with pytest.raises(port.Unavailable), producer.transaction():
        pass
    broker.freeze()

    producer.close()
    again = until(lambda: opened(harness, identity))
    lags = until(lambda: harness.log.lag(group, [source.name]))
    done = lags[0].committed is not None
    assert harness.values(target) == (["before", "in doubt"] if done else ["before"])
    send(again, target, "after")
    assert harness.values(target)[-1] == "after"
    harness.close()


def copy(
    producer: port.Producer,
    record: port.Outgoing,
    records: Sequence[port.Record],
    membership: port.Membership,
) -> None:
    """Produce a record and commit the offsets of what was consumed."""
    with producer.transaction() as transaction:
        transaction.send(record)
        transaction.commit_offsets(port.offsets_after(records), membership)


def opened(harness: Harness, identity: str) -> port.Producer | None:
    """Open a producer, or return None while the log is away."""
    try:
        return harness.producer(identity)
    except port.Unavailable:
        return None


def test_what_cannot_be_opened_leaves_nothing_behind(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is tried while the broker hangs, no thread and no socket stay."""
    harness = Harness("kafka", broker.url)
    topic = harness.topic()
    monkeypatch.setattr(kafka_connection, "BOOTSTRAP_MS", 1_000)
    before = threading.active_count(), sockets()
    broker.freeze()
    try:
        for opens in (
            lambda: harness.log.consumer(an_id("group"), [topic.name]),
            lambda: harness.log.reader([topic.name]),
            lambda: harness.log.producer(an_id("producer")),
            lambda: kafka.KafkaLog(harness.log._cluster),
        ):
            with pytest.raises(port.Unavailable):
                opens()
    finally:
        broker.freeze()
    assert (threading.active_count(), sockets()) <= before
    harness.close()


def sockets() -> int:
    """How many sockets this process holds."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder itself was open a moment ago
            found += str(path.readlink()).startswith("socket:")
    return found


def test_a_record_that_got_no_answer_fails_its_transaction(broker: Broker) -> None:
    """The client would commit the rest of a transaction of which a batch's time ran out."""
    harness = Harness("kafka", broker.url)
    topic = harness.topic()
    producer = harness.producer()

    def produce() -> None:
        with producer.transaction() as transaction:
            transaction.send(a_record(topic, "delivered"))
            transaction.sent.append(Future().failure(errors.KafkaTimeoutError("expired")))

    with pytest.raises(port.Unavailable, match="expired"):
        produce()
    harness.produce(topic, "next")
    assert texts(until(lambda: harness.reader(topic.name).poll(timeout=1.0))) == ["next"]
    harness.close()


def test_a_fenced_batch_holds_nobody_up(broker: Broker) -> None:
    """A transaction that fails with Fenced is aborted at once: readers need not wait for it."""
    harness = Harness("kafka", broker.url)
    source, target = harness.topic(), harness.topic()
    harness.produce(source, "a")
    group = an_id("group")
    consumer, producer = harness.consumer(group, source.name), harness.producer()
    records = take(consumer, 1)
    membership = consumer.membership()
    consumer.close()
    with pytest.raises(port.Fenced):
        copy(producer, a_record(target, "never"), records, membership)
    harness.produce(target, "next")
    started = time.monotonic()
    assert texts(take(harness.reader(target.name), 1)) == ["next"]
    assert time.monotonic() - started < kafka_producing.TRANSACTION_MS / 2000
    harness.close()


def test_the_client_never_recovers_by_itself(broker: Broker) -> None:
    """A stale epoch is final: the client's own way out would fence the rightful owner."""
    harness = Harness("kafka", broker.url)
    producer = harness.producer()
    assert not producer._manager._supports_epoch_bump()
    harness.close()


def test_a_consumer_knows_its_topics_when_it_joins(broker: Broker) -> None:
    """A group's leader hands out all partitions at its first go, however often it is tried."""
    harness = Harness("kafka", broker.url)
    topic = harness.topic(partitions=3)
    for _ in range(10):
        consumer = harness.log.consumer(an_id("group"), [topic.name])
        assert consumer._reading.client._cluster.partitions_for_topic(topic.name) == {0, 1, 2}
        consumer.close()
    harness.close()
