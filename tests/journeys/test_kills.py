"""kill -9 of each stage at random moments under load: the counts stay the ground truth's."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests import waiting
from tests.journeys import pipeline, surroundings
from tests.journeys.stage import Window

SEED = 20
RATE = 500
ROUNDS = 15
ROUND_SECONDS = 13.0
CAPACITY = 16383
"""Of each ring. A collector killed before it had taken over is away for two sessions' timeouts of
10 s and its start, twice: even then the rings hold twice what is written meanwhile."""
DOOMED = (
    ("agent", Window.LOG, 1),
    ("alert-api", Window.DATABASE, 4),
    ("enricher", Window.LOG, 4),
    ("collector", Window.LOG, 4),
    ("alert-api", Window.LOG, 1),
)
"""Who is to die between produce and commit, in what, and in which commit at the latest. The agent
has one to make in a round, and the alerts' own topic is written to once in ten seconds."""
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
    """Fifteen times each stage is killed, each of them now and then between produce and commit."""
    chance = random.Random(SEED)
    between: Counter[tuple[str, Window]] = Counter()
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
            doomed, window, last = DOOMED[number % len(DOOMED)]
            for stage in chance.sample(pipeline.STAGES, k=len(pipeline.STAGES)):
                waiting.for_seconds(chance.uniform(0.2, 2.2), check=lambda: None)
                if stage == doomed:
                    # It goes on, to die by itself at the worst moment, and comes back.
                    stages.replace(stage, die_at=chance.randint(1, last), die_in=window)
                    if stage == "agent":
                        (around.policies / f"more-{number}.yaml").write_text(
                            HARMLESS.format(number=1000 + number)
                        )
                    between[doomed, window] += stages.wait_death(stage, seconds=15)
                else:
                    stages.kill(stage)
                stages.start(stage)
            waiting.for_seconds(max(0.0, end - time.monotonic()), check=stages.check_alive)
        books = around.nodes.stop()
        stages.await_counts(pipeline.expected(books), seconds=120)
        assert all(stages.kills[stage] >= 10 for stage in pipeline.STAGES), stages.kills
        assert stages.kills.total() >= 60
        # Each window met its death, and most of those that were planned came about.
        assert all(between[stage, window] for stage, window, _ in DOOMED), between
        assert between.total() >= 8, between
        assert [row for row in stages.notices() if row["kind"] in {"gap", "lost-events"}] == []
