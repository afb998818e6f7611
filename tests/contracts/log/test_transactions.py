"""A transaction is records together with offsets: all of it or nothing, whoever dies when."""

import signal
from collections.abc import Callable

import pytest

from bus import port
from tests.contracts.log import harness as builders
from tests.contracts.log.harness import Harness, a_record, an_id, send, take, texts


class Mishap(Exception):
    pass


def fail(*, after: Callable[[], None]) -> None:
    """Do something, then raise Mishap."""
    after()
    raise Mishap


def test_what_is_committed_is_read_in_order(harness: Harness) -> None:
    """Readers get committed records in the order in which they were sent."""
    topic = harness.topic()
    harness.produce(topic, "a", "b")
    harness.produce(topic, "c")
    assert harness.values(topic) == ["a", "b", "c"]


def test_a_record_keeps_its_parts(harness: Harness) -> None:
    """Key, value, headers and partition come back as they were sent, with a time in ms."""
    topic = harness.topic()
    producer = harness.producer()
    headers = (("traceparent", b"00-\xff"), ("twice", b"1"), ("twice", b""))
    with producer.transaction() as transaction:
        transaction.send(
            port.Outgoing(topic=topic.name, key=b"\x00k", value=b"\x00v\xff", headers=headers)
        )
    (record,) = take(harness.reader(topic.name), 1)
    assert (record.key, record.value, record.headers) == (b"\x00k", b"\x00v\xff", headers)
    assert record.partition == port.Partition(topic.name, 0)
    assert 1_600_000_000_000 < record.timestamp < 4_000_000_000_000


def test_an_exception_aborts(harness: Harness) -> None:
    """Nothing of a block that raised is ever read, and the producer goes on."""
    topic = harness.topic()
    producer = harness.producer()
    with pytest.raises(Mishap), producer.transaction() as transaction:
        fail(after=lambda: transaction.send(a_record(topic, "never")))
    send(producer, topic, "then")
    assert harness.values(topic) == ["then"]


def test_nothing_is_read_before_the_commit(harness: Harness) -> None:
    """An open transaction's records are invisible, and visible at once after its commit."""
    topic = harness.topic()
    reader = harness.reader(topic.name)
    actor = harness.actor()
    actor.ask("producer", an_id("producer"))
    actor.ask("begin")
    actor.ask("send", topic.name, "later")
    actor.ask("settle")
    assert not reader.poll(timeout=0.5)
    actor.ask("commit")
    assert texts(take(reader, 1)) == ["later"]


def test_records_and_offsets_commit_together(harness: Harness) -> None:
    """Offsets that a transaction consumed are committed with what it produced."""
    source, target = harness.topic(), harness.topic()
    harness.produce(source, "a", "b")
    group = an_id("group")
    consumer, producer = harness.consumer(group, source.name), harness.producer()
    records = take(consumer, 2)
    with producer.transaction() as transaction:
        transaction.send(a_record(target, "ab"))
        transaction.commit_offsets(port.offsets_after(records), consumer.membership())
    partition = port.Partition(source.name, 0)
    assert consumer.committed(partition) == records[-1].offset + 1
    assert harness.values(target) == ["ab"]


def test_an_aborted_transaction_commits_no_offsets(harness: Harness) -> None:
    """Offsets of a block that raised are not committed, nor by the next transaction."""
    source = harness.topic()
    harness.produce(source, "a", "b")
    consumer, producer = harness.consumer(an_id("group"), source.name), harness.producer()
    records = take(consumer, 2)
    offsets = port.offsets_after(records)
    with pytest.raises(Mishap), producer.transaction() as transaction:
        fail(after=lambda: transaction.commit_offsets(offsets, consumer.membership()))
    send(producer, source, "c")
    assert consumer.committed(port.Partition(source.name, 0)) is None


def test_offsets_alone_make_a_transaction(harness: Harness) -> None:
    """A batch of which nothing came still moves its offsets."""
    source = harness.topic()
    harness.produce(source, "a")
    consumer, producer = harness.consumer(an_id("group"), source.name), harness.producer()
    records = take(consumer, 1)
    with producer.transaction() as transaction:
        transaction.commit_offsets(port.offsets_after(records), consumer.membership())
    assert consumer.committed(port.Partition(source.name, 0)) == records[0].offset + 1


def test_an_empty_transaction_is_fine(harness: Harness) -> None:
    """A block in which nothing happened commits nothing and leaves the producer usable."""
    topic = harness.topic()
    producer = harness.producer()
    with producer.transaction():
        pass
    send(producer, topic, "a")
    assert harness.values(topic) == ["a"]


def test_a_kill_between_produce_and_commit_leaves_nothing(harness: Harness) -> None:
    """Opening a killed producer's id anew resolves what it left; its batch is done once."""
    source, target = harness.topic(), harness.topic()
    harness.produce(source, "a", "b")
    group, identity = an_id("group"), an_id("producer")
    actor = harness.actor()
    actor.ask("consumer", group, source.name)
    actor.ask("producer", identity)
    builders.until(lambda: actor.ask("poll", 1.0))
    actor.ask("begin")
    actor.ask("send", target.name, "by the dead")
    actor.ask("offsets")
    actor.ask("settle")
    actor.kill()

    producer = harness.producer(identity)
    assert harness.values(target) == []
    consumer = harness.consumer(group, source.name)
    records = take(consumer, 2)
    assert texts(records) == ["a", "b"]
    with producer.transaction() as transaction:
        transaction.send(a_record(target, "by the living"))
        transaction.commit_offsets(port.offsets_after(records), consumer.membership())
    assert harness.values(target) == ["by the living"]


def test_an_older_producer_of_the_same_id_is_fenced(harness: Harness) -> None:
    """A zombie's open transaction and every later one of it fail with Fenced."""
    topic = harness.topic()
    identity = an_id("producer")
    old = harness.producer(identity)
    send(old, topic, "old")
    block = old.transaction()
    block.__enter__().send(a_record(topic, "by the zombie"))
    new = harness.producer(identity)
    with pytest.raises(port.Fenced):
        block.__exit__(None, None, None)
    with pytest.raises(port.Fenced), old.transaction() as transaction:
        transaction.send(a_record(topic, "by the zombie again"))
    send(new, topic, "new")
    send(new, topic, "newer")
    assert harness.values(topic) == ["old", "new", "newer"]


def test_a_fenced_producer_does_not_fight(harness: Harness) -> None:
    """A zombie that only begins to produce after it was replaced never fences the new owner."""
    topic = harness.topic()
    identity = an_id("producer")
    old = harness.producer(identity)
    new = harness.producer(identity)
    with pytest.raises(port.Fenced), old.transaction() as transaction:
        transaction.send(a_record(topic, "by the zombie"))
    old.close()
    send(new, topic, "new")
    assert harness.values(topic) == ["new"]


def test_a_stopped_producer_is_fenced_when_it_wakes(harness: Harness) -> None:
    """A process frozen in the middle of a transaction cannot commit it once it was replaced."""
    topic = harness.topic()
    identity = an_id("producer")
    actor = harness.actor()
    actor.ask("producer", identity)
    actor.ask("begin")
    actor.ask("send", topic.name, "frozen")
    actor.ask("settle")
    actor.signal(signal.SIGSTOP)
    send(harness.producer(identity), topic, "new")
    actor.signal(signal.SIGCONT)
    with pytest.raises(port.Fenced):
        actor.ask("commit")
    assert harness.values(topic) == ["new"]


def test_different_ids_do_not_fence_each_other(harness: Harness) -> None:
    """Two producers of two ids work side by side."""
    topic = harness.topic()
    one, two = harness.producer(), harness.producer()
    send(one, topic, "1")
    send(two, topic, "2")
    send(one, topic, "3")
    assert harness.values(topic) == ["1", "2", "3"]


def test_a_record_over_the_limit_is_refused(harness: Harness) -> None:
    """Key, value and headers together may reach the topic's limit and not pass it."""
    topic = harness.topic(max_record_bytes=1000)
    producer = harness.producer()

    def sized(value: int) -> port.Outgoing:
        return port.Outgoing(
            topic=topic.name, key=b"k" * 10, value=b"v" * value, headers=(("h", b"12345"),)
        )

    with pytest.raises(port.RecordTooLarge), producer.transaction() as transaction:
        transaction.send(sized(985))
    with producer.transaction() as transaction:
        transaction.send(sized(984))
    (value,) = harness.values(topic)
    assert value == "v" * 984


def test_a_large_record_that_does_not_compress_fits(harness: Harness) -> None:
    """A record of exactly the largest size goes through also where compression gains nothing."""
    import random

    topic = harness.topic(max_record_bytes=1024 * 1024)
    value = random.Random(1).randbytes(1024 * 1024)
    producer = harness.producer()
    with producer.transaction() as transaction:
        transaction.send(port.Outgoing(topic=topic.name, value=value))
    (record,) = take(harness.reader(topic.name), 1)
    assert record.value == value


def test_too_large_can_be_left_out_of_a_transaction(harness: Harness) -> None:
    """Whoever catches RecordTooLarge within the block commits the rest of it."""
    topic = harness.topic(max_record_bytes=1000)
    producer = harness.producer()
    with producer.transaction() as transaction:
        transaction.send(a_record(topic, "fits"))
        with pytest.raises(port.RecordTooLarge):
            transaction.send(a_record(topic, "x" * 2000))
    assert harness.values(topic) == ["fits"]
