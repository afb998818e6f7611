"""From the outbox to picket.alerts, each record once and in order."""

import itertools
from typing import Any

import pytest

from alert_api.publishing import Publisher
from bus import port
from schemas import messages, topics
from schemas.messages import AlertStatus
from tests.alert_api import builders
from tests.alert_api.builders import Stage, a_match, put


def drain(publisher: Publisher) -> None:
    while publisher.step():
        pass


def test_every_change_of_state_is_told_in_order(stage: Stage) -> None:
    """With versions that grow, however late they are produced."""
    put(stage.log, a_match())
    stage.read()
    stage.set_status(stage.alerts()[0], AlertStatus.ACKNOWLEDGED)
    stage.set_status(stage.alerts()[0], AlertStatus.RESOLVED)
    publisher = stage.publisher()
    drain(publisher)
    publisher.close()
    (alert,) = stage.alerts()
    assert builders.sent(stage.log) == [
        (alert.id, 1, "triggered"),
        (alert.id, 2, "acknowledged"),
        (alert.id, 3, "resolved"),
    ]
    assert stage.rows("SELECT * FROM outbox") == []


def test_counts_are_told_every_ten_seconds_at_most(stage: Stage) -> None:
    """The last count is told even if nothing follows."""
    publisher = stage.publisher()
    for _ in range(25):
        put(stage.log, a_match())
        stage.read()
        drain(publisher)
        stage.time.move(1)
    stage.time.move(10)
    drain(publisher)
    publisher.close()
    records = builders.topic(stage.log, topics.ALERTS.name)
    told = [messages.AlertEvent.model_validate_json(record.value or b"") for record in records]
    assert [event.data.version for event in told] == [1, 2, 3, 4]
    assert told[-1].data.events == 25
    gaps = [
        (after.time - before.time).total_seconds() for before, after in itertools.pairwise(told)
    ]
    assert min(gaps) >= 10


def test_pending_alerts_are_not_told(stage: Stage) -> None:
    """Nobody outside hears of what is below its threshold."""
    put(stage.log, a_match(threshold={"count": 5, "seconds": 60}))
    stage.read()
    stage.time.move(60)
    publisher = stage.publisher()
    drain(publisher)
    publisher.close()
    assert builders.sent(stage.log) == []


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_crash_between_topic_and_database_doubles_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whoever takes over reads back what is on the topic already."""
    put(stage.log, a_match("f1"), a_match("f2"))
    stage.read()
    publisher = stage.publisher()

    def killed(*_: Any) -> None:
        raise port.Unavailable("killed")

    with monkeypatch.context() as patched:
        if step == "before":
            patched.setattr(Publisher, "_produce", killed)
        else:
            patched.setattr(Publisher, "_remove", killed)
        with pytest.raises(port.Unavailable):
            publisher.step()
    publisher.close()
    assert len(builders.sent(stage.log)) == (0 if step == "before" else 2)
    stage.set_status(stage.alerts()[0], AlertStatus.RESOLVED)
    successor = stage.publisher()
    drain(successor)
    successor.close()
    versions = sorted((alert, version) for alert, version, _ in builders.sent(stage.log))
    assert len(versions) == len(set(versions)) == 3


def test_reading_back_starts_at_the_last_mark(stage: Stage) -> None:
    """The topic's history is not read again at every start."""
    put(stage.log, a_match("f1"))
    stage.read()
    publisher = stage.publisher()
    drain(publisher)
    publisher.close()
    (mark,) = stage.rows('SELECT "end" FROM marks')
    assert mark.end == 1


def test_an_overtaken_publisher_is_refused(stage: Stage) -> None:
    """The transactional id is one for all, so only the newest can produce."""
    put(stage.log, a_match("f1"))
    stage.read()
    old, new = stage.publisher(), stage.publisher()
    drain(old)
    drain(new)
    put(stage.log, a_match("f2"))
    stage.read()
    with pytest.raises(port.Fenced):
        old.step()
    drain(new)
    new.close()
    assert len(builders.sent(stage.log)) == 2


def test_a_purged_alert_leaves_a_tombstone(stage: Stage) -> None:
    """After its last version."""
    put(stage.log, a_match())
    stage.read()
    alert = stage.set_status(stage.alerts()[0], AlertStatus.RESOLVED)
    with stage.database.writing() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET due = NULL")
    stage.time.move(91 * 24 * 3600)
    assert stage.upkeep().purge() == 1
    publisher = stage.publisher()
    drain(publisher)
    publisher.close()
    assert builders.sent(stage.log)[-1] == (alert.id, alert.version + 1, None)
    assert stage.alerts() == []
    for table in ("minutes", "samples", "tallies", "explanations", "changes", "deliveries"):
        assert stage.rows(f"SELECT * FROM {table}") == []
