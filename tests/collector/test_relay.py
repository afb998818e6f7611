"""Flows of a living cluster reach the log once each, whatever breaks on the way."""

import threading
import time

import pytest

from collector import instants, relay_channel
from schemas.hubble import flow_pb2
from schemas.picket.v1 import flows_pb2
from tests.collector import builders, harness
from tests.collector.builders import fresh

pytestmark = pytest.mark.slow


def test_what_nodes_see_reaches_the_log_byte_for_byte(log, relay):
    """Each response stands in a batch exactly as it was received."""
    flows = fresh(50) + fresh(50, node="demo/n2")
    with harness.collecting(log, relay=relay.address):
        relay.emit(*flows)
        written = harness.Written(log)
        harness.wait_for(lambda: len(written.uuids()) == 100)
    sent = {builders.a_response(flow).SerializeToString() for flow in flows}
    assert {raw for batch in written.batches() for raw in batch.responses} == sent


def test_only_denials_are_asked_for_unless_told_otherwise(log, relay):
    """The default filter takes verdict and L7 events that were dropped or audited."""
    with harness.collecting(log, relay=relay.address):
        wanted = fresh(1) + fresh(1, event=129) + fresh(1, verdict=flow_pb2.AUDIT)
        relay.emit(*wanted, *fresh(1, event=1), *fresh(1, verdict=flow_pb2.FORWARDED))
        relay.emit(*(last := fresh(1)))
        written = harness.Written(log)
        harness.wait_for(lambda: last[0].uuid in written.counts())
    assert written.counts() == {flow.uuid: 1 for flow in wanted + last}


def test_a_broken_stream_is_opened_again_since_the_watermark(log, relay):
    """What happened while relay was away is read from the rings, and nothing twice."""
    with harness.collecting(log, relay=relay.address) as run:
        first = fresh(100)
        relay.emit(*first)
        written = harness.Written(log)
        harness.wait_for(lambda: len(written.uuids()) == 100)
        # Only the active one's stream is left by then.
        harness.wait_for(lambda: relay.open_streams == 1 and len(relay.requests) == 2)
        relay.break_streams()
        second = fresh(100)
        relay.emit(*second)
        harness.wait_for(lambda: len(written.uuids()) == 200)
        harness.wait_for(lambda: run.metric("reconnects_total") >= 1)
        harness.wait_for(lambda: run.metric("duplicates_total", by="uuid") >= 1)
    assert written.counts() == {flow.uuid: 1 for flow in first + second}
    assert not written.gaps()


def test_a_new_collector_goes_on_where_the_last_one_stopped(log, relay):
    """Stopped and started, with flows in between: each stands in the log once."""
    written = harness.Written(log)
    flows = []
    for _ in range(3):
        flows += (more := fresh(40))
        relay.emit(*more)
        with harness.collecting(log, relay=relay.address):
            written.wait_for(len(flows))
    assert written.counts() == {flow.uuid: 1 for flow in flows}
    assert not written.gaps()


def test_what_rings_held_before_the_first_start_is_read_however_slow_relay_is(
    log, relay, monkeypatch
):
    """The standby's stream has brought newer flows before relay says which nodes there are."""
    old = builders.a_flow(at=instants.of_seconds(time.time()) - 60 * instants.SECOND)
    relay.emit(old, *(new := fresh(3)))
    written = harness.Written(log)
    asked = relay_channel.Relay.nodes
    streams = []

    def slowly(self):
        if threading.current_thread().name == "relay stream":
            streams.append(threading.current_thread())
            if len(streams) > 1:
                written.wait_for(3)
        return asked(self)

    monkeypatch.setattr(relay_channel.Relay, "nodes", slowly)
    with harness.collecting(log, relay=relay.address):
        written.wait_for(4)
    assert written.counts() == {flow.uuid: 1 for flow in [old, *new]}


def test_heartbeats_tell_how_far_the_stream_was_read(log, relay):
    """Without flows, batches without responses go on saying that the stream is live."""
    with harness.collecting(log, relay=relay.address):
        relay.emit(*fresh(3))
        written = harness.Written(log)

        def live() -> list[int]:
            return [
                instants.of(batch.read_until)
                for batch in written.batches()
                if batch.state == flows_pb2.LIVE and not batch.responses
            ]

        seen = harness.wait_for(lambda: (found := live()) and len(found) >= 2 and found)
    assert seen == sorted(seen)
    assert seen[-1] > seen[0] > instants.of_seconds(time.time() - 60)


def test_without_a_relay_the_stream_is_blind(log):
    """Where nobody listens the log hears that nothing is seen."""
    with harness.collecting(log, relay="127.0.0.1:1"):
        written = harness.Written(log)
        harness.wait_for(lambda: flows_pb2.BLIND in written.states())
