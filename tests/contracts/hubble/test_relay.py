"""What a real relay makes of the nodes behind it, as far as Picket relies on it."""

import contextlib
import itertools
import time
from collections.abc import Iterator

import grpc
import pytest

from schemas.hubble import flow_pb2, observer_pb2, relay_pb2
from tests.contracts.hubble.reading import (
    Answer,
    Client,
    eventually,
    moment,
    only_flows,
    uuids,
)
from tests.parts import nodes, relay

pytestmark = [pytest.mark.relay, pytest.mark.timeout(120)]

DENIED = flow_pb2.FlowFilter(
    verdict=[flow_pb2.DROPPED], event_type=[flow_pb2.EventTypeFilter(type=5)]
)
HERE, THERE = "frontend-calls-wrong-port", "player-calls-backend"
"""Scenarios on the first node and on the second."""
TWO = ["demo/n1", "demo/n2"]


@pytest.fixture
def front(hubble: relay.Programs, nodes: nodes.Nodes, tmp_path) -> Iterator[relay.Relay]:
    """A relay before two synthetic nodes."""
    with relay.running(tmp_path / "relay", nodes.peers, nodes=2) as running:
        yield running


@pytest.fixture
def client(front: relay.Relay) -> Iterator[Client]:
    with front.channel() as channel:
        yield Client(channel)


def now():
    return moment(time.time_ns())


def states(answers: list[Answer], state: int) -> list[Answer]:
    """Return the node states of one kind among answers."""
    return [each for each in answers if each.node_status.state_change == state]


def write(nodes: nodes.Nodes, scenario: str, times: int = 1) -> list[str]:
    """Have something happen and return the uuids of its verdicts."""
    return [flow["uuid"] for flow in nodes.play(scenario, times)[::2]]


def test_a_stream_begins_with_the_nodes_that_are_connected(client):
    """Their names are in the event; the answer's own node name is that of relay's host."""
    with client.follow(since=now()) as stream:
        first = stream.until(len, "the first answer")[0]
    assert first.node_status.state_change == relay_pb2.NODE_CONNECTED
    assert sorted(first.node_status.node_names) == TWO
    assert first.node_name not in TWO


def test_the_answer_names_relays_version(front, client):
    call = client.stub.GetFlows(observer_pb2.GetFlowsRequest(number=1), timeout=10)
    list(call)
    headers = dict(call.initial_metadata())
    assert headers["hubble-relay-version"].startswith(relay.VERSION.removeprefix("v"))


def test_each_node_gives_the_number_of_flows_asked_for(nodes, client):
    """So two nodes give twice as many."""
    expected = {*write(nodes, HERE, 5)[-3:], *write(nodes, THERE, 5)[-3:]}
    assert set(uuids(client.flows(number=3, whitelist=[DENIED]))) == expected


def test_relay_lists_its_nodes_with_their_rings(nodes, client):
    write(nodes, HERE)
    known = client.nodes()
    assert sorted(known) == TWO
    for name, node in known.items():
        assert node.state == relay_pb2.NODE_CONNECTED
        assert node.address == nodes.addresses[name]
        assert (node.max_flows, node.num_flows) == (4095, node.seen_flows)
    status = client.status()
    assert (status.num_connected_nodes.value, status.num_unavailable_nodes.value) == (2, 0)
    assert status.seen_flows == sum(node.seen_flows for node in known.values())


def test_a_node_that_is_down_is_unavailable_and_named(nodes, client):
    nodes.do("down", node="demo/n2")
    assert client.status().num_unavailable_nodes.value == 1
    assert list(client.status().unavailable_nodes) == ["demo/n2"]
    assert client.nodes()["demo/n2"].state != relay_pb2.NODE_CONNECTED
    nodes.do("up", node="demo/n2")
    eventually(lambda: not client.status().num_unavailable_nodes.value, "the node is back")


def test_agents_events_are_not_offered(client):
    with pytest.raises(grpc.RpcError) as refused:
        list(client.stub.GetAgentEvents(observer_pb2.GetAgentEventsRequest(), timeout=5))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_trickle_waits_in_the_heap_unless_the_number_makes_it_small(nodes, client):
    """Four flows a second would fill the heap of a hundred in 25 s; with `number` it holds two."""
    begin = now()
    with (
        client.follow(since=begin, whitelist=[DENIED]) as slow,
        client.follow(since=begin, whitelist=[DENIED], number=1) as quick,
    ):
        for stream in (slow, quick):
            stream.until(len, "the connected nodes")
        written = []
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            written += write(nodes, HERE)
            with contextlib.suppress(AssertionError):
                slow.stays_without(lambda each: each.HasField("flow"), 0.25)
        assert only_flows(slow.answers) == []
        assert set(uuids(only_flows(quick.answers))) >= set(written[:-3])


def test_a_node_whose_stream_broke_is_asked_again_from_the_first_since(nodes, client):
    """It sends its ring again, under the same uuids; no second NODE_CONNECTED says so."""
    begin = now()
    first = write(nodes, HERE, 3)
    with client.follow(since=begin, whitelist=[DENIED], number=1) as stream:
        write(nodes, HERE)
        stream.until_flow(first[-1])
        nodes.do("cut", node="demo/n1")
        last = write(nodes, HERE, 3)[0]
        got = stream.until_flow(last)
        assert uuids(only_flows(got)).count(first[0]) == 2
        eventually(
            lambda: states(stream.answers, relay_pb2.NODE_ERROR) != [],
            "the word of the broken stream",
            meanwhile=lambda: write(nodes, THERE),
        )
        (error,) = states(stream.answers, relay_pb2.NODE_ERROR)
        assert list(error.node_status.node_names) == ["demo/n1"]
        assert "EOF" in error.node_status.message
        assert len(states(stream.answers, relay_pb2.NODE_CONNECTED)) == 1


def test_a_node_that_was_down_goes_on_in_the_same_stream(nodes, client):
    """With an empty ring and new uuids: what it had not sent is gone, and nothing says so."""
    begin = now()
    with client.follow(since=begin, whitelist=[DENIED], number=1) as stream:
        lost = write(nodes, HERE, 2)
        nodes.do("clear", node="demo/n1")
        after = write(nodes, HERE, 3)
        eventually(
            lambda: after[0] in uuids(only_flows(stream.answers)),
            "flows after the restart",
            meanwhile=lambda: write(nodes, HERE),
        )
        assert not set(lost) & set(uuids(client.flows(since=begin, whitelist=[DENIED])))


def test_a_node_whose_stream_ended_in_good_order_is_never_asked_again(nodes, client):
    """Relay calls it connected all the while; only a new request brings its flows."""
    begin = now()
    with client.follow(since=begin, whitelist=[DENIED], number=1) as stream:
        first = write(nodes, HERE, 2)
        stream.until_flow(first[0])
        nodes.do("end", node="demo/n1")
        silent = set(write(nodes, HERE, 2))
        # Relay looks for nodes without a stream every two seconds.
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            last = write(nodes, THERE, 2)[0]
            stream.until_flow(last)
        assert not silent & set(uuids(only_flows(stream.answers)))
        assert states(stream.answers, relay_pb2.NODE_ERROR) == []
        assert client.nodes()["demo/n1"].state == relay_pb2.NODE_CONNECTED
    assert silent <= set(uuids(client.flows(since=begin, whitelist=[DENIED])))


def test_a_node_that_joins_is_attached_to_streams_that_are_open(nodes, client):
    nodes.do("leave", node="demo/n2")
    eventually(lambda: len(client.nodes()) == 1, "one node")
    begin = now()
    with client.follow(since=begin, whitelist=[DENIED], number=1) as stream:
        stream.until(len, "the connected nodes")
        nodes.do("join-cluster", node="demo/n2")
        eventually(
            lambda: "demo/n2" in {each.node_name for each in stream.answers},
            "flows of the new node",
            meanwhile=lambda: write(nodes, THERE),
        )


def test_relay_comes_back_on_its_port_and_lost_nothing(nodes, front, client):
    begin = now()
    before = write(nodes, HERE, 2)
    with client.follow(since=begin, whitelist=[DENIED], number=1) as stream:
        stream.until_flow(before[0])
        front.stop()
        assert stream.ended() is grpc.StatusCode.UNAVAILABLE
    during = write(nodes, HERE, 2)
    front.start(nodes=2)
    assert uuids(client.flows(since=begin, whitelist=[DENIED])) == [*before, *during]


def test_order_holds_within_a_node(nodes, client):
    begin = now()
    nodes.start(2000, "everyday", count=3000)
    nodes.join()
    flows = client.flows(since=begin)
    assert {flow.node_name for flow in flows} == set(TWO)
    for _, of_node in itertools.groupby(sorted(flows, key=_node), key=_node):
        times = [flow.time.ToNanoseconds() for flow in of_node]
        assert times == sorted(times)


def test_ten_thousand_flows_a_second_arrive_whole(nodes, client):
    """What the nodes put into their rings is what a client of relay gets, flow by flow."""
    stopped = flow_pb2.FlowFilter(
        verdict=[flow_pb2.DROPPED, flow_pb2.AUDIT],
        event_type=[flow_pb2.EventTypeFilter(type=number) for number in (5, 129)],
    )
    with client.follow(since=now(), whitelist=[stopped], number=1) as stream:
        stream.until(len, "the connected nodes")
        nodes.start(10_000, "everyday", count=20_000)
        books = nodes.join()
        got = stream.until(
            lambda got: len(only_flows(got)) >= books["counted"], "all that was written"
        )
    assert set(uuids(only_flows(got))) == nodes.uuids()
    assert len(only_flows(got)) == books["counted"] > 2000


@pytest.mark.parametrize("mutual", [False, True])
def test_relay_speaks_tls_to_those_who_trust_it(hubble, nodes, tmp_path, mutual):
    tls = relay.certify(tmp_path / "tls", mutual=mutual)
    with relay.running(tmp_path / "relay", nodes.peers, nodes=2, tls=tls) as front:
        assert front.status().num_connected_nodes.value == 2
        wrong = grpc.ssl_channel_credentials(tls.wrong_ca_file.read_bytes())
        anonymous = grpc.ssl_channel_credentials(tls.ca_file.read_bytes())
        options = [("grpc.ssl_target_name_override", relay.SERVER_NAME)]
        for credentials, accepted in ((wrong, False), (anonymous, not mutual)):
            with grpc.secure_channel(front.address, credentials, options) as channel:
                if accepted:
                    assert Client(channel).status().num_connected_nodes.value == 2
                    continue
                with pytest.raises(grpc.RpcError) as refused:
                    Client(channel).status()
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def _node(flow: flow_pb2.Flow) -> str:
    return flow.node_name
