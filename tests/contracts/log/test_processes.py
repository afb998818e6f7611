"""Several processes at once, killed at any moment: every record counts once."""

import random
import time

import pytest

from bus import port
from schemas.topics import Topic
from tests.contracts.log.harness import Harness, Remote, an_id
from tests.waiting import until

RECORDS = 400
KILLS = 4


@pytest.mark.slow
def test_killed_copiers_copy_each_record_once(harness: Harness) -> None:
    """Copying goes on exactly where it stopped, whenever kill -9 strikes the copier."""
    source, target = harness.topic(), harness.topic()
    group, identity = an_id("group"), an_id("copier")
    chance = random.Random(7)
    for killed in range(KILLS + 1):
        first = killed * RECORDS
        harness.produce(source, *[str(first + number) for number in range(RECORDS)])
        actor = started(harness, group, source.name, target.name, identity)
        until(lambda: copied(harness, target) > first)  # noqa: B023 - called at once
        if killed < KILLS:
            pause(chance.uniform(0, 0.05))
            actor.kill()
    total = RECORDS * (KILLS + 1)
    until(lambda: copied(harness, target) >= total)
    assert sorted(map(int, filter(None, harness.values(target)))) == list(range(total))


@pytest.mark.slow
def test_two_copiers_and_a_kill_copy_each_record_once(harness: Harness) -> None:
    """Members of one group share the work, and a killed one's share is done once by the others."""
    source, target = harness.topic(partitions=4), harness.topic()
    keys = [str(number) for number in range(RECORDS)]
    with harness.producer().transaction() as transaction:
        for key in keys:
            # Keys spread the records over the partitions.
            transaction.send(port.Outgoing(topic=source.name, key=key.encode(), value=key.encode()))
    group = an_id("group")
    first = started(harness, group, source.name, target.name, an_id("copier"))
    started(harness, group, source.name, target.name, an_id("copier"))
    until(lambda: copied(harness, target) > RECORDS // 10)
    first.kill()
    until(lambda: copied(harness, target) >= RECORDS)
    assert sorted(map(int, filter(None, harness.values(target)))) == list(range(RECORDS))


@pytest.mark.slow
def test_processes_write_at_the_same_time(harness: Harness) -> None:
    """Producers in several processes do not lose each other's records."""
    topics = [harness.topic() for _ in range(3)]
    target = harness.topic()
    for topic in topics:
        harness.produce(topic, *[f"{topic.name}-{number}" for number in range(100)])
    for topic in topics:
        started(harness, an_id("group"), topic.name, target.name, an_id("copier"))
    until(lambda: copied(harness, target) >= 300)
    assert len(set(harness.values(target))) == 300


def test_processes_make_the_same_topics_at_once(harness: Harness) -> None:
    """A fresh log, opened and furnished by several processes at the same moment, is whole."""
    topic = an_id("topic")
    actors = [harness.actor() for _ in range(3)]
    for actor in actors:
        actor.tell("ensure", topic)
    assert [actor.answer() for actor in actors] == [None, None, None]
    assert harness.log.identity(topic)


def copied(harness: Harness, target: Topic) -> int:
    """Return how many records the copy holds now."""
    return len(harness.visible(target))


def started(harness: Harness, group: str, source: str, target: str, identity: str) -> Remote:
    """Start a process that copies until it is killed."""
    actor = harness.actor()
    actor.tell("copy", group, source, target, identity)
    return actor


def pause(seconds: float) -> None:
    """Let a random moment pass, so that the kill strikes anywhere in a transaction."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pass
