"""Killed at any moment, under load, behind a real relay: what nodes saw is in the log, once each."""

import random
import time

import pytest

from tests.collector import harness, process
from tests.parts import nodes as parts
from tests.parts import relay as relays

pytest_plugins = ["tests.parts.relay"]
KILLS = 12
RATE = 600


@pytest.mark.relay
@pytest.mark.slow
def test_kills_lose_and_double_nothing(hubble, tmp_path):
    """A dozen kill -9 at random moments; the uuids in the log are exactly those emitted."""
    assert hubble
    log = harness.a_log(tmp_path)
    written = harness.Written(log)
    chance = random.Random(7)
    with parts.Nodes(2) as nodes, relays.running(tmp_path / "r", nodes.peers, nodes=2) as relay:
        nodes.start(RATE, "everyday")
        for _ in range(KILLS):
            with process.killed_at_the_end(str(tmp_path / "log.db"), relay.address):
                before = len(written.batches())
                harness.wait_for(lambda seen=before: len(written.batches()) > seen)
                until = time.monotonic() + chance.uniform(0.0, 1.0)
                harness.wait_for(lambda end=until: time.monotonic() > end)
        nodes.stop()
        emitted = nodes.uuids()
        with process.killed_at_the_end(str(tmp_path / "log.db"), relay.address):
            harness.wait_for(lambda: emitted <= written.counts().keys(), what="all that was seen")
    found = written.counts()
    assert set(found) == emitted
    assert {uuid: count for uuid, count in found.items() if count > 1} == {}
    assert written.gaps() == []
    log.close()
