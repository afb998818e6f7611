"""What a node's GetFlows promises: where a reading starts and ends, and what is in it."""

import grpc
import pytest
from google.protobuf import field_mask_pb2

from schemas.hubble import flow_pb2, observer_pb2
from tests.contracts.hubble.agents import Agent
from tests.contracts.hubble.reading import moment, only_flows, uuids

pytestmark = pytest.mark.timeout(60)

VERDICT = flow_pb2.FlowFilter(event_type=[flow_pb2.EventTypeFilter(type=5)])
DROP = flow_pb2.FlowFilter(event_type=[flow_pb2.EventTypeFilter(type=1)])
DENIED = flow_pb2.FlowFilter(
    verdict=[flow_pb2.DROPPED], event_type=[flow_pb2.EventTypeFilter(type=5)]
)


def denials(agent: Agent, times: int) -> list[flow_pb2.Flow]:
    """Have so many calls denied and return their verdicts."""
    agent.happen(times)
    return agent.client.flows(number=times, whitelist=[DENIED])


def test_a_denied_call_is_a_verdict_and_then_a_drop_event_with_another_uuid(agent: Agent):
    """So whoever counts both counts twice."""
    agent.happen()
    verdict, drop = agent.client.flows(
        number=2, whitelist=[flow_pb2.FlowFilter(drop_reason_desc=[flow_pb2.POLICY_DENIED])]
    )
    assert (verdict.event_type.type, drop.event_type.type) == (5, 1)
    assert drop.event_type.sub_type == flow_pb2.POLICY_DENIED
    assert verdict.uuid != drop.uuid
    assert verdict.l4 == drop.l4
    assert 0 <= drop.time.ToNanoseconds() - verdict.time.ToNanoseconds() < 1_000_000_000
    assert not drop.policy_match_type
    assert not drop.HasField("is_reply")


def test_an_answer_carries_node_and_time_of_its_flow(agent: Agent):
    agent.happen()
    answers = [each for each in agent.client.read(first=True) if each.HasField("flow")]
    assert answers
    for answer in answers:
        assert answer.node_name == answer.flow.node_name == agent.name
        assert answer.time == answer.flow.time


def test_a_uuid_is_made_once_an_event(agent: Agent):
    """It is the same in every reading, and never two flows'."""
    agent.happen(3)
    first, second = agent.client.flows(first=True), agent.client.flows(first=True)
    assert uuids(first) == uuids(second)[: len(first)]
    assert len(set(uuids(first))) == len(first)


def test_times_grow_within_a_node(agent: Agent):
    agent.happen(5)
    times = [flow.time.ToNanoseconds() for flow in agent.client.flows(first=True)]
    assert times == sorted(times)


def test_since_is_inclusive(agent: Agent):
    """So asking from the newest time that one has brings that flow again."""
    flows = denials(agent, 4)
    again = agent.client.flows(since=flows[2].time, whitelist=[DENIED])
    assert uuids(again) == uuids(flows[2:])
    later = moment(flows[2].time.ToNanoseconds() + 1)
    assert uuids(agent.client.flows(since=later, whitelist=[DENIED])) == uuids(flows[3:])


def test_until_is_inclusive(agent: Agent):
    flows = denials(agent, 4)
    some = agent.client.flows(since=flows[0].time, until=flows[2].time, whitelist=[DENIED])
    assert uuids(some) == uuids(flows[:3])


def test_number_gives_the_newest_and_with_first_the_oldest(agent: Agent):
    flows = denials(agent, 5)
    assert uuids(agent.client.flows(number=2, whitelist=[DENIED])) == uuids(flows[3:])
    oldest = agent.client.flows(first=True, number=2, whitelist=[DENIED])
    every = agent.client.flows(first=True, whitelist=[DENIED])
    assert uuids(oldest) == uuids(every[:2])


def test_since_beats_number_where_a_stream_follows(agent: Agent):
    """The trick by which relay's heap is made small rests on it."""
    flows = denials(agent, 5)
    with agent.client.follow(since=flows[0].time, number=1, whitelist=[DENIED]) as stream:
        stream.until_flow(flows[-1].uuid)
        assert uuids(only_flows(stream.answers)) == uuids(flows)


def test_first_and_follow_are_refused(agent: Agent):
    with pytest.raises(grpc.RpcError) as refused:
        agent.client.read(first=True, follow=True)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_following_without_a_start_gives_new_flows_and_one_old_at_most(agent: Agent):
    old = denials(agent, 5)
    before = agent.client.flows(first=True)
    with agent.client.follow() as stream:
        stream.until(lambda got: len(got) == 1, "one old flow")
        assert uuids(only_flows(stream.answers)) == uuids(before[-1:])
        new = denials(agent, 2)
        stream.until_flow(new[-1].uuid)
        got = uuids(only_flows(stream.answers))
    assert set(uuids(new)) <= set(got)
    assert not set(got[1:]) & set(uuids(old))


def test_following_since_gives_the_old_and_then_the_new(agent: Agent):
    old = denials(agent, 3)
    with agent.client.follow(since=old[1].time, whitelist=[DENIED]) as stream:
        stream.until_flow(old[-1].uuid)
        new = denials(agent, 2)
        stream.until_flow(new[-1].uuid)
        assert uuids(only_flows(stream.answers)) == uuids([*old[1:], *new])


def test_the_newest_event_waits_for_the_next_one(agent: Agent):
    """No reading reaches it, neither number nor first nor a stream; any event lets it through."""
    agent.nudge()
    before = agent.client.flows(first=True)
    with agent.client.follow(since=before[-1].time) as stream:
        stream.until_flow(before[-1].uuid)
        agent.nudge()
        after = agent.client.flows(first=True)
        # What `before` could not reach was the newest; now it is the last but one.
        assert uuids(after)[: len(before)] == uuids(before)
        assert len(after) > len(before)
        assert uuids(agent.client.flows(number=1)) == uuids(after[-1:])
        stream.until_flow(after[-1].uuid)
    assert agent.client.status().num_flows > len(after)


def test_any_filter_of_the_whitelist_lets_a_flow_in(agent: Agent):
    agent.happen(2)
    either = agent.client.flows(number=4, whitelist=[VERDICT, DROP])
    assert {flow.event_type.type for flow in either} == {1, 5}


def test_no_filter_of_the_blacklist_lets_a_flow_in(agent: Agent):
    agent.happen(2)
    kept = agent.client.flows(first=True, whitelist=[VERDICT, DROP], blacklist=[DROP])
    assert {flow.event_type.type for flow in kept} == {5}


def test_within_a_filter_fields_are_anded_and_values_ored(agent: Agent):
    agent.happen(2)
    both = flow_pb2.FlowFilter(
        verdict=[flow_pb2.DROPPED, flow_pb2.AUDIT],
        event_type=[flow_pb2.EventTypeFilter(type=5), flow_pb2.EventTypeFilter(type=129)],
    )
    flows = agent.client.flows(first=True, whitelist=[both])
    assert flows
    assert {(flow.event_type.type, flow.verdict) for flow in flows} == {(5, flow_pb2.DROPPED)}
    none = flow_pb2.FlowFilter(verdict=[flow_pb2.AUDIT], drop_reason_desc=[flow_pb2.POLICY_DENIED])
    assert agent.client.flows(first=True, whitelist=[none]) == []


def test_flows_are_found_by_what_they_tell(agent: Agent):
    """Each of these fields finds a flow, and does not find it by another value."""
    flow = denials(agent, 1)[0]
    source, ports = flow.source, flow.l4.TCP
    for fields, others in (
        ({"uuid": [flow.uuid]}, {"uuid": ["00000000-0000-0000-0000-000000000000"]}),
        ({"node_name": [flow.node_name]}, {"node_name": ["nowhere/*"]}),
        ({"node_name": [flow.node_name.partition("/")[2]]}, {"node_name": ["nowhere"]}),
        ({"source_identity": [source.identity]}, {"source_identity": [1]}),
        ({"source_pod": [f"{source.namespace}/{source.pod_name[:4]}"]}, {"source_pod": ["x/"]}),
        ({"source_pod": [f"{source.namespace}/"]}, {"source_pod": [source.pod_name]}),
        ({"source_ip": [flow.IP.source]}, {"source_ip": ["198.18.0.0/15"]}),
        ({"source_port": [str(ports.source_port)]}, {"source_port": ["1"]}),
        ({"destination_port": [str(ports.destination_port)]}, {"destination_port": ["1"]}),
        ({"protocol": ["tcp"]}, {"protocol": ["udp"]}),
        ({"ip_version": [flow_pb2.IPv4]}, {"ip_version": [flow_pb2.IPv6]}),
        ({"reply": [False]}, {"reply": [True]}),
        (
            {"traffic_direction": [flow.traffic_direction]},
            {"traffic_direction": [flow_pb2.TRAFFIC_DIRECTION_UNKNOWN]},
        ),
    ):
        only = flow_pb2.FlowFilter(uuid=[flow.uuid])
        found = flow_pb2.FlowFilter(**fields)
        found.MergeFrom(flow_pb2.FlowFilter(event_type=DENIED.event_type))
        assert flow.uuid in uuids(agent.client.flows(first=True, whitelist=[found])), fields
        both = flow_pb2.FlowFilter(**others)
        if "uuid" not in others:
            both.MergeFrom(only)
        assert agent.client.flows(first=True, whitelist=[both]) == [], others


def test_an_address_that_is_none_is_refused(agent: Agent):
    wrong = flow_pb2.FlowFilter(source_ip=["somewhere"])
    with pytest.raises(grpc.RpcError, match="somewhere"):
        agent.client.read(first=True, whitelist=[wrong])


def test_a_field_mask_masks_node_and_time_of_the_answer_too(agent: Agent):
    agent.happen()
    mask = field_mask_pb2.FieldMask(paths=["verdict"])
    (answer,) = agent.client.read(number=1, whitelist=[DENIED], field_mask=mask)
    assert answer.flow == flow_pb2.Flow(verdict=flow_pb2.DROPPED)
    assert not answer.node_name
    assert answer.time.ToNanoseconds() == 0
    mask = field_mask_pb2.FieldMask(paths=["time", "node_name", "uuid", "source.identity"])
    (answer,) = agent.client.read(number=1, whitelist=[DENIED], field_mask=mask)
    assert answer.node_name == agent.name
    assert answer.time == answer.flow.time
    assert {field.name for field, _ in answer.flow.ListFields()} == {
        *("time", "node_name", "uuid", "source"),
    }


def test_a_restart_empties_the_ring_and_makes_uuids_anew(agent: Agent):
    """Streams break; what was not read is gone."""
    flows = denials(agent, 3)
    with agent.client.follow(since=flows[0].time) as stream:
        stream.until_flow(flows[-1].uuid)
        agent.restart()
        assert stream.ended() is not grpc.StatusCode.OK
    again = denials(agent, 2)
    everything = agent.client.flows(since=flows[0].time)
    assert not set(uuids(everything)) & set(uuids(flows))
    assert set(uuids(again)) <= set(uuids(everything))


def test_a_node_does_not_know_the_others(agent: Agent):
    """GetNodes is relay's own."""
    with pytest.raises(grpc.RpcError) as refused:
        agent.client.stub.GetNodes(observer_pb2.GetNodesRequest(), timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_status_counts_what_is_in_the_ring_and_what_was_ever_seen(agent: Agent):
    before = agent.client.status()
    agent.happen(3)
    after = agent.client.status()
    assert after.seen_flows - before.seen_flows >= 6
    assert before.num_flows < after.num_flows <= after.max_flows
    assert after.uptime_ns > before.uptime_ns
    assert after.max_flows & (after.max_flows + 1) == 0
