"""Readers: all partitions, from any place, to an end that may hold no record."""

import itertools
import time

import pytest

from bus import port, table
from schemas.topics import Cleanup
from tests.contracts.log.harness import (
    Harness,
    a_record,
    an_id,
    send,
    take,
    texts,
)
from tests.waiting import until


def test_reading_to_the_end_stops_at_a_commit_marker(harness: Harness) -> None:
    """The end of a partition is reached where its last offset is a committed transaction's."""
    topic = harness.topic()
    harness.produce(topic, "a")
    reader = harness.reader(topic.name)
    assert texts(port.read_to_end(reader)) == ["a"]
    assert not list(port.read_to_end(reader))


def test_reading_to_the_end_stops_at_an_abort_marker(harness: Harness) -> None:
    """The end of a partition is reached where all that follows was aborted."""
    topic = harness.topic()
    harness.produce(topic, "a")
    actor = harness.actor()
    identity = an_id("producer")
    actor.ask("producer", identity)
    actor.ask("begin")
    actor.ask("send", topic.name, "never")
    actor.ask("settle")
    actor.kill()
    harness.producer(identity)
    assert texts(port.read_to_end(harness.reader(topic.name))) == ["a"]


def test_reading_an_empty_topic_ends(harness: Harness) -> None:
    """A topic in which nothing ever was has an end too."""
    reader = harness.reader(harness.topic().name)
    assert not list(port.read_to_end(reader))


def test_the_end_is_what_stood_at_the_call(harness: Harness) -> None:
    """A topic that grows while it is read does not keep the reader for ever."""
    topic = harness.topic()
    harness.produce(topic, "a")
    reader = harness.reader(topic.name)
    reading = port.read_to_end(reader)
    read = [next(reading)]
    harness.produce(topic, "b")
    read += list(itertools.islice(reading, 5))
    assert texts(read)[0] == "a"


def test_an_open_transaction_holds_no_reader_up(harness: Harness) -> None:
    """Reading to the end stops before what is not committed yet."""
    topic = harness.topic()
    harness.produce(topic, "a")
    actor = harness.actor()
    actor.ask("producer", an_id("producer"))
    actor.ask("begin")
    actor.ask("send", topic.name, "open")
    actor.ask("settle")
    assert texts(port.read_to_end(harness.reader(topic.name))) == ["a"]
    actor.ask("commit")
    assert harness.values(topic) == ["a", "open"]


def test_a_reader_starts_anywhere(harness: Harness) -> None:
    """Seeking goes to an offset; before the beginning is the beginning."""
    topic = harness.topic()
    harness.produce(topic, "a", "b", "c")
    reader = harness.reader(topic.name)
    partition = port.Partition(topic.name, 0)
    records = take(reader, 3)
    reader.seek(partition, records[1].offset)
    assert texts(take(reader, 2)) == ["b", "c"]
    reader.seek(partition, -5)
    assert texts(take(reader, 3)) == ["a", "b", "c"]
    assert reader.beginning() == {partition: 0}
    assert reader.end() == {partition: reader.position(partition)}


def test_past_the_end_is_the_end(harness: Harness) -> None:
    """A reader sent past the end waits there for what comes next."""
    topic = harness.topic()
    harness.produce(topic, "a")
    reader = harness.reader(topic.name)
    reader.seek(port.Partition(topic.name, 0), 1_000)
    assert not reader.poll(timeout=1.0)
    harness.produce(topic, "b")
    assert texts(take(reader, 1)) == ["b"]


def test_a_reader_starts_at_a_time(harness: Harness) -> None:
    """Reading from the offset for a time begins with the first record at or after it."""
    topic = harness.topic()
    partition = port.Partition(topic.name, 0)
    harness.produce(topic, "before")
    (before,) = take(harness.reader(topic.name), 1)
    until(lambda: time.time() * 1000 > before.timestamp + 1)
    harness.produce(topic, "after")
    reader = harness.reader(topic.name)
    after = take(reader, 2)[1]
    assert reader.at_time(0) == {partition: before.offset}
    assert reader.at_time(before.timestamp) == {partition: before.offset}
    reader.seek(partition, reader.at_time(before.timestamp + 1)[partition])
    assert texts(take(reader, 1)) == ["after"]
    assert reader.at_time(after.timestamp + 60_000) == reader.end()


def test_a_reader_waits_for_what_comes(harness: Harness) -> None:
    """A waiting poll returns soon after a commit of another process, long before its timeout."""
    topic = harness.topic()
    reader = harness.reader(topic.name)
    actor = harness.actor()
    actor.ask("producer", an_id("producer"))
    actor.ask("begin")
    actor.ask("send", topic.name, "a")
    actor.tell("commit")
    started = time.monotonic()
    assert texts(take(reader, 1)) == ["a"]
    assert time.monotonic() - started < 5


def test_a_poll_without_time_does_not_wait(harness: Harness) -> None:
    """A poll of nothing with no timeout returns at once."""
    reader = harness.reader(harness.topic().name)
    started = time.monotonic()
    assert not reader.poll(timeout=0)
    assert time.monotonic() - started < 0.5


def test_keys_find_their_partition(harness: Harness) -> None:
    """Records of one key stand in the partition that `partition_for` names."""
    topic = harness.topic(partitions=4)
    keys = [f"key-{number}".encode() for number in range(20)]
    producer = harness.producer()
    with producer.transaction() as transaction:
        for key in keys:
            transaction.send(port.Outgoing(topic=topic.name, key=key, value=b""))
    for record in take(harness.reader(topic.name), len(keys)):
        assert record.key is not None
        assert record.partition == harness.log.partition_for(topic.name, record.key)


def test_a_reader_reads_all_partitions(harness: Harness) -> None:
    """Records without a key come from whichever partition they went to."""
    topic = harness.topic(partitions=4)
    producer = harness.producer()
    for number in range(8):
        with producer.transaction() as transaction:
            transaction.send(port.Outgoing(topic=topic.name, value=str(number).encode()))
    reader = harness.reader(topic.name)
    assert {text for text in texts(take(reader, 8)) if text} == set("01234567")
    assert reader.partitions() == reader.end().keys()


def test_a_table_keeps_the_newest_of_each_key(harness: Harness) -> None:
    """A table has each key's newest record and forgets keys with a tombstone, then follows."""
    topic = harness.topic(cleanup=Cleanup.COMPACT)
    harness.produce(topic, "old", key="a")
    harness.produce(topic, "gone", key="b")
    harness.produce(topic, "new", key="a")
    harness.produce(topic, None, key="b")
    followed = table.Table(harness.reader(topic.name))
    assert texts(followed.load()) == ["old", "gone", "new", None]
    assert {key: record.value for key, record in followed.rows.items()} == {b"a": b"new"}
    harness.produce(topic, "back", key="b")
    assert texts(until(lambda: followed.follow(1.0))) == ["back"]
    assert followed.rows[b"b"].value == b"back"


def test_an_unknown_topic_is_named(harness: Harness) -> None:
    """Every way to a topic that is not there says so with its name, soon."""
    log, producer = harness.log, harness.producer()
    ways = {
        "reader": lambda: log.reader(["contract.none"]),
        "consumer": lambda: log.consumer(an_id("group"), ["contract.none"]),
        "identity": lambda: log.identity("contract.none"),
        "lag": lambda: log.lag(an_id("group"), ["contract.none"]),
        "partition": lambda: log.partition_for("contract.none", b"k"),
    }
    for way in ways.values():
        with pytest.raises(port.Misconfigured, match=r"contract\.none"):
            way()
    record = port.Outgoing(topic="contract.none", value=b"")
    with (
        pytest.raises(port.Misconfigured, match=r"contract\.none"),
        producer.transaction() as transaction,
    ):
        transaction.send(record)


def test_a_partition_that_is_not_there_is_named(harness: Harness) -> None:
    """A record for a partition that the topic lacks is refused; the rest can be committed."""
    topic = harness.topic()
    producer = harness.producer()
    with producer.transaction() as transaction:
        with pytest.raises(port.Misconfigured, match="partition"):
            transaction.send(port.Outgoing(topic=topic.name, value=b"", partition=9))
        transaction.send(a_record(topic, "fits"))
    send(producer, topic, "next")
    assert harness.values(topic) == ["fits", "next"]


def test_identity_tells_logs_apart(harness: Harness) -> None:
    """A topic's identity is the same over every connection, and says something."""
    topic = harness.topic()
    assert harness.log.identity(topic.name) == harness.open().identity(topic.name) != ""
