"""`picket up --relay`: the same job on a live relay, here a real one before synthetic nodes."""

from pathlib import Path

import pytest

from tests.cli import stand
from tests.journeys import pipeline
from tests.parts import relay
from tests.parts.nodes import Nodes
from tests.parts.relay import hubble
from tests.parts.synthetic import mix
from tests.waiting import until

__all__ = ["hubble"]

pytestmark = [pytest.mark.relay, pytest.mark.slow]

RATE = 2000
FLOWS = 2000


@pytest.mark.timeout(200)
def test_flows_of_a_live_relay_are_counted_until_it_is_interrupted(
    tmp_path: Path, hubble: relay.Programs
) -> None:
    """Exactly what the nodes wrote is counted, what comes later too, and Ctrl-C alone ends it."""
    with (
        Nodes(2) as nodes,
        relay.running(tmp_path / "relay", nodes.peers, nodes=2) as front,
        stand.running(
            tmp_path, "--relay", front.address, "--cluster", "demo", policies=mix.POLICIES
        ) as up,
    ):
        up.ready()
        assert f"Watching {front.address}" in up.text
        # What a ring loses ahead of the very first look nobody misses.
        until(lambda: up.states() == ["live"], what="a first word of the collector's")
        for _burst in ("first", "later"):
            nodes.start(RATE, count=FLOWS)
            books = nodes.join()
            until(lambda books=books: counts(up) == pipeline.expected(books), what="the books")
        assert books["flows"] == 2 * FLOWS
        assert up.get("/api/v1/notices")["notices"] == []
        alert = up.alerts()[0]
        until(lambda: alert["title"] in up.text.partition(stand.READY)[2], what="the alert told")
        assert up.process.poll() is None
        assert counts(up) == pipeline.expected(books)
    assert up.process.returncode == 0


def counts(up):
    return {pipeline.counted(alert): alert["events"] for alert in up.alerts()}
