"""Behind a real relay: what becomes of nodes is bridged, or told."""

import time

import pytest

from collector import instants
from tests.collector import harness
from tests.parts import nodes as parts
from tests.parts import relay as relays

pytest_plugins = ["tests.parts.relay"]
pytestmark = [pytest.mark.relay, pytest.mark.slow]
NODE = "demo/n1"
RATE = 150


@pytest.fixture(params=[4095])
def cluster(request, hubble, tmp_path):
    """Two nodes under load, read by a collector; `after` gives missing uuids and gaps."""
    assert hubble
    log = harness.a_log(tmp_path)
    written = harness.Written(log)

    class Cluster:
        nodes = parts.Nodes(2, f"--capacity={request.param}")

        def warm(self):
            self.nodes.start(RATE, "everyday")
            written.wait_for(30)
            self.until = time.monotonic() + 11
            harness.wait_for(lambda: time.monotonic() > self.until)

        def wait_for_flows(self, count=60):
            written.wait_for(len(written.uuids()) + count)

        def after(self, *, gaps):
            """Stop writing, wait for the rest; return what is missing, and the gaps told."""
            self.nodes.stop()
            emitted = self.nodes.uuids()
            if gaps:
                harness.wait_for(written.gaps)
                harness.wait_for(lambda: self.stands_still(written))
            else:
                harness.wait_for(lambda: emitted <= written.counts().keys(), seconds=60)
            assert set(written.counts().values()) == {1}
            return emitted - written.counts().keys(), written.gaps()

        @staticmethod
        def stands_still(written):
            before, until = len(written.uuids()), time.monotonic() + 4
            harness.wait_for(lambda: time.monotonic() > until)
            return len(written.uuids()) == before

    running = Cluster()
    with (
        running.nodes,
        relays.running(tmp_path / "r", running.nodes.peers, nodes=2) as relay,
        harness.collecting(log, relay=relay.address, checkpoint_seconds=2),
    ):
        running.warm()
        yield running
    log.close()


def test_a_connection_that_broke_is_bridged(cluster):
    """Relay attaches the node again; its ring held everything."""
    cluster.nodes.do("cut", node=NODE)
    cluster.wait_for_flows()
    assert cluster.after(gaps=False) == (set(), [])


def test_a_stream_that_ended_in_good_order_is_opened_anew(cluster):
    """Relay itself never asks that node again."""
    cluster.nodes.do("end", node=NODE)
    cluster.wait_for_flows()
    assert cluster.after(gaps=False) == (set(), [])


def test_an_agent_that_was_restarted_is_a_gap(cluster):
    """Its ring is gone; what may be missing lies between the last flow before and the first after."""
    cluster.nodes.do("clear", node=NODE)
    at = instants.of_seconds(time.time())
    cluster.wait_for_flows()
    _, (gap,) = cluster.after(gaps=True)
    assert (gap.node, gap.reason) == (NODE, "node-unavailable")
    assert instants.of(getattr(gap, "from")) <= at


@pytest.mark.parametrize("cluster", [127], indirect=True)
def test_a_reader_that_was_overrun_is_a_gap(cluster):
    """Hubble counts the events lost; the gap says where."""
    before = instants.of_seconds(time.time())
    cluster.nodes.do("hold", node=NODE)
    cluster.wait_for_flows(100)
    cluster.nodes.do("hold", node=NODE, held=False)
    cluster.wait_for_flows(100)
    _, gaps = cluster.after(gaps=True)
    assert {(gap.node, gap.reason) for gap in gaps} == {(NODE, "ring-overrun")}
    assert max(instants.of(gap.until) for gap in gaps) > before
