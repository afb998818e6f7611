"""Groups: one owner a partition, takeover of the dead, and no commit by those who lost it."""

import signal

import pytest

from bus import port
from tests.contracts.log.harness import (
    Harness,
    Heard,
    Remote,
    a_record,
    an_id,
    take,
    texts,
)
from tests.waiting import until


def test_a_group_begins_at_the_beginning(harness: Harness) -> None:
    """Without a committed offset a consumer reads what was there before it."""
    topic = harness.topic()
    harness.produce(topic, "a", "b")
    consumer = harness.consumer(an_id("group"), topic.name)
    assert texts(take(consumer, 2)) == ["a", "b"]


def test_a_group_goes_on_at_its_offset(harness: Harness) -> None:
    """The next member reads from the committed offset on, which is that of the next record."""
    topic = harness.topic()
    harness.produce(topic, "a", "b", "c")
    group = an_id("group")
    first = harness.consumer(group, topic.name)
    records = take(first, 3)
    first.commit(port.offsets_after(records[:2]))
    first.close()
    assert texts(take(harness.consumer(group, topic.name), 1)) == ["c"]


def test_an_uncommitted_record_is_read_again(harness: Harness) -> None:
    """Reading alone moves no offset, nor does closing."""
    topic = harness.topic()
    harness.produce(topic, "a")
    group = an_id("group")
    first = harness.consumer(group, topic.name)
    take(first, 1)
    first.close()
    second = harness.consumer(group, topic.name)
    assert second.committed(port.Partition(topic.name, 0)) is None
    assert texts(take(second, 1)) == ["a"]


def test_groups_do_not_disturb_each_other(harness: Harness) -> None:
    """Each group has its own offsets and its own members."""
    topic = harness.topic()
    harness.produce(topic, "a")
    one = harness.consumer(an_id("group"), topic.name)
    two = harness.consumer(an_id("group"), topic.name)
    assert texts(take(one, 1)) == texts(take(two, 1)) == ["a"]


def test_a_group_reads_several_topics(harness: Harness) -> None:
    """One consumer gets the records of all its topics, whichever was busy."""
    one, two = harness.topic(), harness.topic()
    consumer = harness.consumer(an_id("group"), one.name, two.name)
    harness.produce(one, "1", "2", "3")
    harness.produce(two, "4")
    assert sorted(filter(None, texts(take(consumer, 4)))) == ["1", "2", "3", "4"]


def test_a_closed_member_frees_its_partitions(harness: Harness) -> None:
    """A standby takes over at once when the owner closes, not after a timeout."""
    topic = harness.topic()
    group = an_id("group")
    owner = harness.consumer(group, topic.name)
    standby = harness.closing(harness.log.consumer(group, [topic.name]))
    owner.close()
    until(lambda: standby.poll(timeout=0.1) or standby.assignment(), seconds=10)
    assert standby.assignment() == {port.Partition(topic.name, 0)}


def test_a_listener_hears_of_its_partitions(harness: Harness) -> None:
    """Assignment is told within poll; the consumer's own closing is no revocation."""
    topic = harness.topic()
    heard = Heard()
    consumer = harness.consumer(an_id("group"), topic.name, listener=heard)
    consumer.close()
    assert heard.events == [("assigned", [port.Partition(topic.name, 0)])]


def test_a_dead_members_work_is_taken_over(harness: Harness) -> None:
    """The partitions of a killed member go to another, at the committed offset."""
    topic = harness.topic()
    harness.produce(topic, "a")
    group = an_id("group")
    actor = harness.actor()
    actor.ask("consumer", group, topic.name)
    until(lambda: actor.ask("poll", 1.0))
    actor.kill()
    assert texts(take(harness.consumer(group, topic.name), 1)) == ["a"]


def test_a_takeover_in_the_middle_of_a_transaction_fences_it(harness: Harness) -> None:
    """A frozen member whose partitions were taken cannot commit: its batch counts once."""
    source, target = harness.topic(), harness.topic()
    harness.produce(source, "a", "b")
    group = an_id("group")
    frozen = harness.actor()
    frozen.ask("consumer", group, source.name)
    frozen.ask("producer", an_id("producer"))
    until(lambda: frozen.ask("poll", 1.0))
    frozen.ask("begin")
    frozen.ask("send", target.name, "by the frozen")
    frozen.signal(signal.SIGSTOP)

    consumer, producer = harness.consumer(group, source.name), harness.producer()
    records = take(consumer, 2)
    with producer.transaction() as transaction:
        transaction.send(a_record(target, "by the next"))
        transaction.commit_offsets(port.offsets_after(records), consumer.membership())

    frozen.signal(signal.SIGCONT)
    with pytest.raises(port.Fenced):
        offsets_and_commit(frozen)
    assert harness.values(target) == ["by the next"]


def offsets_and_commit(actor: Remote) -> None:
    """Add the offsets and commit: an adapter may refuse either."""
    actor.ask("offsets")
    actor.ask("commit")


def test_a_frozen_member_cannot_commit_outside_a_transaction(harness: Harness) -> None:
    """What holds for transactions holds for plain commits."""
    topic = harness.topic()
    harness.produce(topic, "a")
    group = an_id("group")
    consumer = harness.consumer(group, topic.name)
    records = take(consumer, 1)
    membership = consumer.membership()
    consumer.close()
    with pytest.raises(port.Fenced), harness.producer().transaction() as transaction:
        transaction.commit_offsets(port.offsets_after(records), membership)
    after = harness.consumer(group, topic.name)
    assert after.committed(port.Partition(topic.name, 0)) is None


def test_a_member_that_holds_nothing_commits_nothing(harness: Harness) -> None:
    """A standby's membership fences, also in a group that nobody joined."""
    topic = harness.topic()
    harness.produce(topic, "a")
    standby = harness.closing(harness.log.consumer(an_id("group"), [topic.name]))
    offsets = {port.Partition(topic.name, 0): 1}
    with pytest.raises(port.Fenced):
        standby.commit(offsets)
    with pytest.raises(port.Fenced), harness.producer().transaction() as transaction:
        transaction.commit_offsets(offsets, standby.membership())
    with pytest.raises(port.Fenced):
        standby.seek(port.Partition(topic.name, 0), 0)
    assert not standby.assignment()


def test_a_second_member_leaves_the_work_undivided(harness: Harness) -> None:
    """With one partition there is one owner, and one of two polling members reads each record."""
    topic = harness.topic()
    group = an_id("group")
    owner = harness.consumer(group, topic.name)
    actor = harness.actor()
    actor.ask("consumer", group, topic.name)
    seen: list[str | None] = []

    def polled() -> bool:
        # Both poll at once: a member that does not would be given up.
        actor.tell("poll", 0.3)
        seen.extend(texts(owner.poll(timeout=0.3)))
        seen.extend(actor.answer())
        return actor.ask("held") + len(owner.assignment()) == 1

    for value in "abc":
        until(polled)
        harness.produce(topic, value)
    until(lambda: polled() and len(seen) >= 3)
    assert sorted(filter(None, seen)) == ["a", "b", "c"]


def test_paused_partitions_return_nothing(harness: Harness) -> None:
    """A paused partition's records wait until it is resumed; none is lost."""
    one, two = harness.topic(), harness.topic()
    consumer = harness.consumer(an_id("group"), one.name, two.name)
    paused = frozenset({port.Partition(one.name, 0)})
    consumer.pause(paused)
    harness.produce(one, "1")
    harness.produce(two, "2")
    assert texts(take(consumer, 1)) == ["2"]
    assert not consumer.poll(timeout=0.3)
    consumer.resume(paused)
    assert texts(take(consumer, 1)) == ["1"]


def test_seek_and_position(harness: Harness) -> None:
    """A position is the next offset to read; seeking back reads again."""
    topic = harness.topic()
    harness.produce(topic, "a", "b")
    consumer = harness.consumer(an_id("group"), topic.name)
    partition = port.Partition(topic.name, 0)
    records = take(consumer, 2)
    assert consumer.position(partition) > records[1].offset
    consumer.seek(partition, records[1].offset)
    assert consumer.position(partition) == records[1].offset
    assert texts(take(consumer, 1)) == ["b"]


def test_poll_returns_no_more_than_asked(harness: Harness) -> None:
    """`max_records` bounds one poll, and the rest comes with the next ones."""
    topic = harness.topic()
    harness.produce(topic, *"abcde")
    consumer = harness.consumer(an_id("group"), topic.name)
    first = until(lambda: consumer.poll(timeout=1, max_records=2))
    assert texts(first) == ["a", "b"]
    assert texts(take(consumer, 3)) == ["c", "d", "e"]


def test_lag_is_told_by_partition(harness: Harness) -> None:
    """Lag names the committed offset, or None, and the end; also for a group never seen."""
    topic = harness.topic()
    harness.produce(topic, "a", "b")
    group = an_id("group")
    (before,) = harness.log.lag(group, [topic.name])
    assert (before.partition, before.committed) == (port.Partition(topic.name, 0), None)
    assert before.end >= 2
    consumer, producer = harness.consumer(group, topic.name), harness.producer()
    records = take(consumer, 2)
    with producer.transaction() as transaction:
        transaction.commit_offsets(port.offsets_after(records), consumer.membership())
    after = until(lambda: [lag for lag in harness.log.lag(group, [topic.name]) if lag.committed])
    assert [(lag.committed, lag.end) for lag in after] == [(2, before.end)]
