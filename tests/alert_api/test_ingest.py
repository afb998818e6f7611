"""Matches onto alerts, each counted once."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from alert_api import ingest, tables
from alert_api.database import Database, Unreachable
from alert_api.repository import arrivals, offsets
from bus import port
from runtime.errors import UserError
from schemas import messages, topics
from schemas.messages import AlertStatus
from tests.alert_api import builders
from tests.alert_api.builders import START, Stage, a_match, a_notice, progress, put


def test_a_match_becomes_a_triggered_alert(stage: Stage) -> None:
    """What the match says is what the alert says."""
    put(stage.log, a_match(count=3))
    assert stage.read() == 1
    (alert,) = stage.alerts()
    assert (alert.status, alert.events, alert.fingerprint) == ("triggered", 3, "f1")
    assert alert.title == "shop/db: shop/web → shop/db not allowed by any rule"
    assert alert.policy_namespace == "shop"


def test_matches_of_one_fingerprint_add_up_in_and_across_batches(stage: Stage) -> None:
    """Counts, times, minutes, ports, peers and samples are those of all matches together."""
    at = builders.minutes(0, 20, 70)
    put(stage.log, a_match(at=at[0], count=2), a_match(at=at[1], count=3))
    stage.read()
    put(stage.log, a_match(at=at[2], count=5))
    stage.read()
    (alert,) = stage.alerts()
    assert alert.events == 10
    assert (alert.first_seen, alert.last_seen) == (stage.time.now, stage.time.now + 70_000_000)
    counted = [row.events for row in stage.rows("SELECT events FROM minutes ORDER BY minute")]
    assert counted == [5, 5]
    (tally,) = stage.rows("SELECT ports, peers, samples FROM tallies")
    assert tally.ports == '[["TCP/5432", 10, 0]]'
    assert tally.samples == 3


def test_the_last_ten_samples_stay(stage: Stage) -> None:
    """However many come, within a batch and across batches."""
    for batch in range(3):
        put(
            stage.log,
            *(a_match(at=START + timedelta(seconds=batch * 10 + n)) for n in range(7)),
        )
        stage.read()
    rows = stage.rows("SELECT number, flow FROM samples ORDER BY number")
    assert [row.number for row in rows] == list(range(11, 21))


def test_a_resolved_alert_is_followed_by_a_new_one(stage: Stage) -> None:
    """The new one names the last before it."""
    put(stage.log, a_match())
    stage.read()
    stage.set_status(stage.alerts()[0], AlertStatus.RESOLVED)
    stage.time.move(1)
    put(stage.log, a_match())
    stage.read()
    old, new = stage.alerts()
    assert (old.status, new.status) == ("resolved", "triggered")
    assert new.previous == old.id
    assert (old.events, new.events) == (1, 1)


@pytest.mark.parametrize("status", [AlertStatus.ACKNOWLEDGED, AlertStatus.IGNORED])
def test_an_open_alert_counts_on_and_keeps_its_status(stage: Stage, status: AlertStatus) -> None:
    """Ignored counts as open, as in GitLab."""
    put(stage.log, a_match())
    stage.read()
    stage.set_status(stage.alerts()[0], status)
    put(stage.log, a_match())
    stage.read()
    (alert,) = stage.alerts()
    assert (alert.status, alert.events) == (status.value, 2)


def test_an_alert_is_pending_until_its_threshold_is_met(stage: Stage) -> None:
    """Across batches and a minute's end; then it triggers, and what came before counts."""
    threshold = {"count": 5, "seconds": 60}
    put(stage.log, a_match(at=START + timedelta(seconds=58), count=3, threshold=threshold))
    stage.read()
    (alert,) = stage.alerts()
    assert (alert.status, alert.version, alert.triggered_at) == ("pending", 0, None)
    assert stage.rows("SELECT * FROM deliveries") == []
    put(stage.log, a_match(at=START + timedelta(seconds=62), count=2, threshold=threshold))
    stage.read()
    (alert,) = stage.alerts()
    assert (alert.status, alert.events, alert.revision) == ("triggered", 5, 2)
    assert len(stage.rows("SELECT * FROM deliveries")) == 1


def test_too_few_flows_in_the_window_stay_pending(stage: Stage) -> None:
    """Five flows in as many minutes are not five in one."""
    threshold = {"count": 5, "seconds": 60}
    for minute in range(5):
        put(stage.log, a_match(at=START + timedelta(minutes=2 * minute), threshold=threshold))
        stage.read()
    assert [alert.status for alert in stage.alerts()] == ["pending"]


def test_the_newest_match_sets_severity_and_words(stage: Stage) -> None:
    """A policy's owner may change its annotations under an open alert."""
    put(stage.log, a_match())
    stage.read()
    put(stage.log, a_match(severity="critical", sentence="new words", runbook="https://r"))
    stage.read()
    (alert,) = stage.alerts()
    assert (alert.severity, alert.runbook) == ("critical", "https://r")
    assert [row.sentence for row in stage.rows("SELECT sentence FROM explanations")] == [
        "new words"
    ]


GARBAGE = {
    b"\xff\x00": "not JSON",
    b"[1]": "unknown event type",
    b'{"type": "picket.match.v1"}': "not a valid picket.match.v1",
    b'{"type": "picket.progress.v1", "data": 3}': "not a valid picket.progress.v1",
    b'{"type": "something.else.v1"}': "unknown event type",
}


@pytest.mark.parametrize("value", GARBAGE)
def test_garbage_goes_to_the_dead_letters_and_the_rest_goes_on(stage: Stage, value: bytes) -> None:
    """It is counted as a notice, and its letter has the coordinates."""
    put(stage.log, a_match("f1"), value, a_match("f2"))
    stage.read()
    assert [alert.fingerprint for alert in stage.alerts()] == ["f1", "f2"]
    (record,) = builders.topic(stage.log, topics.DEADLETTER.name)
    letter = messages.DeadLetter.model_validate_json(record.value or b"")
    assert (letter.topic, letter.partition, letter.offset) == ("picket.matches", 0, 1)
    (notice,) = stage.rows("SELECT kind, reason, total FROM notices")
    assert (notice.kind, notice.total) == ("dead-letter", 1)
    assert notice.reason == f"alert-api: {GARBAGE[value]}"


UNBOUNDED: dict[str, dict[str, Any]] = {
    "a huge count": {"count": 10**30},
    "a long name": {"fingerprint": "f" * 3000},
    "an empty fingerprint": {"fingerprint": ""},
    "a far future": {"last": START + timedelta(days=400)},
    "time running backwards": {"last": START - timedelta(days=1)},
    "a sample that is no object": {"samples": ["x"]},
    "a huge port count": {"ports": [{"protocol": "TCP", "port": 1, "count": 10**20}]},
}


@pytest.mark.parametrize("given", UNBOUNDED.values(), ids=UNBOUNDED)
def test_no_value_can_stop_the_database(stage: Stage, given: dict[str, Any]) -> None:
    """What a column could not hold is a dead letter, not a batch that fails for ever."""
    put(stage.log, a_match(**given), a_match("f2"))
    stage.read()
    assert [alert.fingerprint for alert in stage.alerts()] == ["f2"]


def test_characters_that_a_database_cannot_hold_are_replaced(stage: Stage) -> None:
    """PostgreSQL has no NUL in text."""
    put(stage.log, a_match(sentence="a\0b", samples=[{"a\0": ["\0"]}]))
    stage.read()
    assert stage.rows("SELECT sentence FROM explanations")[0].sentence == "a\ufffdb"
    assert "\ufffd" in stage.rows("SELECT flow FROM samples")[0].flow


def test_progress_is_kept_a_cluster_and_notices_add_up(stage: Stage) -> None:
    """Counts of notices are exact, whatever the batches."""
    put(
        stage.log,
        progress(flows=5, notices=[a_notice(count=2)]),
        progress(START + timedelta(seconds=9), flows=7, notices=[a_notice(count=3)]),
        progress(partition=1, state="catching-up", flows=1),
    )
    stage.read()
    put(stage.log, progress(START + timedelta(seconds=5), flows=1, notices=[a_notice(node="n")]))
    stage.read()
    rows = stage.rows("SELECT partition, state, flow_time, flows FROM streams ORDER BY partition")
    assert [tuple(row) for row in rows] == [
        (0, "live", stage.time.now + 9_000_000, 13),
        (1, "catching-up", stage.time.now, 1),
    ]
    counts = stage.rows("SELECT node, total FROM notices ORDER BY node")
    assert [tuple(row) for row in counts] == [("", 5), ("n", 1)]


# Crashes and rivals.


@pytest.mark.parametrize("step", ["before", "within", "after"])
def test_a_crash_at_any_step_counts_nothing_twice_and_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before the offsets are locked, after the alerts are written, and after the commit."""
    put(stage.log, *(a_match(f"f{n % 3}") for n in range(30)))
    stage.batch_records = 10
    real_lock, real_move = offsets.lock, offsets.move
    calls = {"lock": 0, "move": 0}

    def lock(*given: Any) -> Any:
        calls["lock"] += 1
        if step == "before" and calls["lock"] == 4:
            raise Unreachable("killed")
        return real_lock(*given)

    def move(*given: Any) -> None:
        real_move(*given)
        calls["move"] += 1
        if step == "within" and calls["move"] == 2:
            raise Unreachable("killed")

    def mirror(*_: Any, **__: Any) -> None:
        if step == "after" and calls["move"] == 2:
            raise Unreachable("killed")

    monkeypatch.setattr(offsets, "lock", lock)
    monkeypatch.setattr(offsets, "move", move)
    monkeypatch.setattr(ingest.Ingest, "_mirror", mirror)
    with pytest.raises(Unreachable):
        stage.read()
    stage.die()
    monkeypatch.undo()
    stage.read()
    assert builders.events_of(stage.alerts()) == {"f0": 10, "f1": 10, "f2": 10}


def test_a_process_that_was_overtaken_drops_its_batch(stage: Stage) -> None:
    """A rival that thinks that it still owns the partition cannot count it again."""
    put(stage.log, a_match("f1"))
    stage.read()
    zombie = Stage(database=stage.database, log=stage.log, time=stage.time)
    assert stage.reading is not None
    reading = zombie.ingest()
    reading._next, reading._logs = dict(stage.reading._next), dict(stage.reading._logs)
    put(stage.log, a_match("f1"), a_match("f2"))
    reader = stage.log.reader([ingest.TOPIC])
    records = [record for record in port.read_to_end(reader) if record.offset > 0]
    reader.close()
    stage.read()
    seeks = []

    class Held:
        def seek(self, partition: port.Partition, offset: int) -> None:
            seeks.append(offset)

    counted, stopped = reading._write(Held(), records)  # type: ignore[arg-type]
    assert (counted, len(stopped)) == (0, 1)
    assert seeks == [3]
    assert builders.events_of(stage.alerts()) == {"f1": 2, "f2": 1}
    assert zombie.metrics.batches_dropped._value.get() == 1
    zombie.die()


def test_a_batch_that_is_partly_overtaken_keeps_the_rest(stage: Stage) -> None:
    """Each partition is fenced by itself."""
    reading = stage.ingest()
    first, second = port.Partition(ingest.TOPIC, 0), port.Partition(ingest.TOPIC, 1)
    with stage.database.writing() as connection:
        offsets.create(connection, first, offsets.Standing("log", 5))
        offsets.create(connection, second, offsets.Standing("log", 0))
    reading._next, reading._logs = {first: 0, second: 0}, {first: "log", second: "log"}

    def record(partition: port.Partition, fingerprint: str) -> port.Record:
        outgoing = builders.event(a_match(fingerprint))
        return port.Record(partition=partition, offset=0, key=outgoing.key, value=outgoing.value)

    class Held:
        def seek(self, partition: port.Partition, offset: int) -> None:
            assert (partition, offset) == (first, 5)

    both = [record(first, "a"), record(second, "b")]
    assert reading._write(Held(), both) == (1, {first})  # type: ignore[arg-type]
    assert [alert.fingerprint for alert in stage.alerts()] == ["b"]


def test_a_large_poll_is_written_in_portions(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its offsets; a rival that read on in between stops the rest of its partition."""
    monkeypatch.setattr(ingest, "PORTION_BYTES", 3000)
    real = ingest.Ingest._commit
    commits = []

    def commit(self: ingest.Ingest, *given: Any, **more: Any) -> Any:
        commits.append(len(given[0]))
        if len(commits) == 2:
            with stage.database.writing() as connection:
                offsets.move(connection, {port.Partition(ingest.TOPIC, 0): 9})
        return real(self, *given, **more)

    monkeypatch.setattr(ingest.Ingest, "_commit", commit)
    put(stage.log, *(a_match(f"f{n}") for n in range(10)))
    stage.read()
    assert commits[:2] == [2, 2]
    assert [alert.fingerprint for alert in stage.alerts()] == ["f0", "f1", "f9"]


def test_an_alert_opened_by_another_at_the_same_moment_is_met_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unique index refuses the second; the batch is tried again and finds the first."""
    put(stage.log, a_match("f1"))
    stage.read()
    real = arrivals._open_alerts
    blind = [True]

    def open_alerts(*given: Any) -> Any:
        return {} if blind and blind.pop() else real(*given)

    monkeypatch.setattr(arrivals, "_open_alerts", open_alerts)
    put(stage.log, a_match("f1"))
    stage.read()
    (alert,) = stage.alerts()
    assert alert.events == 2


def test_only_one_open_alert_of_a_fingerprint_can_exist(stage: Stage) -> None:
    """The database itself says so."""
    put(stage.log, a_match("f1"))
    stage.read()
    (alert,) = stage.alerts()
    copy = {**alert._mapping, "id": "another"}
    with pytest.raises(sa.exc.IntegrityError), stage.database.writing() as connection:
        connection.execute(sa.insert(tables.of(tables.Alert)), [copy])


def test_reading_starts_where_the_database_stands_not_the_group(stage: Stage) -> None:
    """The group's offset is a mirror for tools, and may be behind or ahead."""
    put(stage.log, a_match("f1"), a_match("f2"), a_match("f3"))
    stage.read()
    assert stage.consumer is not None
    stage.consumer.commit({port.Partition(ingest.TOPIC, 0): 1})
    stage.die()
    put(stage.log, a_match("f4"))
    assert stage.read() == 1
    assert builders.events_of(stage.alerts()) == {"f1": 1, "f2": 1, "f3": 1, "f4": 1}


def test_the_group_shows_how_far_the_database_is(stage: Stage) -> None:
    """For tools that show lag."""
    put(stage.log, a_match("f1"), a_match("f2"))
    stage.read()
    (lag,) = stage.log.lag(ingest.GROUP, [ingest.TOPIC])
    assert (lag.committed, lag.end) == (2, 2)


# Logs and databases that do not belong together.


def test_an_old_database_refuses_a_new_log(stage: Stage, tmp_path: Any) -> None:
    """Its offsets would mean other records."""
    put(stage.log, a_match("f1"))
    stage.read()
    stage.die()
    other = builders.a_log(tmp_path / "other.db")
    rival = Stage(database=stage.database, log=other, time=stage.time)
    with pytest.raises(UserError, match="belongs to another log"):
        rival.read()
    rival.die()
    other.close()


def test_a_new_database_refuses_a_log_that_another_has_read(stage: Stage, tmp_path: Any) -> None:
    """Unless it is told to count from the beginning."""
    put(stage.log, a_match("f1"), a_match("f1"))
    stage.read()
    stage.die()
    fresh = Database(builders.settings(tmp_path, f"sqlite:///{tmp_path}/new.db").database_url())
    fresh.upgrade()
    rival = Stage(database=fresh, log=stage.log, time=stage.time)
    with pytest.raises(UserError, match="--recount"):
        rival.read()
    rival.die()
    rival.recount = True
    rival.read()
    assert builders.events_of(rival.alerts()) == {"f1": 2}
    assert [alert.id for alert in rival.alerts()] == [alert.id for alert in stage.alerts()]
    rival.die()
    fresh.close()


def test_an_offset_past_the_end_stops_with_an_explanation(stage: Stage) -> None:
    """A log restored from an old copy has the same identity."""
    put(stage.log, a_match("f1"))
    stage.read()
    stage.die()
    with stage.database.writing() as connection:
        offsets.move(connection, {port.Partition(ingest.TOPIC, 0): 99})
    with pytest.raises(UserError, match="ends at"):
        stage.read()


class _Shortened:
    """A log whose first records are gone."""

    def __init__(self, log: port.Log, first: int) -> None:
        self._log, self._first = log, first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def reader(self, names: Any) -> Any:
        reader = self._log.reader(names)
        first = self._first

        class Reader:
            def beginning(self) -> dict[port.Partition, int]:
                return dict.fromkeys(reader.partitions(), first)

            def end(self) -> dict[port.Partition, int]:
                return reader.end()

            def close(self) -> None:
                reader.close()

        return Reader()


def test_records_deleted_before_they_were_read_are_a_recorded_gap(stage: Stage) -> None:
    """Reading goes on at the first that exists, and nobody counts as watched up to now."""
    put(stage.log, a_match("f1"), progress())
    stage.read()
    stage.die()
    put(stage.log, a_match("f2"), a_match("f3"))
    stage.time.move(30)
    gone = Stage(database=stage.database, log=_Shortened(stage.log, 3), time=stage.time)  # type: ignore[arg-type]
    gone.read()
    gone.die()
    assert builders.events_of(stage.alerts()) == {"f1": 1, "f3": 1}
    (notice,) = stage.rows("SELECT kind, cluster, total, detail FROM notices")
    assert (notice.kind, notice.cluster, notice.total) == ("gap", "", 1)
    assert "offsets 2 to 2" in notice.detail
    (view,) = stage.rows("SELECT unbroken_since FROM streams")
    assert view.unbroken_since == stage.time.now


def test_offsets_out_of_range_while_reading_are_a_gap_too(stage: Stage) -> None:
    """The consumer says so, and the partition is placed anew."""
    put(stage.log, a_match("f1"), a_match("f2"), a_match("f3"))
    reading = stage.ingest()
    reading.log = _Shortened(stage.log, 2)  # type: ignore[assignment]
    reading._placing = type(reading._placing)(
        database=stage.database, log=reading.log, clock=stage.time.clock, recount=False
    )
    partition = port.Partition(ingest.TOPIC, 0)
    with stage.database.writing() as connection:
        offsets.create(connection, partition, offsets.Standing(stage.log.identity(ingest.TOPIC), 0))
    reading._skip(port.OffsetOutOfRange({partition: (0, 2)}))
    stage.read()
    assert builders.events_of(stage.alerts()) == {"f3": 1}
    assert [row.kind for row in stage.rows("SELECT kind FROM notices")] == ["gap"]
