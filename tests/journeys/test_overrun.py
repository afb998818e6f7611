"""An outage longer than what rings and buffer hold: what is missing must be told."""

from datetime import datetime
from pathlib import Path

import pytest

from tests import waiting
from tests.journeys import pipeline, surroundings

CAPACITY = 255
RATE = 300
OUTAGE_FLOWS = 6 * CAPACITY


@surroundings.needs_all
@pytest.mark.timeout(400)
def test_flows_that_the_rings_lost_are_reported_as_a_gap_of_each_node(tmp_path: Path) -> None:
    """With the collector away for several rings' worth of flows, each node has its gap."""
    with (
        surroundings.distributed(tmp_path, capacity=CAPACITY) as around,
        pipeline.running(around.pipeline) as stages,
    ):
        stages.await_collecting()
        around.nodes.start(RATE)
        waiting.until(lambda: sum(stages.counts().values()) > 20, what="the first counts")
        stages.kill("collector")
        written = around.nodes.do("truth")["flows"]
        waiting.until(
            lambda: around.nodes.do("truth")["flows"] > written + OUTAGE_FLOWS,
            what="rings overrun",
            seconds=60,
        )
        stages.start("collector")
        gaps = waiting.until(
            lambda: [row for row in stages.notices() if row["kind"] == "gap"],
            what="gaps",
            seconds=60,
        )
        books = around.nodes.stop()
        stages.await_drained()
        found = waiting.until(
            lambda: [row for row in stages.notices() if row["kind"] == "gap"], what="gaps"
        )
        assert {row["node"] for row in found} == {f"demo/n{number}" for number in (1, 2, 3)}, gaps
        for row in found:
            first, last = (
                datetime.fromisoformat(row[name]) for name in ("first_seen", "last_seen")
            )
            assert first < last
        expected, counts = pipeline.expected(books), stages.counts()
        assert counts.total() < expected.total()
        assert all(counts[key] <= expected[key] for key in counts)
