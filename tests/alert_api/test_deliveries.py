"""Alerts to GitLab: each exists there once, in order, whatever goes wrong."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alert_api.gitlab.deliverer import Deliverer
from alert_api.gitlab.endpoint import Endpoint
from alert_api.repository import deliveries
from alert_api.settings import GitLabProject
from schemas.messages import AlertStatus
from tests.alert_api.builders import START, Stage, a_match, put
from tests.parts.gitlab import Fault, GitLab, Project

HOUR = 3600.0


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    """A strict GitLab with two projects."""
    with GitLab(Project(id="42"), Project(id="7")) as server:
        yield server


@pytest.fixture
def deliverer(stage: Stage, gitlab: GitLab, tmp_path: Path) -> Iterator[Deliverer]:
    """Deliveries to both projects."""
    made = a_deliverer(stage, gitlab, tmp_path)
    yield made
    made.close()


def a_deliverer(stage: Stage, gitlab: GitLab, folder: Path, **given: Any) -> Deliverer:
    endpoints = []
    for project in gitlab.projects.values():
        key = folder / f"{project.id}.key"
        if not key.exists():
            key.write_text(project.key + "\n")
        settings = GitLabProject(
            project=project.id,
            url=gitlab.address(project.id),
            token_file=key,
            environment="production",
        )
        endpoints.append(Endpoint(settings))
    return Deliverer(
        database=stage.database,
        clock=stage.time.clock,
        metrics=stage.metrics,
        lease=stage.lease(**given),
        endpoints=endpoints,
        public_url="https://picket.example",
        chance=lambda: 1.0,
    )


def trigger(stage: Stage, *fingerprints: str, **given: Any) -> None:
    put(stage.log, *(a_match(name, **given) for name in fingerprints))
    stage.read()


def drain(deliverer: Deliverer) -> int:
    total = 0
    while made := deliverer.step():
        total += made
    return total


def resolve(stage: Stage, index: int = 0) -> None:
    stage.set_status(stage.alerts()[index], AlertStatus.RESOLVED)


def standing(stage: Stage, project: str = "42") -> Any:
    rows = stage.rows(f"SELECT * FROM endpoints WHERE project = '{project}'")
    return rows[0] if rows else None


def test_a_trigger_says_what_gitlab_shows(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """The exact payload, with nothing that GitLab would cut off or misread."""
    trigger(stage, "f1", count=3, severity="high", runbook="https://runbook.example")
    assert drain(deliverer) == 1
    (alert,) = stage.alerts()
    (request,) = gitlab.requests
    assert request.complaints == []
    assert request.payload == {
        "title": "shop/db: shop/web → shop/db not allowed by any rule",
        "description": "shop/web may not reach shop/db: no rule of policy db allows it",
        "fingerprint": f"picket-{alert.id}",
        "severity": "high",
        "start_time": START.isoformat(),
        "service": "shop/db",
        "hosts": ["shop/db"],
        "monitoring_tool": "Picket",
        "runbook": "https://runbook.example",
        "gitlab_environment_name": "production",
        "picket": {
            "alert": alert.id,
            "url": f"https://picket.example/alerts/{alert.id}",
            "cluster": "demo",
            "policy": {"kind": "CiliumNetworkPolicy", "namespace": "shop", "name": "db"},
            "direction": "ingress",
            "reason": "no-rule-allowed",
            "subject": a_match()["subject"],
            "peer": a_match()["peer"],
            "events": 3,
            "last_seen": START.isoformat(),
            "findings": a_match()["findings"],
            "ports": {"TCP/5432": 3},
            "peers": {"10.0.0.1 shop/web-0": 3},
        },
    }
    (held,) = gitlab.of("42")
    assert (held.status, held.severity, held.events) == ("triggered", "high", 1)


def test_nothing_outgrows_gitlabs_limits(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """Long names and a port scan from everywhere stay far below 1 MB."""
    long = "x" * 1900
    policy = {"kind": "CiliumNetworkPolicy", "namespace": long, "name": long}
    trigger(
        stage,
        "f1",
        policy=policy,
        sentence="y" * 9000,
        subject={"kind": "labels", "namespace": "", "name": long, "text": long},
        findings=[{"policy": policy, "path": long, "why": "z" * 15_000}] * 40,
        ports=[{"protocol": "TCP", "port": n, "count": 1} for n in range(500)],
        peers=[{"address": f"10.0.{n}.1", "name": "", "count": 1} for n in range(250)],
        samples=[],
    )
    drain(deliverer)
    (request,) = gitlab.requests
    assert (request.status, request.complaints) == (200, [])
    assert request.size < 200_000


def test_events_go_on_once_an_hour_and_resolve_ends_it(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """GitLab keeps one alert, counts the repeats, and closes it."""
    trigger(stage, "f1")
    drain(deliverer)
    for _ in range(12):
        stage.time.move(HOUR / 4)
        trigger(stage, "f1", at=stage.time.at)
        drain(deliverer)
    assert len(gitlab.requests) == 4
    resolve(stage)
    drain(deliverer)
    (held,) = gitlab.of("42")
    assert (held.status, held.events) == ("resolved", 4)
    assert held.ended_at == stage.time.at.isoformat()
    stage.time.move(10 * HOUR)
    assert drain(deliverer) == 0


def test_a_quiet_alert_is_not_repeated_until_events_go_on(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """Soon after they do, though."""
    trigger(stage, "f1")
    drain(deliverer)
    stage.time.move(5 * HOUR)
    assert drain(deliverer) == 0
    trigger(stage, "f1", at=stage.time.at)
    stage.time.move(5 * 60)
    assert drain(deliverer) == 1


def test_an_ignored_alert_stays_quiet_and_can_come_back(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """No repeats while ignored; a resolve is still told."""
    trigger(stage, "f1")
    drain(deliverer)
    ignored = stage.set_status(stage.alerts()[0], AlertStatus.IGNORED)
    trigger(stage, "f1")
    stage.time.move(5 * HOUR)
    assert drain(deliverer) == 0
    back = stage.set_status(ignored, AlertStatus.TRIGGERED)
    assert drain(deliverer) == 1
    stage.set_status(back, AlertStatus.RESOLVED)
    drain(deliverer)
    assert [alert.status for alert in gitlab.of("42")] == ["resolved"]


def test_an_alert_ignored_before_gitlab_heard_of_it_stays_unknown_there(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """Neither its trigger nor its resolve is sent."""
    trigger(stage, "f1")
    ignored = stage.set_status(stage.alerts()[0], AlertStatus.IGNORED)
    drain(deliverer)
    stage.set_status(ignored, AlertStatus.RESOLVED)
    drain(deliverer)
    assert gitlab.requests == []


def test_an_alert_resolved_before_gitlab_answered_still_exists_there_once(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """First the trigger, then the resolve."""
    gitlab.faults.append(Fault(status=503))
    trigger(stage, "f1")
    drain(deliverer)
    resolve(stage)
    stage.time.move(60)
    drain(deliverer)
    (held,) = gitlab.of("42")
    assert (held.status, held.events) == ("resolved", 1)


def test_the_next_alert_of_the_same_flows_is_another_in_gitlab(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """Nothing of the first can touch the second."""
    for _ in range(2):
        trigger(stage, "f1")
        drain(deliverer)
        resolve(stage, -1)
        stage.time.move(1)
    drain(deliverer)
    assert [alert.status for alert in gitlab.of("42")] == ["resolved", "resolved"]
    assert len({alert.fingerprint for alert in gitlab.of("42")}) == 2


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_lost_request_or_answer_makes_no_second_alert(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab, lost: str
) -> None:
    """The retry names the same alert; GitLab counts it on the open one."""
    gitlab.faults.append(Fault(lose=lost))
    trigger(stage, "f1")
    drain(deliverer)
    stage.time.move(60)
    drain(deliverer)
    (held,) = gitlab.of("42")
    assert held.events == (1 if lost == "request" else 2)
    resolve(stage)
    drain(deliverer)
    stage.time.move(HOUR)
    drain(deliverer)
    assert [alert.status for alert in gitlab.of("42")] == ["resolved"]
    assert drain(deliverer) == 0


def test_a_lost_answer_to_a_resolve_is_done_when_nothing_is_open(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """GitLab answers 400 to the retry, which says just that."""
    trigger(stage, "f1")
    drain(deliverer)
    gitlab.faults.append(Fault(lose="answer"))
    resolve(stage)
    drain(deliverer)
    stage.time.move(60)
    drain(deliverer)
    assert gitlab.requests[-1].status == 400
    (row,) = stage.rows("SELECT told, failure FROM deliveries")
    assert (row.told, row.failure) == ("closed", None)


def test_a_request_that_arrives_after_the_resolve_is_closed_again(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """A trigger without an answer may wait in a proxy: the resolve is confirmed later."""
    gitlab.faults.append(Fault(lose="request"))
    trigger(stage, "f1")
    drain(deliverer)
    straggler = gitlab.requests[0].payload
    stage.time.move(60)
    drain(deliverer)
    resolve(stage)
    drain(deliverer)
    project = gitlab.projects["42"]
    gitlab.answer(project.path, f"Bearer {project.key}", json.dumps(straggler).encode())
    assert [alert.status for alert in gitlab.of("42")] == ["resolved", "triggered"]
    stage.time.move(HOUR)
    drain(deliverer)
    assert [alert.status for alert in gitlab.of("42")] == ["resolved", "resolved"]


def test_a_crash_after_the_post_makes_no_second_alert(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Posted, not recorded: the successor posts again, under the same fingerprint."""

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    trigger(stage, "f1")
    with monkeypatch.context() as patched:
        patched.setattr(Deliverer, "_record", killed)
        with pytest.raises(KeyboardInterrupt):
            deliverer.step()
    drain(deliverer)
    (held,) = gitlab.of("42")
    assert held.events == 2


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_failures_back_off_further_each_time(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab, status: int
) -> None:
    """One request a wait, however many alerts are due."""
    gitlab.faults.extend(Fault(status=status) for _ in range(4))
    trigger(stage, "f1", "f2", "f3")
    waits = []
    for _ in range(4):
        drain(deliverer)
        row = standing(stage)
        waits.append((row.until - stage.time.now) / 1e6)
        stage.time.at = START + timedelta(seconds=(row.until - 1e6 * START.timestamp()) / 1e6)
    assert waits == [5, 10, 20, 40]
    assert len(gitlab.requests) == 4
    stage.time.move(1)
    drain(deliverer)
    assert len(gitlab.of("42")) == 3
    assert standing(stage).state == "ok"


def test_waits_are_spread_by_chance(stage: Stage, deliverer: Deliverer, gitlab: GitLab) -> None:
    """So that many replicas do not come back at once."""
    deliverer.chance = lambda: 0.0
    gitlab.faults.append(Fault(status=500))
    trigger(stage, "f1")
    drain(deliverer)
    assert (standing(stage).until - stage.time.now) / 1e6 == 2.5


def test_a_limit_is_kept_to_for_as_long_as_gitlab_asks(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """429 with Retry-After."""
    gitlab.projects["42"].limit = 2
    gitlab.projects["42"].period = 1000
    trigger(stage, "f1", "f2", "f3")
    drain(deliverer)
    assert len(gitlab.of("42")) == 2
    assert 998 <= (standing(stage).until - stage.time.now) / 1e6 <= 1003
    stage.time.move(900)
    assert drain(deliverer) == 0


def test_one_projects_trouble_is_not_anothers(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """Each goes its own way."""
    gitlab.projects["42"].active = False
    trigger(stage, "f1", "f2")
    trigger(stage, "g1", "g2", project="7")
    drain(deliverer)
    assert gitlab.of("42") == []
    assert len(gitlab.of("7")) == 2


def test_a_refused_key_parks_the_project_until_the_file_changes(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab, tmp_path: Path
) -> None:
    """401: nothing more is sent, time does not heal it, a new key does."""
    (tmp_path / "42.key").write_text("an-old-key")
    trigger(stage, "f1", "f2")
    drain(deliverer)
    assert [request.status for request in gitlab.requests] == [401]
    assert (standing(stage).state, standing(stage).reason) == ("parked", "401 Unauthorized")
    stage.time.move(100 * HOUR)
    assert drain(deliverer) == 0
    (tmp_path / "42.key").write_text(gitlab.projects["42"].key)
    drain(deliverer)
    assert len(gitlab.of("42")) == 2
    assert standing(stage).state == "ok"


def test_an_inactive_integration_parks_until_resumed_by_hand(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """403; the key stays the same, so a person says when."""
    gitlab.projects["42"].active = False
    trigger(stage, "f1")
    drain(deliverer)
    assert standing(stage).state == "parked"
    gitlab.projects["42"].active = True
    stage.time.move(HOUR)
    assert drain(deliverer) == 0
    with stage.database.writing() as connection:
        deliveries.resume(connection, "42", now=stage.time.now)
    drain(deliverer)
    assert len(gitlab.of("42")) == 1


def test_an_unreadable_key_parks_and_says_which_file(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab, tmp_path: Path
) -> None:
    """Without a request, and without showing any content."""
    (tmp_path / "42.key").unlink()
    trigger(stage, "f1")
    drain(deliverer)
    assert gitlab.requests == []
    assert "42.key" in standing(stage).reason


def test_a_redirect_is_not_followed(stage: Stage, deliverer: Deliverer, gitlab: GitLab) -> None:
    """It would carry the key to another host."""
    with GitLab(Project(id="42")) as other:
        gitlab.faults.append(Fault(status=307, headers={"Location": other.address("42")}))
        trigger(stage, "f1")
        drain(deliverer)
        assert other.requests == []
    assert standing(stage).state == "parked"
    assert "redirects" in standing(stage).reason


def test_a_rejected_payload_does_not_hold_up_the_others(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """400 on a trigger is tried again an hour later, and shown until then."""
    gitlab.faults.append(Fault(status=400))
    trigger(stage, "f1", "f2")
    drain(deliverer)
    assert len(gitlab.of("42")) == 1
    failures = [row.failure for row in stage.rows("SELECT failure FROM deliveries")]
    assert sorted(failures, key=str) == ["400 Bad Request", None]
    stage.time.move(HOUR)
    drain(deliverer)
    assert len(gitlab.of("42")) == 2


def test_a_project_that_is_not_set_up_hears_nothing(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """Its alerts are in the list all the same."""
    trigger(stage, "f1", project="99")
    assert drain(deliverer) == 0
    assert len(stage.alerts()) == 1


def test_a_project_set_up_later_hears_of_what_is_open(
    stage: Stage, gitlab: GitLab, tmp_path: Path
) -> None:
    """And not of all that ever was."""
    before = a_deliverer(stage, gitlab, tmp_path)
    trigger(stage, "old", "open", project="99")
    resolve(stage, 1)
    drain(before)
    before.close()
    gitlab.projects["99"] = Project(id="99")
    after = a_deliverer(stage, gitlab, tmp_path)
    drain(after)
    after.close()
    (held,) = gitlab.of("99")
    assert held.status == "triggered"


def test_only_the_holder_of_the_lease_posts(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab, tmp_path: Path
) -> None:
    """A second replica stands by, and takes over once the first is silent for long enough."""
    second = a_deliverer(stage, gitlab, tmp_path, slot="1", incarnation="b")
    trigger(stage, "f1")
    assert drain(deliverer) == 1
    trigger(stage, "f2")
    assert second.step() == 0
    stage.time.move(29)
    assert second.step() == 0
    stage.time.move(1)
    assert second.step() == 1
    trigger(stage, "f3")
    assert deliverer.step() == 0
    assert second.step() == 1
    second.close()


def test_a_holder_whose_lease_runs_out_posts_no_more(
    stage: Stage, deliverer: Deliverer, gitlab: GitLab
) -> None:
    """A request must end before anybody else can begin."""
    trigger(stage, "f1")
    assert deliverer.lease.hold()
    stage.time.move(4)
    assert deliverer.lease.hold()
    deliverer.lease._until = deliverer.clock.monotonic() + 19
    assert drain(deliverer) == 0
    assert gitlab.requests == []


def test_a_process_started_in_anothers_place_takes_over_at_once(stage: Stage) -> None:
    """The same slot: the older one, if it lives still, finds the lease gone."""
    old, new = stage.lease(incarnation="a"), stage.lease(incarnation="b")
    assert old.hold()
    assert new.hold()
    stage.time.move(6)
    assert new.hold()
    assert not old.hold()
    assert not old.hold()
    stage.time.move(5)
    assert new.hold()
    assert not old.hold()
