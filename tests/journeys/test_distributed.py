"""Relay, Kafka and PostgreSQL, each stage a process: exact alerts, exact counts, exact payloads."""

import time
from pathlib import Path

import pytest

from tests import waiting
from tests.journeys import pipeline, surroundings, told

LOAD_SECONDS = 20.0
RATE = 550
LEAST_RATE = 500
"""Flows a second that are certain to have been written: the nodes have to keep up as well."""
CAPACITY = 16383
"""Of each ring: relay may take long to restart on a machine that has much else to do."""


@surroundings.needs_all
@pytest.mark.timeout(400)
def test_every_stopped_flow_is_counted_once_and_told_to_gitlab(tmp_path: Path) -> None:
    """A known mix at 500 flows/s raises exactly its alerts, in the list and in GitLab."""
    capture = tmp_path / "capture.jsonl"
    with (
        surroundings.gitlab_server(tmp_path / "gitlab") as (server, delivery),
        surroundings.distributed(
            tmp_path, capacity=CAPACITY, settings={"alert-api": delivery}
        ) as around,
        pipeline.running(around.pipeline) as stages,
    ):
        stages.await_collecting()
        started = time.monotonic()
        around.nodes.start(RATE)
        waiting.for_seconds(LOAD_SECONDS, check=stages.check_alive)
        books = around.nodes.stop()
        assert books["flows"] >= LEAST_RATE * (time.monotonic() - started)
        stages.await_counts(pipeline.expected(books))
        surroundings.record(around.relay, capture)
        seen = told.recorded(capture)
        assert pipeline.expected(books) == {about: len(of.times) for about, of in seen.items()}
        alerts = stages.alerts()
        assert len(alerts) == len(books["alerts"])
        waiting.until(
            lambda: len(server.held()["requests"]) >= len(alerts), what="all alerts in GitLab"
        )
        told.assert_opened(server, alerts, seen)
        assert stages.notices() == []
        stages.resolve(alerts)
        waiting.until(
            lambda: len(server.held()["requests"]) >= 2 * len(alerts), what="their end in GitLab"
        )
        details = [stages.get(f"/api/v1/alerts/{alert['id']}") for alert in alerts]
        told.assert_resolved(server, details, seen)


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
