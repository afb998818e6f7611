"""What a real Cilium said, through `picket up` to the alerts: the counts of an independent script."""

import gzip
import json
from pathlib import Path

import pytest

from tests.cli import stand
from tests.journeys.surroundings import bus
from tests.policies.captures import CAPTURES, TRUTH

__all__ = ["bus"]

HTTP_FLOWS = 7
VERDICT = 5
SILENCED = 4
"""Denials by `bare-no-alert`: shop.jsonl.gz has none, all.jsonl.gz has them, minutes before."""

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_the_whole_recording_gives_its_counts_and_says_what_is_unexplained(
    bus: str, tmp_path: Path
) -> None:
    """The HTTP requests that no rule is about are in one notice, what nobody asked for nowhere."""
    silenced = [line for line in lines("all.jsonl.gz") if is_silenced(json.loads(line))]
    assert len(silenced) == SILENCED
    capture = tmp_path / "capture.jsonl"
    capture.write_text("".join([*silenced, *lines("shop.jsonl.gz")]))
    arguments = ("--flows", capture, "--cluster", "demo", "--bus", bus)
    with stand.running(tmp_path, *arguments, policies=CAPTURES / "policies.yaml") as up:
        up.ready()
        alerts = up.alerts()
        assert {about(alert): alert["events"] for alert in alerts} == TRUTH
        assert len(alerts) == len(TRUTH)
        (notice,) = up.get("/api/v1/notices")["notices"]
        told = (notice["cluster"], notice["kind"], notice["reason"], notice["count"])
        assert told == ("demo", "unexplained", "l7-no-rule", HTTP_FLOWS)
        assert f"{HTTP_FLOWS}  unexplained  l7-no-rule" in up.text
        assert "bare-no-alert" not in up.text
    assert up.process.returncode == 0


def lines(name):
    with gzip.open(CAPTURES / name, "rt") as stream:
        return list(stream)


def is_silenced(response):
    flow = response.get("flow", {})
    stopped = flow.get("verdict") == "DROPPED" and flow["event_type"]["type"] == VERDICT
    return stopped and "k8s:app=bare" in flow["destination"]["labels"]


def about(alert):
    return (
        alert["policy"]["name"],
        alert["direction"],
        alert["reason"],
        alert["subject"]["text"],
        alert["peer"]["text"],
    )
