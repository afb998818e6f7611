"""What is missing is told with node and interval; what only might have been is not."""

import time

import pytest

from collector import continuity, instants
from schemas import topics
from schemas.hubble import flow_pb2
from tests.collector import builders, harness
from tests.collector.builders import fresh

pytestmark = pytest.mark.slow


def until(gap) -> int:
    return instants.of(gap.until)


def start(gap) -> int:
    return instants.of(getattr(gap, "from"))


def time_of(flow) -> int:
    return instants.of(flow.time)


def test_a_ring_that_ran_over_while_nobody_read_is_a_gap(log, relay):
    """From the newest flow written to the oldest that the ring still holds."""
    relay.node(capacity=10)
    written = harness.Written(log)
    before, after = fresh(5), fresh(50)
    relay.emit(*before)
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 5)
    relay.emit(*after)
    with harness.collecting(log, relay=relay.address) as run:
        harness.wait_for(written.gaps)
        harness.wait_for(lambda: len(written.uuids()) == 15)
    (gap,) = written.gaps()
    assert (gap.node, gap.reason) == ("demo/n1", "ring-overrun")
    assert start(gap) == time_of(before[-1])
    assert until(gap) == time_of(after[40])
    assert run.metric("gaps_total", node="demo/n1", reason="ring-overrun") == 1


def test_only_the_node_that_ran_over_has_a_gap(log, relay):
    """A quiet node beside it, whose watermark its ring still holds, has none."""
    relay.node(capacity=10)
    written = harness.Written(log)
    relay.emit(*fresh(5), *fresh(5, node="demo/n2"))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 10)
    relay.emit(*fresh(50), *fresh(50, node="demo/n2"))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 70)
        harness.wait_for(written.gaps)
    assert [gap.node for gap in written.gaps()] == ["demo/n1"]


def test_a_gap_is_written_once_however_often_the_collector_starts(log, relay):
    """The checkpoint that goes with the gap says that it was told."""
    relay.node(capacity=10)
    written = harness.Written(log)
    relay.emit(*fresh(5))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 5)
    relay.emit(*fresh(50))
    for _ in range(3):
        with harness.collecting(log, relay=relay.address):
            relay.emit(*(more := fresh(1)))
            harness.wait_for(lambda: more[0].uuid in written.counts())
            harness.wait_for(written.gaps)
    assert len(written.gaps()) == 1


def test_what_a_standby_saw_behind_a_gap_does_not_hide_it(log, relay):
    """Its stream began after the loss; the test of the rings comes before what it holds."""
    relay.node(capacity=10)
    written = harness.Written(log)
    before, after = fresh(5), fresh(50)
    relay.emit(*before)
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 5)
    active = log.consumer("picket-collector-demo", [topics.COLLECTOR.name])
    harness.wait_for(lambda: active.poll(timeout=0.1) is not None and active.assignment())
    relay.emit(*after)
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: relay.sent >= 10)
        passed = time.monotonic() + 0.5
        harness.wait_for(lambda: time.monotonic() > passed)
        active.close()
        (gap,) = harness.wait_for(written.gaps)
    assert (start(gap), until(gap)) == (time_of(before[-1]), time_of(after[40]))


def test_what_a_standby_saw_behind_a_hole_does_not_hide_it_from_the_next(log, relay):
    """It took over and died before relay had brought what came before its own stream."""
    written = harness.Written(log)
    now = instants.of_seconds(time.time())
    before = [builders.a_flow(at=now - 60 * instants.SECOND + index) for index in range(5)]
    between = [builders.a_flow(at=now - 30 * instants.SECOND + index) for index in range(5)]
    relay.emit(*before)
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 5)
    relay.emit(*between)
    active = log.consumer("picket-collector-demo", [topics.COLLECTOR.name])
    harness.wait_for(lambda: active.poll(timeout=0.1) is not None and active.assignment())
    relay.slow_before = now - 20 * instants.SECOND
    sent = relay.sent
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: relay.open_streams)
        relay.emit(*(after := fresh(3)))
        harness.wait_for(lambda: relay.sent >= sent + 3)
        active.close()
        harness.wait_for(lambda: len(written.uuids()) == 8)
    relay.slow_before = 0
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 13)
        harness.wait_for(lambda: not written.checkpoint().nodes[0].suspected)
    assert written.counts() == {flow.uuid: 1 for flow in before + between + after}
    assert not written.gaps()


def test_a_suspicion_outlives_the_collector_that_had_it(log, relay, monkeypatch):
    """It is in the log before any flow that may stand behind the gap."""
    relay.node(capacity=10)
    written = harness.Written(log)
    relay.emit(*(before := fresh(5)))
    with harness.collecting(log, relay=relay.address, checkpoint_seconds=30) as run:
        harness.wait_for(lambda: len(written.uuids()) == 5)
        monkeypatch.setattr(continuity, "GRACE_SECONDS", 3600.0)
        with relay.condition:
            relay.break_streams()
            relay.emit(*(after := fresh(50)))
        harness.wait_for(lambda: len(written.uuids()) == 15)
        log.producer("picket-collector-demo").close()
        relay.emit(*fresh(1))
        harness.wait_for(lambda: run.metric("active") == 0)
        assert not written.gaps()
        monkeypatch.setattr(continuity, "GRACE_SECONDS", 0.5)
        (gap,) = harness.wait_for(written.gaps)
    assert start(gap) == time_of(before[-1])
    assert until(gap) >= time_of(after[40])


def test_a_ring_full_of_unwanted_flows_is_no_gap_while_it_was_watched(log, relay):
    """The last denial has left the ring, but nothing was denied since: the looks have shown it."""
    relay.node(capacity=20)
    written = harness.Written(log)
    relay.emit(*fresh(1))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 1)
        relay.emit(*(noise := fresh(50, verdict=flow_pb2.FORWARDED)))
        seen = time_of(noise[-1])
        harness.wait_for(lambda: _seen_until(written) >= seen)
    relay.emit(*fresh(10, verdict=flow_pb2.FORWARDED), *(denied := fresh(1)))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: denied[0].uuid in written.counts())
        harness.wait_for(lambda: _seen_until(written) >= time_of(denied[0]))
    assert not written.gaps()


def test_a_ring_that_ran_over_with_unwanted_flows_may_have_held_wanted_ones(log, relay):
    """Nobody can know any more: that is a gap."""
    relay.node(capacity=20)
    written = harness.Written(log)
    relay.emit(*fresh(1))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 1)
    relay.emit(*(noise := fresh(50, verdict=flow_pb2.FORWARDED)))
    with harness.collecting(log, relay=relay.address):
        (gap,) = harness.wait_for(written.gaps)
    assert until(gap) == time_of(noise[30])


def test_a_node_whose_connection_broke_and_came_back_has_no_gap(log, relay):
    """Relay replays its ring from the stream's first moment: nothing twice, nothing missing."""
    written = harness.Written(log)
    flows = fresh(20)
    relay.emit(*flows)
    with harness.collecting(log, relay=relay.address) as run:
        harness.wait_for(lambda: len(written.uuids()) == 20)
        flows += (more := fresh(20))
        relay.fail("demo/n1")
        relay.emit(*more)
        harness.wait_for(lambda: len(written.uuids()) == 40)
        harness.wait_for(lambda: run.metric("duplicates_total", by="uuid") >= 20)
        time_passed = time.monotonic() + 2
        harness.wait_for(lambda: time.monotonic() > time_passed)
    assert written.counts() == {flow.uuid: 1 for flow in flows}
    assert not written.gaps()


def test_a_node_that_restarted_lost_its_ring(log, relay):
    """Between the last flow before and the first after, flows may be missing; so it is told."""
    written = harness.Written(log)
    relay.emit(*(before := fresh(20)))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 20)
        harness.wait_for(lambda: _seen_until(written) >= time_of(before[-1]))
        node = relay.node()
        with relay.condition:
            node.connected = False
            node.restart()
        relay.fail("demo/n1")
        harness.wait_for(lambda: any("demo/n1" in batch.nodes_away for batch in written.batches()))
        with relay.condition:
            node.connected = True
        relay.emit(*(after := fresh(5)))
        (gap,) = harness.wait_for(written.gaps)
        harness.wait_for(lambda: not written.batches()[-1].nodes_away)
    assert (gap.node, gap.reason) == ("demo/n1", "node-unavailable")
    assert start(gap) <= time_of(before[-1])
    assert until(gap) == time_of(after[0])


def test_a_node_that_relay_forgot_is_noticed_and_read_again(log, relay):
    """Its ring holds a flow that does not arrive: the stream is opened anew."""
    written = harness.Written(log)
    relay.emit(*(flows := fresh(5)))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 5)
        relay.forget("demo/n1")
        flows += (more := fresh(5))
        relay.emit(*more)
        harness.wait_for(lambda: len(written.uuids()) == 10)
    assert written.counts() == {flow.uuid: 1 for flow in flows}
    assert not written.gaps()


def test_a_node_with_a_new_address_is_read_again(log, relay):
    """Relay closes the old connection and never attaches the new one to a running stream."""
    written = harness.Written(log)
    with harness.collecting(log, relay=relay.address):
        relay.emit(*fresh(1))
        harness.wait_for(lambda: len(written.uuids()) == 1)
        streams = len(relay.requests)
        harness.wait_for(lambda: relay.open_streams == 1)
        passed = time.monotonic() + 1.2
        harness.wait_for(lambda: time.monotonic() > passed)
        relay.node().address = "10.0.0.9:4244"
        harness.wait_for(lambda: len(relay.requests) > streams)


def test_lost_events_are_passed_on_once(log, relay):
    """They have no uuid: node, time, source and processor tell them apart."""
    written = harness.Written(log)
    at = instants.of_seconds(time.time())
    relay.emit(*fresh(2), builders.lost(at=at, cpu=0), builders.lost(at=at, cpu=1))
    with harness.collecting(log, relay=relay.address) as run:
        harness.wait_for(lambda: len(written.responses()) == 4)
        relay.break_streams()
        relay.emit(*fresh(1))
        harness.wait_for(lambda: len(written.uuids()) == 3)
        harness.wait_for(lambda: run.metric("duplicates_total", by="uuid") >= 3)
        lost = run.metric("lost_events_total", node="demo/n1", source="PERF_EVENT_RING_BUFFER")
    assert sum(item.HasField("lost_events") for item in written.responses()) == 2
    assert lost == 14


def test_a_ring_that_overtakes_the_stream_is_a_gap(log, relay):
    """Hubble says so in a lost event of its own ring; it names no flow, but node and time."""
    written = harness.Written(log)
    relay.emit(*(flows := fresh(2)))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 2)
        passed = time.monotonic() + 1
        harness.wait_for(lambda: time.monotonic() > passed)
        now = instants.of_seconds(time.time())
        relay.emit(builders.lost(at=now, source=flow_pb2.HUBBLE_RING_BUFFER, cpu=None))
        (gap,) = harness.wait_for(written.gaps)
    assert (start(gap), until(gap)) == (time_of(flows[-1]), now)


def test_relays_own_name_is_never_a_watermark(log, relay):
    """Node states carry relay's host: the checkpoint knows nodes only."""
    written = harness.Written(log)
    relay.emit(*fresh(3))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 3)
    assert [node.node for node in written.checkpoint().nodes] == ["demo/n1"]


def test_asks_since_the_oldest_watermark_of_the_nodes_that_are_there(log, relay):
    """A node that left the cluster does not hold the others back."""
    written = harness.Written(log)
    relay.emit(*fresh(1, node="demo/gone"))
    relay.emit(*(kept := fresh(1)))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 2)
    del relay.nodes["demo/gone"]
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: relay.open_streams == 1)
        harness.wait_for(lambda: instants.of(followed(relay).since) == time_of(kept[0]))
    assert followed(relay).number == 1


def followed(relay):
    """Return what the newest stream asked for; looks at the rings are requests as well."""
    return [request for request in relay.requests if request.follow][-1]


def test_never_asks_for_more_than_the_retention(log, relay):
    """A first collector reads what the rings hold, but no further back than that."""
    begin = instants.of_seconds(time.time())

    def furthest() -> int:
        asked = [instants.of(request.since) for request in relay.requests if request.follow]
        return max((begin - since for since in asked), default=0)

    with harness.collecting(log, relay=relay.address, retention_hours=2):
        # Before that one it may have asked as a standby: for the last seconds only.
        harness.wait_for(lambda: furthest() > 3600 * instants.SECOND)
    assert abs(furthest() - 7200 * instants.SECOND) < 60 * instants.SECOND


def test_what_time_alone_decided_is_counted(log, relay):
    """Where the uuids are no longer read from the log, the watermark tells old flows from new ones."""
    written = harness.Written(log)
    relay.emit(*(old := fresh(10)))
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: len(written.uuids()) == 10)
    harness.forget_uuids(log)
    relay.emit(*(new := fresh(3)))
    with harness.collecting(log, relay=relay.address) as run:
        harness.wait_for(lambda: len(written.uuids()) == 13)
        harness.wait_for(lambda: run.metric("duplicates_total", by="time") >= 1)
    assert written.counts() == {flow.uuid: 1 for flow in old + new}
    assert sum(batch.duplicates_by_time for batch in written.batches()) >= 1


def _seen_until(written: harness.Written) -> int:
    checkpoint = written.checkpoint()
    if checkpoint is None or not checkpoint.nodes:
        return 0
    return min(instants.of(node.seen_until) for node in checkpoint.nodes)
