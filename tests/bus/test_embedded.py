"""What only the embedded log promises: leases by an injected clock, bounded tidying, its file."""

import itertools
import resource
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from bus import embedded, port
from runtime.clock import Clock
from schemas.topics import Cleanup, Topic
from tests.contracts.log.harness import Heard, a_record, a_topic, send, texts

HOUR_MS = 3_600_000


@dataclass
class Hand:
    """A clock's hand that a test moves."""

    seconds: float = 1_700_000_000.0

    def clock(self) -> Clock:
        return Clock(now=lambda: self.seconds)


@pytest.fixture
def hand() -> Hand:
    return Hand()


def a_log(tmp_path: Path, hand: Hand, **settings: object) -> embedded.EmbeddedLog:
    """Open a log with a lease of ten seconds that always looks for what may go."""
    return embedded.EmbeddedLog(
        tmp_path / "log.db", time=hand.clock(), retention_seconds=0.0, **settings
    )


def furnished(log: embedded.EmbeddedLog, **settings: object) -> Topic:
    """Make a topic in a log."""
    topic = a_topic(**settings)
    log.ensure([topic])
    return topic


def values(log: embedded.EmbeddedLog, topic: Topic) -> list[str | None]:
    """Return the values of all records."""
    reader = log.reader([topic.name])
    try:
        return texts(port.read_to_end(reader))
    finally:
        reader.close()


def test_a_lease_is_taken_over_when_it_expires(tmp_path: Path, hand: Hand) -> None:
    """A standby gets the partition only after the lease's time, and the late owner is told."""
    log = a_log(tmp_path, hand)
    topic = furnished(log)
    heard = Heard()
    owner = log.consumer("g", [topic.name], listener=heard)
    standby = log.consumer("g", [topic.name])
    owner.poll(timeout=0)
    hand.seconds += 9.9
    standby.poll(timeout=0)
    assert (len(owner.assignment()), len(standby.assignment())) == (1, 0)
    hand.seconds += 0.2
    standby.poll(timeout=0)
    assert standby.assignment() == {port.Partition(topic.name, 0)}
    with pytest.raises(port.Fenced):
        owner.commit({port.Partition(topic.name, 0): 0})
    owner.poll(timeout=0)
    assert not owner.assignment()
    assert [event for event, _ in heard.events] == ["assigned", "revoked"]
    for part in (owner, standby, log):
        part.close()


def test_polling_renews_the_lease(tmp_path: Path, hand: Hand) -> None:
    """An owner that polls keeps its lease for ever; committing renews it as well."""
    log = a_log(tmp_path, hand)
    topic = furnished(log)
    owner, standby = log.consumer("g", [topic.name]), log.consumer("g", [topic.name])
    producer = log.producer("p")
    owner.poll(timeout=0)
    for turn in range(10):
        hand.seconds += 9
        if turn % 2:
            owner.poll(timeout=0)
        else:
            with producer.transaction() as transaction:
                transaction.commit_offsets({port.Partition(topic.name, 0): 0}, owner.membership())
        standby.poll(timeout=0)
        assert not standby.assignment()
    for part in (owner, standby, producer, log):
        part.close()


def test_an_expired_lease_that_nobody_took_still_commits(tmp_path: Path, hand: Hand) -> None:
    """Only a takeover fences: a slow owner without competition loses nothing."""
    log = a_log(tmp_path, hand)
    topic = furnished(log)
    owner = log.consumer("g", [topic.name])
    owner.poll(timeout=0)
    hand.seconds += 3600
    owner.commit({port.Partition(topic.name, 0): 0})
    owner.poll(timeout=0)
    assert owner.assignment()
    owner.close()
    log.close()


def test_retention_goes_by_the_record_time(tmp_path: Path, hand: Hand) -> None:
    """Exactly the records older than the retention go, whenever something is produced."""
    log = a_log(tmp_path, hand)
    topic = furnished(log, retention_ms=HOUR_MS)
    producer = log.producer("p")
    for minute in (0, 30, 59):
        hand.seconds = 1_700_000_000 + minute * 60
        send(producer, topic, str(minute))
    hand.seconds = 1_700_000_000 + 3601
    send(producer, topic, "60")
    assert values(log, topic) == ["30", "59", "60"]
    producer.close()
    log.close()


def test_everything_gone_still_counts_on(tmp_path: Path, hand: Hand) -> None:
    """A topic emptied by retention goes on with the next offset, also after opening it anew."""
    log = a_log(tmp_path, hand)
    topic, other = furnished(log, retention_ms=HOUR_MS), furnished(log)
    producer = log.producer("p")
    send(producer, topic, "a", "b", "c")
    hand.seconds += 2 * 3600
    send(producer, other, "tidy")
    reader = log.reader([topic.name])
    partition = port.Partition(topic.name, 0)
    assert (reader.beginning(), reader.end()) == ({partition: 3}, {partition: 3})
    for part in (reader, producer, log):
        part.close()
    again = a_log(tmp_path, hand)
    producer, reader = again.producer("p"), again.reader([topic.name])
    send(producer, topic, "d")
    (record,) = reader.poll(timeout=1)
    assert record.offset == 3
    for part in (reader, producer, again):
        part.close()


def test_tidying_is_bounded_and_goes_on(tmp_path: Path, hand: Hand) -> None:
    """One commit deletes at most 500 records a topic, and the following ones the rest."""
    log = a_log(tmp_path, hand)
    topic, other = furnished(log, retention_ms=HOUR_MS), furnished(log)
    producer = log.producer("p")
    send(producer, topic, *map(str, range(1200)))
    hand.seconds += 2 * 3600
    left = []
    for _ in range(3):
        send(producer, other, "tidy")
        left.append(len(values(log, topic)))
    assert left == [700, 200, 0]
    producer.close()
    log.close()


def test_tidying_waits_for_its_time(tmp_path: Path, hand: Hand) -> None:
    """Between two looks nothing is deleted, so that producing stays cheap."""
    log = embedded.EmbeddedLog(tmp_path / "log.db", time=hand.clock(), retention_seconds=7200)
    topic = furnished(log, retention_ms=HOUR_MS)
    producer = log.producer("p")
    send(producer, topic, "a")
    hand.seconds += 2 * 3600 - 1
    send(producer, topic, "b")
    assert values(log, topic) == ["a", "b"]
    hand.seconds += 1
    send(producer, topic, "c")
    assert values(log, topic) == ["b", "c"]
    producer.close()
    log.close()


def test_compaction_goes_by_the_time_of_superseding(tmp_path: Path, hand: Hand) -> None:
    """A record stays for the topic's time after the one that replaced it; so do tombstones."""
    log = a_log(tmp_path, hand)
    topic = furnished(log, cleanup=Cleanup.COMPACT, retention_ms=HOUR_MS)
    producer = log.producer("p")
    send(producer, topic, "a1", key="a")
    send(producer, topic, "b1", key="b")
    hand.seconds += 24 * 3600
    send(producer, topic, "a2", None, key="a")
    hand.seconds += 3600
    send(producer, topic, "b2", key="b")
    assert values(log, topic) == ["a1", "b1", "a2", None, "b2"]
    hand.seconds += 1
    send(producer, topic, "c1", key="c")
    assert values(log, topic) == ["b1", "b2", "c1"]
    send(producer, topic, "a3", key="a")
    hand.seconds += 3601
    send(producer, topic, "c2", key="c")
    assert values(log, topic) == ["b2", "c1", "a3", "c2"]
    producer.close()
    log.close()


def test_an_end_that_was_compacted_away_is_reached(tmp_path: Path, hand: Hand) -> None:
    """Reading to the end stops although the last offsets hold nothing any more."""
    log = a_log(tmp_path, hand)
    topic = furnished(log, cleanup=Cleanup.COMPACT, retention_ms=HOUR_MS)
    other = furnished(log)
    producer = log.producer("p")
    send(producer, topic, "a", key="a")
    send(producer, topic, None, key="a")
    hand.seconds += 7200
    send(producer, other, "tidy")
    assert values(log, topic) == []
    producer.close()
    log.close()


def test_newer_definitions_take_hold(tmp_path: Path, hand: Hand) -> None:
    """A changed retention or size limit of an existing topic is taken over."""
    log = a_log(tmp_path, hand)
    topic = furnished(log, max_record_bytes=10)
    log.ensure([a_topic(topic.name, max_record_bytes=100)])
    producer = log.producer("p")
    send(producer, topic, "x" * 100)
    assert values(log, topic) == ["x" * 100]
    producer.close()
    log.close()


def test_one_poll_returns_a_bounded_number_of_bytes(tmp_path: Path, hand: Hand) -> None:
    """Large records come a few at a time, so that they do not fill a process."""
    log = a_log(tmp_path, hand)
    topic = furnished(log, max_record_bytes=4 * 1024 * 1024)
    producer = log.producer("p")
    for _ in range(6):
        send(producer, topic, "x" * 3 * 1024 * 1024)
    reader = log.reader([topic.name])
    assert [len(reader.poll(timeout=0)) for _ in range(3)] == [3, 3, 0]
    for part in (reader, producer, log):
        part.close()


def test_a_busy_topic_does_not_starve_another(tmp_path: Path, hand: Hand) -> None:
    """Each topic of a consumer gets its turn, however much the others have."""
    log = a_log(tmp_path, hand)
    busy, quiet = furnished(log), furnished(log)
    producer = log.producer("p")
    send(producer, busy, *map(str, range(50)))
    send(producer, quiet, "quiet")
    consumer = log.consumer("g", [busy.name, quiet.name])
    seen = list(
        itertools.chain.from_iterable(
            texts(consumer.poll(timeout=0, max_records=5)) for _ in range(2)
        )
    )
    assert "quiet" in seen
    for part in (consumer, producer, log):
        part.close()


def test_waiting_costs_next_to_nothing(tmp_path: Path, hand: Hand) -> None:
    """An idle poll spends a few percent of a core at the most."""
    log = a_log(tmp_path, hand)
    consumer = log.consumer("g", [furnished(log).name])
    consumer.poll(timeout=0)
    before = time.thread_time()
    consumer.poll(timeout=1.0)
    assert time.thread_time() - before < 0.1
    consumer.close()
    log.close()


def test_what_others_commit_is_seen_within_moments(tmp_path: Path) -> None:
    """A waiting reader wakes long before it would look by itself."""
    import threading

    log = embedded.EmbeddedLog(tmp_path / "log.db")
    topic = furnished(log)
    reader, producer = log.reader([topic.name]), log.producer("p")
    committed: list[float] = []

    def commit() -> None:
        send(producer, topic, "a")
        committed.append(time.monotonic())

    waits = []
    for _ in range(5):
        thread = threading.Timer(0.1, commit)
        thread.start()
        assert reader.poll(timeout=5)
        seen = time.monotonic()
        thread.join()
        waits.append(seen - committed[-1])
    assert sorted(waits)[2] < 0.1
    for part in (reader, producer, log):
        part.close()


def test_the_file_does_not_grow_for_ever(tmp_path: Path, hand: Hand) -> None:
    """Room that retention freed is used again."""
    log = a_log(tmp_path, hand)
    topic = furnished(log, retention_ms=1000, max_record_bytes=200_000)
    producer = log.producer("p")
    for _ in range(100):
        hand.seconds += 1
        send(producer, topic, "x" * 100_000)
    assert (tmp_path / "log.db").stat().st_size < 5_000_000
    producer.close()
    log.close()


def test_closing_twice_is_fine(tmp_path: Path, hand: Hand) -> None:
    """Everything can be closed again, from another thread too."""
    import threading

    log = a_log(tmp_path, hand)
    topic = furnished(log)
    parts = [log.consumer("g", [topic.name]), log.reader([topic.name]), log.producer("p"), log]
    for part in parts:
        for _ in range(2):
            thread = threading.Thread(target=part.close)
            thread.start()
            thread.join()


def test_no_file_is_left_open(tmp_path: Path, hand: Hand) -> None:
    """What fails to open lets go of the file again."""
    log = a_log(tmp_path, hand)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for _ in range(min(soft, 200)):
        with pytest.raises(port.Misconfigured):
            log.reader(["none"])
        with pytest.raises(port.Misconfigured):
            log.consumer("g", ["none"])
    log.close()
    assert len(list(Path("/proc/self/fd").iterdir())) < 150 if Path("/proc/self/fd").exists() else 1


def test_a_compacted_topic_turned_into_another_is_refused(tmp_path: Path, hand: Hand) -> None:
    """What was kept for ever must not begin to go."""
    log = a_log(tmp_path, hand)
    topic = furnished(log, cleanup=Cleanup.COMPACT)
    with pytest.raises(port.Misconfigured, match=f"{topic.name}: cleanup is compact"):
        log.ensure([a_topic(topic.name)])
    log.close()


def test_the_file_is_plain_sqlite(tmp_path: Path, hand: Hand) -> None:
    """Anyone may look into the file with SQLite's own tools while it is in use."""
    log = a_log(tmp_path, hand)
    topic = furnished(log)
    producer = log.producer("p")
    with producer.transaction() as transaction:
        transaction.send(a_record(topic, "a"))
    sql = sqlite3.connect(f"file:{tmp_path}/log.db?mode=ro", uri=True)
    assert sql.execute("SELECT value FROM records").fetchall() == [(b"a",)]
    sql.close()
    producer.close()
    log.close()
