"""kill -9 of each stage at random moments under load: the counts stay the ground truth's."""

import random
import time
from pathlib import Path

import pytest

from tests import waiting
from tests.journeys import pipeline, surroundings

SEED = 20
RATE = 500
ROUNDS = 15
ROUND_SECONDS = 13.0
CAPACITY = 16383
"""Of each ring. A collector killed before it had taken over is away for two sessions' timeouts of
10 s and its start, twice: even then the rings hold twice what is written meanwhile."""
HARMLESS = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: harmless-{number}, namespace: elsewhere}}
spec:
  endpointSelector: {{matchLabels: {{app: nobody-{number}}}}}
  ingress: [{{fromEndpoints: [{{}}]}}]
"""


@surroundings.needs_all
@pytest.mark.timeout(900)
def test_sixty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """Fifteen times each stage is killed, a share of them between produce and commit."""
    chance = random.Random(SEED)
    between = 0
    with (
        surroundings.distributed(tmp_path, capacity=CAPACITY) as around,
        pipeline.running(around.pipeline) as stages,
    ):
        stages.await_collecting()
        around.nodes.start(RATE)
        waiting.until(lambda: sum(stages.counts().values()) > 0, what="the first counts")
        for number in range(ROUNDS):
            end = time.monotonic() + ROUND_SECONDS
            # What is new in the folder gives the agent something to commit.
            (around.policies / f"harmless-{number}.yaml").write_text(HARMLESS.format(number=number))
            doomed = pipeline.STAGES[number % len(pipeline.STAGES)]
            for stage in chance.sample(pipeline.STAGES, k=len(pipeline.STAGES)):
                waiting.for_seconds(chance.uniform(0.2, 2.2), check=lambda: None)
                if stage == doomed:
                    # It goes on, to die by itself at the worst moment, and comes back.
                    stages.replace(stage, die_at=chance.randint(1, 4))
                    if stage == "agent":
                        (around.policies / f"more-{number}.yaml").write_text(
                            HARMLESS.format(number=1000 + number)
                        )
                    between += stages.wait_death(stage, seconds=15)
                else:
                    stages.kill(stage)
                stages.start(stage)
            waiting.for_seconds(max(0.0, end - time.monotonic()), check=stages.check_alive)
        books = around.nodes.stop()
        stages.await_counts(pipeline.expected(books), seconds=120)
        assert all(stages.kills[stage] >= 10 for stage in pipeline.STAGES), stages.kills
        assert stages.kills.total() >= 60
        assert between >= 8, f"only {between} deaths between produce and commit"
        assert [row for row in stages.notices() if row["kind"] in {"gap", "lost-events"}] == []
