"""A capture on the embedded default: the same result as from relay, in one process tree."""

import subprocess
from pathlib import Path

import pytest

from tests.journeys import pipeline
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
    """What hubble recorded of the synthetic nodes counts as what they wrote; twice as once."""
    capture = tmp_path / "capture.jsonl"
    with (
        Nodes(3, "--capacity=65535") as nodes,
        relay.running(tmp_path / "relay", nodes.peers, nodes=3) as front,
    ):
        nodes.start(3000, count=FLOWS)
        books = nodes.join()
        with capture.open("wb") as output:
            subprocess.run(
                [hubble.hubble, "observe", "--server", front.address, "--all", "-o", "jsonpb"],
                stdout=output,
                check=True,
            )
    stages = pipeline.Pipeline(
        folder=tmp_path / "picket",
        bus=str(tmp_path / "log.db"),
        database=f"sqlite:///{tmp_path}/alerts.db",
        settings={
            "agent": {"cluster": "demo", "policies": str(mix.POLICIES)},
            "collector": {"cluster": "demo", "flows": str(capture)},
        },
    )
    for _time in ("once", "again"):
        with pipeline.running(stages):
            stages.await_counts(pipeline.expected(books))
