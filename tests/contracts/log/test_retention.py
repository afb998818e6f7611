"""What is deleted when, and that offsets are never used twice."""

import contextlib
import time

import pytest

from bus import port
from schemas.topics import Cleanup, Topic
from tests.contracts.log.harness import Harness, a_topic, an_id, send, texts
from tests.waiting import until

SHORT_MS = 100


def nudge(harness: Harness, producer: port.Producer, topic: Topic) -> None:
    """Produce something: it is producing that has a log look for what may go."""
    send(producer, topic, "nudge", key="nudge")
    harness.reader(topic.name).poll(timeout=0.2)


def forget(harness: Harness, topic: Topic, *, before: int) -> int:
    """Wait until the records below `before` were deleted; return the first offset."""
    partition = port.Partition(topic.name, 0)
    producer, reader = harness.producer(), harness.reader(topic.name)

    def gone() -> int:
        nudge(harness, producer, topic)
        first = reader.beginning()[partition]
        return first if first >= before else 0

    return int(until(gone))


@pytest.mark.slow
def test_old_records_go(harness: Harness) -> None:
    """Records older than the topic's retention are deleted; younger ones stay."""
    topic = harness.topic(retention_ms=SHORT_MS)
    kept = harness.topic()
    harness.produce(topic, "old")
    harness.produce(kept, "old")
    forget(harness, topic, before=1)
    assert "old" not in harness.values(topic)
    assert harness.values(kept) == ["old"]


@pytest.mark.slow
def test_offsets_that_went_are_told(harness: Harness) -> None:
    """A consumer whose offset was deleted hears which, and goes on at the first that exists."""
    topic = harness.topic(retention_ms=SHORT_MS)
    partition = port.Partition(topic.name, 0)
    group = an_id("group")
    consumer = harness.consumer(group, topic.name)
    second = consumer.position(partition) + 1
    harness.produce(topic, "a", "b", "c")
    # Reading them first would be a race with their deletion.
    consumer.commit({partition: second})
    consumer.close()
    forget(harness, topic, before=3)

    late = harness.closing(harness.log.consumer(group, [topic.name]))
    with pytest.raises(port.OffsetOutOfRange) as caught:
        until(lambda: late.poll(timeout=1.0))
    ((where, (wanted, first)),) = caught.value.missing.items()
    assert (where, wanted) == (partition, second)
    assert first >= 3
    assert late.position(partition) == first
    harness.produce(topic, "d")

    def goes_on() -> bool:
        with contextlib.suppress(port.OffsetOutOfRange):
            return "d" in texts(late.poll(timeout=1.0))
        harness.produce(topic, "d")
        return False

    until(goes_on)


@pytest.mark.slow
def test_a_reader_passes_over_what_went(harness: Harness) -> None:
    """A reader that stands where nothing is any more reads on at the beginning."""
    topic = harness.topic(retention_ms=SHORT_MS)
    reader = harness.reader(topic.name)
    harness.produce(topic, "a", "b")
    first = forget(harness, topic, before=2)
    reader.seek(port.Partition(topic.name, 0), 0)
    records = list(port.read_to_end(reader))
    assert all(record.offset >= first for record in records)


@pytest.mark.slow
def test_offsets_are_never_used_again(harness: Harness) -> None:
    """Offsets go on rising after everything was deleted, over other connections too."""
    topic = harness.topic(retention_ms=SHORT_MS)
    harness.produce(topic, "a", "b")
    first = forget(harness, topic, before=3)
    other = harness.open()
    producer = harness.closing(other.producer(an_id("producer")))
    end = harness.reader(topic.name).end()[port.Partition(topic.name, 0)]
    send(producer, topic, "later")
    reader = harness.reader(topic.name)
    until(
        lambda: (
            (got := reader.poll(timeout=1.0))
            and got[-1].value == b"later"
            and got[-1].offset >= end
        )
    )
    assert end >= first


@pytest.mark.slow
def test_compaction_keeps_the_newest_of_each_key(harness: Harness) -> None:
    """Superseded records go, a key's newest stays, and a tombstone goes in the end as well."""
    topic = harness.topic(cleanup=Cleanup.COMPACT, retention_ms=SHORT_MS)
    harness.produce(topic, "old", key="a")
    harness.produce(topic, "only", key="b")
    harness.produce(topic, "gone", key="c")
    harness.produce(topic, "new", key="a")
    harness.produce(topic, None, key="c")
    producer = harness.producer()

    def compacted() -> bool:
        nudge(harness, producer, topic)
        left = [value for value in harness.values(topic) if value != "nudge"]
        return left == ["only", "new"]

    until(compacted)
    reader = harness.reader(topic.name)
    offsets = {record.value: record.offset for record in port.read_to_end(reader)}
    assert offsets[b"only"] == (1 if harness.name == "embedded" else 2)


def test_superseded_records_stay_for_their_time(harness: Harness) -> None:
    """Within the topic's time a late reader sees every version and every tombstone."""
    topic = harness.topic(cleanup=Cleanup.COMPACT)
    harness.produce(topic, "old", key="a")
    harness.produce(topic, None, key="a")
    harness.produce(topic, "new", key="a")
    started = time.monotonic()
    while time.monotonic() - started < 1.0:
        nudge(harness, harness.producer(), topic)
        assert harness.values(topic)[:3] == ["old", None, "new"]


def test_a_compacted_topic_needs_keys(harness: Harness) -> None:
    """A record without a key is refused by a compacted topic, with its name."""
    topic = harness.topic(cleanup=Cleanup.COMPACT)
    with (
        pytest.raises(port.Misconfigured, match=topic.name),
        harness.producer().transaction() as transaction,
    ):
        transaction.send(port.Outgoing(topic=topic.name, value=b""))


def test_ensuring_twice_changes_nothing(harness: Harness) -> None:
    """Making sure of a topic again, from several connections, keeps what is in it."""
    topic = harness.topic()
    harness.produce(topic, "a")
    harness.open().ensure([topic])
    assert harness.values(topic) == ["a"]


def test_a_topic_of_the_wrong_kind_is_refused(harness: Harness) -> None:
    """A topic that is compacted and must not be, or the reverse, is named with the setting."""
    topic = harness.topic()
    other = a_topic(topic.name, cleanup=Cleanup.COMPACT)
    with pytest.raises(port.Misconfigured, match=rf"{topic.name}.*cleanup.*delete.*compact"):
        harness.log.ensure([other])
