"""Flows that relay's sorting holds back are read beside the stream, and stand in the log once."""

import time

import pytest

from collector import instants, relay_ahead, sieve, windows
from collector.relay_ahead import Load, pace, since
from tests.collector import builders, harness, process
from tests.collector.builders import fresh
from tests.parts import nodes as parts
from tests.parts import relay as relays
from tests.parts.synthetic import mix

pytest_plugins = ["tests.parts.relay"]
S = instants.SECOND
FOREVER = 2**62
SECOND_NODE = "demo/n2"


@pytest.fixture
def sorting(relay, monkeypatch):
    """A relay of two nodes whose streams bring nothing until `slow_before` is 0 again."""
    monkeypatch.setattr(relay_ahead, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(relay_ahead, "IDLE_SECONDS", 0.05)
    relay.node(SECOND_NODE)
    return relay


def attached(relay):
    """Wait until a collector reads ahead; then let the streams stand still."""
    harness.wait_for(lambda: relay.open_streams == 1 and len(relay.requests) == 2)
    harness.wait_for(lambda: relay.readings)
    relay.slow_before = FOREVER


def raw(flow):
    return builders.a_response(flow).SerializeToString()


@pytest.mark.slow
def test_a_flow_that_the_stream_holds_back_is_written_at_once(log, sorting):
    """And not again when the stream brings it."""
    written = harness.Written(log)
    with harness.collecting(log, relay=sorting.address) as run:
        sorting.emit(*fresh(3))
        written.wait_for(3)
        attached(sorting)
        before = run.metric("flows_ahead_total")
        duplicates = run.metric("duplicates_total", by="uuid")
        sorting.emit(*fresh(1), *fresh(1, node=SECOND_NODE))
        harness.wait_for(lambda: run.metric("flows_ahead_total") == before + 2)
        written.wait_for(5)
        sorting.slow_before = 0
        sorting.emit(*(last := fresh(1)))
        harness.wait_for(lambda: last[0].uuid in written.counts())
        assert run.metric("duplicates_total", by="uuid") == duplicates
    assert set(written.counts().values()) == {1}


@pytest.mark.slow
def test_a_later_flow_read_ahead_never_hides_an_earlier_one(log, sorting):
    """The stream has yet to bring the earlier one when the collector dies: the next one asks."""
    written = harness.Written(log)
    now = instants.of_seconds(time.time())
    first = builders.a_flow(at=now - 40 * S)
    # Too old for a reading, so that only the stream brings it.
    early, late = builders.a_flow(at=now - 30 * S), builders.a_flow(at=now)
    sorting.emit(first)
    with harness.collecting(log, relay=sorting.address):
        written.wait_for(1)
        attached(sorting)
        sorting.emit(early, late)
        written.wait_for(2)
        assert late.uuid in written.counts()
    # It wrote its last checkpoint when it ended.
    assert instants.of(written.checkpoint().nodes[0].newest) == instants.of(first.time)
    sorting.slow_before = 0
    with harness.collecting(log, relay=sorting.address):
        harness.wait_for(lambda: early.uuid in written.counts())
    assert set(written.counts().values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize("reach", ["scanned", "marked"])
def test_what_was_read_ahead_is_known_to_the_next_collector(log, sorting, monkeypatch, reach):
    """From the log after the mark, or from the checkpoint where it stands before the mark."""
    if reach == "marked":
        # Every transaction sets a mark.
        monkeypatch.setattr("collector.checkpoints.SCANNED", 0)
    written = harness.Written(log)
    sorting.emit(*fresh(2), *fresh(2, node=SECOND_NODE))
    with harness.collecting(log, relay=sorting.address):
        written.wait_for(4)
        attached(sorting)
        sorting.emit(*fresh(2), *fresh(2, node=SECOND_NODE))
        written.wait_for(8)
        checkpoint = written.checkpoint
        if reach == "marked":
            harness.wait_for(lambda: sum(len(node.ahead) for node in checkpoint().nodes) == 4)
    sorting.slow_before = 0
    with harness.collecting(log, relay=sorting.address):
        sorting.emit(*(last := fresh(1) + fresh(1, node=SECOND_NODE)))
        harness.wait_for(lambda: {flow.uuid for flow in last} <= written.counts().keys())
    assert set(written.counts().values()) == {1}
    assert not written.gaps()


@pytest.mark.slow
def test_reading_ahead_does_not_hide_that_a_node_is_no_longer_streamed(log, sorting):
    """Its flows come all the same, and the stream is opened anew as without."""
    written = harness.Written(log)
    with harness.collecting(log, relay=sorting.address) as run:
        sorting.emit(*(first := fresh(1) + fresh(1, node=SECOND_NODE)))
        written.wait_for(2)
        harness.wait_for(lambda: sorting.open_streams == 1 and len(sorting.requests) == 2)
        harness.wait_for(lambda: sorting.readings)
        sorting.forget(SECOND_NODE)
        sorting.emit(*(more := fresh(1, node=SECOND_NODE)))
        written.wait_for(3)
        assert run.metric("reconnects_total") == 0
        harness.wait_for(lambda: run.metric("reconnects_total") == 1)
        sorting.emit(*(last := fresh(1, node=SECOND_NODE)))
        harness.wait_for(
            lambda: (
                max(instants.of(node.newest) for node in written.checkpoint().nodes)
                == instants.of(last[0].time)
            )
        )
    assert written.counts() == {flow.uuid: 1 for flow in first + more + last}


@pytest.mark.slow
def test_failures_never_reach_the_stream(log, sorting):
    """Counted, and the flows come as they did without."""
    sorting.failing = True
    written = harness.Written(log)
    with harness.collecting(log, relay=sorting.address) as run:
        harness.wait_for(lambda: run.metric("readings_ahead_total", result="failed"))
        sorting.emit(*fresh(5))
        written.wait_for(5)
        assert run.metric("reconnects_total") == 0
        sorting.failing = False
        harness.wait_for(lambda: run.metric("readings_ahead_total", result="read"), seconds=60)


@pytest.mark.slow
def test_it_can_be_turned_off_and_one_node_does_without(log, sorting):
    """The stream alone then brings all."""
    written = harness.Written(log)
    with harness.collecting(log, relay=sorting.address, read_ahead=False):
        sorting.emit(*fresh(2))
        written.wait_for(2)
    del sorting.nodes[SECOND_NODE]
    with harness.collecting(log, relay=sorting.address):
        sorting.emit(*fresh(2))
        written.wait_for(4)
    assert not sorting.readings


@pytest.mark.parametrize(
    ("load", "seconds"),
    [
        (Load(nodes=1, ring=4095, rate=0), None),
        (Load(nodes=3, ring=4095, rate=2), relay_ahead.BUSY_SECONDS),
        (Load(nodes=3, ring=4095, rate=8), relay_ahead.BUSY_SECONDS),
        (Load(nodes=3, ring=4095, rate=9), None),
        (Load(nodes=10, ring=4095, rate=0), relay_ahead.IDLE_SECONDS),
        (Load(nodes=100, ring=4095, rate=50), 100 / relay_ahead.NODES_A_SECOND),
        (Load(nodes=500, ring=4095, rate=129), 500 / relay_ahead.NODES_A_SECOND),
        (Load(nodes=500, ring=4095, rate=130), None),
        (Load(nodes=3, ring=65535, rate=1), 65535 / relay_ahead.EVENTS_A_SECOND),
    ],
)
def test_it_reads_only_where_flows_would_wait(load, seconds):
    """And the less often, the more it costs relay and nodes."""
    assert pace(load) == seconds


def test_a_reading_goes_back_as_far_as_something_may_be_new():
    """To the last one, or to the newest flow where a node's clock is behind; never much further."""
    late = relay_ahead.LATE
    assert since(before=100 * S, newest=101 * S) == 100 * S - late
    assert since(before=100 * S, newest=97 * S) == 97 * S - late
    assert since(before=100 * S, newest=0) == 100 * S - relay_ahead.FURTHEST - late


def test_what_comes_ahead_says_nothing_of_how_far_a_node_was_read():
    """Only the stream moves the watermark: by a flow that it brings at last as by a new one."""
    seen = windows.Windows()
    sifter = sieve.Sieve(seen)
    first, second, third = (builders.a_flow() for _ in range(3))
    now = instants.of(third.time)
    known = sifter.sift([raw(first)], ahead=[raw(first), raw(third), raw(third)], now=now)
    assert (known.responses, known.ahead) == ([raw(first)], [raw(third)])
    assert seen.newest() == {"demo/n1": instants.of(first.time)}
    assert seen.ahead() == {"demo/n1": {third.uuid}}
    assert not seen.of("demo/n1").knows(third.uuid)
    brought = sifter.sift([raw(second), raw(third)], ahead=[raw(third)], now=now)
    assert (brought.responses, brought.ahead) == ([raw(second)], [])
    assert (brought.duplicates, brought.proofs) == (0, {})
    assert seen.newest() == {"demo/n1": instants.of(third.time)}
    assert seen.ahead() == {}
    again = sifter.sift([raw(third)], now=now)
    assert (again.duplicates, list(again.proofs)) == (1, ["demo/n1"])


def test_only_new_flows_are_taken_of_what_comes_ahead():
    """Lost events, states of nodes and what cannot be read are left to the stream."""
    sifter = sieve.Sieve(windows.Windows())
    lost = builders.lost().SerializeToString()
    nameless = builders.a_flow()
    nameless.uuid = ""
    found = sifter.sift([], ahead=[lost, b"\xff\xff", raw(nameless)], now=builders.START)
    assert (found.ahead, found.lost, found.rejected, found.duplicates) == ([], [], [], 0)


def test_what_the_stream_never_brings_is_not_awaited_for_ever():
    """An agent was restarted: the node's flows went on far behind it; its uuid stays known."""
    seen = windows.Windows()
    sifter = sieve.Sieve(seen)
    gone = builders.a_flow()
    later = builders.a_flow(at=instants.of(gone.time) + windows.SETTLED)
    sifter.sift([], ahead=[raw(gone)], now=instants.of(later.time))
    sifter.sift([raw(later)], now=instants.of(later.time))
    assert seen.ahead() == {}
    assert seen.of("demo/n1").knows(gone.uuid)


@pytest.mark.relay
@pytest.mark.slow
def test_a_trickle_from_ten_nodes_does_not_wait_for_others(hubble, tmp_path):
    """At two flows a second 99 of 100 are in the log within the 2.5 seconds of an alert."""
    assert hubble
    log = harness.a_log(tmp_path)
    happened = {}
    with (
        parts.Nodes(10) as nodes,
        relays.running(tmp_path / "r", nodes.peers, nodes=10) as relay,
        harness.collecting(log, relay=relay.address) as run,
    ):
        denied = [
            name
            for name, scenario in mix.Cast(list(nodes.addresses)).scenarios.items()
            if [mix.counts(step.flow) for step in scenario.steps] == [True, False]
        ]
        harness.wait_for(lambda: run.metric("readings_ahead_total", result="read"))
        began = time.monotonic()
        for number in range(60):
            due = began + number / 2
            harness.wait_for(lambda until=due: time.monotonic() >= until)
            verdict, _ = nodes.play(denied[number % len(denied)], release=False)
            happened[verdict["uuid"]] = verdict["time"] / S
        written = harness.Written(log)
        harness.wait_for(lambda: happened.keys() <= written.counts().keys())
    arrived = dict(harness.Written(log).arrivals())
    delays = sorted(arrived[uuid] - at for uuid, at in happened.items())
    assert delays[int(len(delays) * 0.99)] < 2.5
    assert set(written.counts().values()) == {1}
    log.close()


@pytest.mark.relay
@pytest.mark.slow
def test_kills_among_readings_lose_and_double_nothing(hubble, tmp_path):
    """A trickle from ten nodes, kill -9 again and again: the log holds what was emitted, once."""
    assert hubble
    log = harness.a_log(tmp_path)
    written = harness.Written(log)

    def read_ahead():
        return sum(batch.ahead for batch in written.batches())

    with parts.Nodes(10) as nodes, relays.running(tmp_path / "r", nodes.peers, nodes=10) as relay:
        nodes.start(6, "stopped")
        for _ in range(8):
            with process.killed_at_the_end(str(tmp_path / "log.db"), relay.address):
                before = read_ahead()
                harness.wait_for(lambda seen=before: read_ahead() > seen + 2)
        nodes.stop()
        emitted = nodes.uuids()
        with process.killed_at_the_end(str(tmp_path / "log.db"), relay.address):
            harness.wait_for(lambda: emitted <= written.counts().keys(), what="all that was seen")
    assert written.counts() == dict.fromkeys(emitted, 1)
    assert written.gaps() == []
    log.close()
