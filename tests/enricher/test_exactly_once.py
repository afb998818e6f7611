"""Killed at any moment, the enricher counts each flow once."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from schemas import topics
from tests.enricher import builders, harness, victim
from tests.enricher.test_recorded_truth import TRUTH

KILLS = 8
DEADLINE = 60.0


@pytest.mark.slow
def test_no_kill_loses_or_doubles_a_flow(tmp_path: Path) -> None:
    """Killed before and after commits, retries under way: the recorded truth, to the flow."""
    path, start = tmp_path / "log.db", time.time()
    log = victim.open_log(path, start)
    log.ensure(topics.ALL)
    stage = harness.Stage(log, harness.Hand())
    responses = builders.shop_responses()
    stage.write(
        *(builders.a_policy_record(manifest) for manifest in builders.shop_policies()),
        builders.a_marker(),
        *(builders.a_batch(responses[n : n + 10]) for n in range(0, len(responses), 10)),
    )
    chance = random.Random(7)
    for number in range(KILLS):
        moment = ("before", "after")[number % 2]
        command = [
            *(sys.executable, "-m", "tests.enricher.victim"),
            *(str(path), repr(start), moment, str(chance.randint(1, 5))),
        ]
        died = subprocess.run(command, check=False, timeout=DEADLINE, capture_output=True)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()[-2000:]
    committed = log.lag("picket-enricher", [topics.FLOWS.name])[0].committed
    assert committed, "some victims got something done"
    stop = threading.Event()
    survivor = threading.Thread(target=victim.enrich, args=(path, start, stop))
    survivor.start()
    try:
        expected = Counter(TRUTH)
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            counted = harness.counted(stage.matches())
            if counted == expected and stage.notices().get(("unexplained", "l7-no-rule")) == 7:
                break
            time.sleep(0.05)
    finally:
        stop.set()
        survivor.join(DEADLINE)
    assert harness.counted(stage.matches()) == TRUTH
    assert stage.notices() == {("unexplained", "l7-no-rule"): 7}
    ids = [event["id"] for event in stage.events()]
    assert len(ids) == len(set(ids))
    log.close()
