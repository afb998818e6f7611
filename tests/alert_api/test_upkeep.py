"""Quiet resolves alerts, but only quiet that was watched."""

from datetime import timedelta
from typing import Any

import pytest

from alert_api.upkeep import Upkeep
from schemas.messages import AlertStatus
from tests.alert_api import builders
from tests.alert_api.builders import START, Stage, a_match, a_notice, progress, put


def watch(stage: Stage, upkeep: Upkeep, seconds: float, **given: Any) -> int:
    """Let time pass, report progress up to now, and look twice: once to see, once to act."""
    stage.time.move(seconds)
    put(stage.log, progress(stage.time.at, **given))
    stage.read()
    return upkeep.resolve() + upkeep.resolve()


def begin(stage: Stage, **given: Any) -> Upkeep:
    """Return upkeep over a watched cluster with one alert just seen."""
    put(stage.log, progress(START), a_match(resolve_after=600, **given))
    stage.read()
    return stage.upkeep()


def test_an_alert_resolves_after_quiet_that_was_watched(stage: Stage) -> None:
    """Not before; and its history says why."""
    upkeep = begin(stage)
    assert watch(stage, upkeep, 599) == 0
    assert watch(stage, upkeep, 1) == 1
    (alert,) = stage.alerts()
    assert (alert.status, alert.resolved_at) == ("resolved", stage.time.now)
    last = stage.rows("SELECT actor, why FROM changes ORDER BY revision")[-1]
    assert last.actor == "picket"
    assert "quiet" in last.why


def test_a_match_starts_the_quiet_anew(stage: Stage) -> None:
    """Quiet is counted from the last one."""
    upkeep = begin(stage)
    watch(stage, upkeep, 500)
    put(stage.log, a_match(at=stage.time.at, resolve_after=600))
    stage.read()
    assert watch(stage, upkeep, 500) == 0
    assert watch(stage, upkeep, 100) == 1


@pytest.mark.parametrize("state", ["blind", "catching-up", "ended"])
def test_nothing_resolves_while_the_cluster_is_not_live(stage: Stage, state: str) -> None:
    """However much time passes."""
    upkeep = begin(stage)
    for _ in range(5):
        assert watch(stage, upkeep, 600, state=state) == 0


def test_time_spent_blind_is_no_quiet(stage: Stage) -> None:
    """It must be quiet for the whole time after."""
    upkeep = begin(stage)
    watch(stage, upkeep, 300)
    watch(stage, upkeep, 600, state="blind")
    assert watch(stage, upkeep, 1) == 0
    assert watch(stage, upkeep, 599) == 0
    assert watch(stage, upkeep, 1) == 1


def test_a_gap_is_no_quiet(stage: Stage) -> None:
    """Flows may have been in it."""
    upkeep = begin(stage)
    end = START + timedelta(seconds=500)
    notice = a_notice(kind="gap", reason="ring overwritten", last_seen=end.isoformat())
    assert watch(stage, upkeep, 600, notices=[notice]) == 0
    assert watch(stage, upkeep, 500) == 1


def test_a_lagging_cluster_resolves_nothing(stage: Stage) -> None:
    """Flow time far behind the clock says little about now."""
    upkeep = begin(stage)
    stage.time.move(10_000)
    put(stage.log, progress(START + timedelta(seconds=700)))
    stage.read()
    assert upkeep.resolve() + upkeep.resolve() == 0


def test_flow_time_counts_only_once_all_matches_before_it_are_counted(stage: Stage) -> None:
    """Progress may be read before a match of another partition that was there first."""
    upkeep = begin(stage)
    stage.time.move(600)
    put(stage.log, progress(stage.time.at))
    stage.read()
    put(stage.log, a_match(at=stage.time.at, resolve_after=600))
    assert upkeep.resolve() + upkeep.resolve() + upkeep.resolve() == 0
    stage.read()
    assert upkeep.resolve() + upkeep.resolve() == 0


def test_the_slowest_part_of_a_cluster_counts(stage: Stage) -> None:
    """Until all partitions are past, nothing is known to be quiet."""
    upkeep = begin(stage)
    put(stage.log, progress(START, partition=1))
    stage.read()
    assert watch(stage, upkeep, 600) == 0
    put(stage.log, progress(stage.time.at, partition=1))
    stage.read()
    assert upkeep.resolve() + upkeep.resolve() == 1


@pytest.mark.parametrize(
    ("status", "resolves"),
    [(AlertStatus.ACKNOWLEDGED, 1), (AlertStatus.IGNORED, 0)],
)
def test_ignored_alerts_stay_ignored(stage: Stage, status: AlertStatus, resolves: int) -> None:
    """Resolved, the next match would raise them again."""
    upkeep = begin(stage)
    stage.set_status(stage.alerts()[0], status)
    assert watch(stage, upkeep, 600) == resolves


def test_without_a_time_of_its_own_the_setting_holds(stage: Stage) -> None:
    """And without either, an alert never resolves by itself."""
    put(stage.log, progress(START), a_match("own", resolve_after=0), a_match("none"))
    stage.read()
    assert watch(stage, stage.upkeep(), 10_000) == 0
    assert watch(stage, stage.upkeep(resolve_after=600), 600) == 1
    assert [alert.fingerprint for alert in stage.alerts(AlertStatus.RESOLVED)] == ["none"]


def test_another_clusters_quiet_resolves_nothing_here(stage: Stage) -> None:
    """Clusters are watched each by itself."""
    upkeep = begin(stage, cluster="other")
    assert watch(stage, upkeep, 6000) == 0


def test_old_resolved_and_pending_alerts_go_and_open_ones_stay(stage: Stage) -> None:
    """One of which GitLab is still to hear waits, too."""
    put(
        stage.log,
        a_match("open"),
        a_match("told"),
        a_match("untold"),
        a_match("pending", threshold={"count": 9, "seconds": 60}),
    )
    stage.read()
    for alert in stage.alerts():
        if alert.fingerprint in {"told", "untold"}:
            stage.set_status(alert, AlertStatus.RESOLVED)
    with stage.database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE deliveries SET due = NULL"
            " WHERE alert_id IN (SELECT id FROM alerts WHERE fingerprint = 'told')"
        )
    stage.time.move(24 * 3600 + 1)
    assert stage.upkeep(keep_days=1).purge() == 2
    assert [alert.fingerprint for alert in stage.alerts()] == ["open", "untold"]
    assert stage.rows("SELECT * FROM minutes") == []


def test_step_does_each_job_at_its_own_pace(stage: Stage) -> None:
    """Called as often as one likes."""
    upkeep = begin(stage)
    for _ in range(25):
        stage.time.move(30)
        put(stage.log, progress(stage.time.at))
        stage.read()
        upkeep.step()
    assert [alert.status for alert in stage.alerts()] == ["resolved"]
    assert builders.events_of(stage.alerts()) == {"f1": 1}
