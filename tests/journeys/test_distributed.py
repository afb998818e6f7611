"""Relay, Kafka and PostgreSQL, each stage a process: exact alerts, exact counts, exact payloads."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import waiting
from tests.journeys import pipeline, surroundings
from tests.parts import gitlab

LOAD_SECONDS = 20.0
RATE = 500
CAPACITY = 16383
"""Of each ring: relay may take long to restart on a machine that has much else to do."""


@surroundings.needs_all
@pytest.mark.timeout(400)
def test_every_stopped_flow_is_counted_once_and_told_to_gitlab(tmp_path: Path) -> None:
    """A known mix at 500 flows/s raises exactly its alerts, in the list and in GitLab."""
    with (
        surroundings.gitlab_server(tmp_path / "gitlab") as (server, delivery),
        surroundings.distributed(tmp_path, settings={"alert-api": delivery}) as around,
        pipeline.running(around.pipeline) as stages,
    ):
        stages.await_collecting()
        around.nodes.start(RATE)
        waiting.for_seconds(LOAD_SECONDS, check=stages.check_alive)
        books = around.nodes.stop()
        assert books["flows"] >= RATE * LOAD_SECONDS * 0.9
        stages.await_counts(pipeline.expected(books))
        alerts = stages.alerts()
        assert len(alerts) == len(books["alerts"])
        waiting.until(
            lambda: len(server.held()["alerts"]) >= len(alerts), what="all alerts in GitLab"
        )
        assert_told(server, alerts)
        assert [row for row in stages.notices() if row["kind"] != "unexplained"] == []


@surroundings.needs_all
@pytest.mark.timeout(400)
def test_nothing_is_lost_or_doubled_when_broker_database_and_relay_restart(tmp_path: Path) -> None:
    """Under load, killing the broker, the database and relay leaves every count exact."""
    with (
        surroundings.distributed(tmp_path, capacity=CAPACITY) as around,
        pipeline.running(around.pipeline) as stages,
    ):
        stages.await_collecting()
        around.nodes.start(RATE)
        waiting.until(lambda: sum(stages.counts().values()) > 0, what="the first counts")
        for restart in (
            lambda: around.kafka.restart(kill=True),
            lambda: around.postgres.restart(kill=True),
            lambda: around.relay.restart(nodes=None),
            lambda: around.postgres.restart(),
            lambda: around.kafka.restart(),
        ):
            before = sum(stages.counts().values())
            restart()
            waiting.until(
                lambda before=before: sum(stages.counts().values()) > before,
                what="counts going on after a restart",
                seconds=60,
            )
        books = around.nodes.stop()
        stages.await_counts(pipeline.expected(books))


def assert_told(server: gitlab.GitLab, alerts: list[dict[str, Any]]) -> None:
    """GitLab got exactly one POST an alert, with exactly what the alert says."""
    held = server.held()
    posts = {request["payload"]["fingerprint"]: request for request in held["requests"]}
    assert Counter(request["status"] for request in held["requests"]) == {200: len(alerts)}
    assert len(posts) == len(alerts) == len(held["alerts"])
    for alert in alerts:
        request = posts[f"picket-{alert['id']}"]
        assert request["project"] == alert["project"]
        assert request["complaints"] == []
        payload = dict(request["payload"])
        details = dict(payload.pop("picket"))
        # Counts go on after the POST: it tells what was known then.
        assert 1 <= details.pop("events") <= alert["events"]
        assert details.pop("last_seen") <= alert["last_seen"].replace("Z", "+00:00")
        for counted in ("ports", "peers"):
            assert details.pop(counted)
        findings = details.pop("findings", [])
        assert alert["reason"] in {"audit", "l7-denied"} or findings
        description = payload.pop("description")
        assert alert["subject"]["text"] in description or alert["policy"]["name"] in description
        policy = alert["policy"]
        name = f"{policy['namespace']}/{policy['name']}" if policy["namespace"] else policy["name"]
        assert instant(payload.pop("start_time")) == instant(alert["first_seen"])
        assert payload == {
            "title": alert["title"],
            "fingerprint": f"picket-{alert['id']}",
            "severity": alert["severity"],
            "service": name,
            "hosts": [alert["subject"]["text"]],
            "monitoring_tool": "Picket",
            "gitlab_environment_name": "production",
            **({"runbook": alert["runbook"]} if alert["runbook"] else {}),
        }
        assert details == {
            "alert": alert["id"],
            "cluster": "demo",
            "policy": policy,
            "direction": alert["direction"],
            "reason": alert["reason"],
            "subject": alert["subject"],
            "peer": alert["peer"],
        }


def instant(text: str) -> str:
    """Return a time in one spelling of the zone."""
    return text.replace("Z", "+00:00")
