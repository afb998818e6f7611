"""The log goes away and comes back: everything committed is there, and everyone goes on."""

import contextlib

import pytest

from bus import port
from tests.contracts.log.harness import (
    Harness,
    a_record,
    an_id,
    send,
    take,
    texts,
)
from tests.waiting import until

pytestmark = pytest.mark.slow


def restart(harness: Harness) -> None:
    """Kill and start the server; without one, have another process use the file meanwhile."""
    if harness.restart is not None:
        harness.restart()
        return
    harness.log.close()
    actor = harness.actor()
    actor.ask("producer", an_id("producer"))
    actor.kill()
    harness.reopen()


def test_everything_committed_survives(restartable: Harness) -> None:
    """Records, offsets and the identity are the same after a restart; offsets go on."""
    harness = restartable
    topic = harness.topic()
    partition = port.Partition(topic.name, 0)
    harness.produce(topic, "a", "b")
    group = an_id("group")
    consumer = harness.consumer(group, topic.name)
    records = take(consumer, 2)
    consumer.commit(port.offsets_after(records[:1]))
    consumer.close()
    identity, end = harness.log.identity(topic.name), harness.reader(topic.name).end()

    restart(harness)

    assert harness.log.identity(topic.name) == identity
    assert harness.values(topic) == ["a", "b"]
    assert texts(take(harness.consumer(group, topic.name), 1)) == ["b"]
    harness.produce(topic, "c")
    after = take(harness.reader(topic.name), 3)
    assert after[2].offset >= end[partition]


def test_members_and_producers_go_on(restartable: Harness) -> None:
    """What was open works on, or says Unavailable and works when opened anew; all counts once."""
    harness = restartable
    source, target = harness.topic(), harness.topic()
    group, identity = an_id("group"), an_id("producer")
    harness.produce(source, "a")
    consumer, reader = harness.consumer(group, source.name), harness.reader(target.name)
    producer = harness.producer(identity)
    records = take(consumer, 1)

    restart(harness)

    def copied() -> bool:
        nonlocal producer, records
        try:
            with producer.transaction() as transaction:
                for record in records:
                    transaction.send(
                        port.Outgoing(topic=target.name, value=record.value, partition=0)
                    )
                transaction.commit_offsets(port.offsets_after(records), consumer.membership())
        except (port.Unavailable, port.Fenced):
            producer.close()
            with contextlib.suppress(port.Unavailable):
                producer = harness.producer(identity)
            records = []
            with contextlib.suppress(port.LogError):
                for partition in consumer.assignment():
                    consumer.seek(partition, consumer.committed(partition) or 0)
        with contextlib.suppress(port.Unavailable):
            records = list(consumer.poll(timeout=0.5))
        with contextlib.suppress(port.Unavailable):
            return len(harness.visible(target)) >= 2
        return False

    def produced() -> bool:
        with contextlib.suppress(port.Unavailable):
            harness.produce(source, "b")
            return True
        return False

    until(produced)
    until(copied)
    assert harness.values(target) == ["a", "b"]
    assert texts(take(reader, 2)) == ["a", "b"]


@pytest.mark.parametrize(
    "restartable", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True
)
def test_an_absent_log_is_unavailable(restartable: Harness) -> None:
    """While the server is away each call says Unavailable within bounds, and then it goes on."""
    harness = restartable
    assert harness.stop is not None
    topic = harness.topic()
    consumer, reader = harness.consumer(an_id("group"), topic.name), harness.reader(topic.name)
    producer = harness.producer()
    harness.stop()
    with pytest.raises(port.Unavailable):
        until(lambda: reader.poll(timeout=1.0), seconds=20)
    with pytest.raises(port.Unavailable):
        until(lambda: consumer.poll(timeout=1.0), seconds=20)
    with pytest.raises(port.Unavailable), producer.transaction() as transaction:
        transaction.send(a_record(topic, "lost"))
    with pytest.raises(port.Unavailable):
        harness.open()
    assert harness.restart is not None
    harness.restart()
    again = harness.producer()
    send(again, topic, "a")
    assert texts(take_patiently(reader)) == ["a"]
    assert texts(take_patiently(consumer)) == ["a"]


def take_patiently(part: port.Consumer | port.Reader) -> list[port.Record]:
    """Poll until records come, also while it says Unavailable."""

    def polled() -> list[port.Record]:
        with contextlib.suppress(port.Unavailable):
            return list(part.poll(timeout=0.5))
        return []

    return list(until(polled))
