"""A capture on the embedded default: the same result as from relay, in one process tree."""

import json
from pathlib import Path

import pytest

from tests import waiting
from tests.cli import stand
from tests.journeys import pipeline, surroundings, told
from tests.parts import relay
from tests.parts.nodes import Nodes
from tests.parts.relay import hubble
from tests.parts.synthetic import mix

__all__ = ["hubble"]

FLOWS = 6000


@pytest.mark.journey
@pytest.mark.relay
@pytest.mark.timeout(300)
def test_a_capture_of_the_same_mix_raises_the_same_alerts(
    tmp_path: Path, hubble: relay.Programs
) -> None:
    """What Hubble recorded counts, and is told to GitLab, as what relay gives; twice as once."""
    capture = tmp_path / "capture.jsonl"
    with (
        Nodes(3, "--capacity=65535") as nodes,
        relay.running(tmp_path / "relay", nodes.peers, nodes=3) as front,
    ):
        nodes.start(3000, count=FLOWS)
        books = nodes.join()
        surroundings.record(front, capture)
    expected = pipeline.expected(books)
    seen = told.recorded(capture)
    assert expected == {about: len(of.times) for about, of in seen.items()}
    with surroundings.gitlab_server(tmp_path / "gitlab") as (server, delivery):
        arguments = ("--flows", capture, "--cluster", "demo")
        arguments += ("--gitlab", json.dumps(delivery["gitlab"]))
        with stand.running(tmp_path, *arguments, policies=mix.POLICIES) as up:
            check(up.ready(), books)
            waiting.until(
                lambda: len(server.held()["requests"]) >= len(expected),
                what="all alerts in GitLab",
            )
            told.assert_opened(server, up.alerts(), seen)
        with stand.running(tmp_path, *arguments, policies=mix.POLICIES) as again:
            check(again.ready(), books)
            alerts = again.alerts()
            told.assert_opened(server, alerts, seen)
            pipeline.resolve(again.base, again.folder / "token", alerts)
            waiting.until(
                lambda: len(server.held()["requests"]) >= 2 * len(alerts),
                what="their end in GitLab",
            )
            details = [again.get(f"/api/v1/alerts/{alert['id']}") for alert in alerts]
            told.assert_resolved(server, details, seen)


def check(up, books):
    """The alerts, of the API and on the terminal, are those of the books, to the flow."""
    alerts = up.alerts()
    assert {pipeline.counted(alert): alert["events"] for alert in alerts} == pipeline.expected(
        books
    )
    assert len(alerts) == len(books["alerts"])
    assert up.printed_counts() == [alert["events"] for alert in alerts]
    assert up.get("/api/v1/notices")["notices"] == []
