"""What a node loses, and what it says of it: a ring holds only so much, and starts out empty."""

import itertools
import time

import pytest

from schemas.hubble import flow_pb2
from tests.contracts.hubble.reading import (
    PATIENCE_SECONDS,
    Client,
    moment,
    only_flows,
    only_lost,
    uuids,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

RING = 255
NOTHING = flow_pb2.FlowFilter(uuid=["00000000-0000-0000-0000-000000000000"])


def start_of(client: Client):
    """Return a time before anything that happens from now on."""
    return moment(client.flows(first=True)[-1].time.ToNanoseconds() + 1)


def newest(agent) -> str:
    """Have one more event happen and return the newest flow that can be read."""
    agent.nudge()
    return agent.client.flows(number=1)[-1].uuid


def test_what_a_slow_reader_misses_is_counted_to_the_last_event(fed):
    """It is told a second after it was noticed, with the next event, and when that was."""
    with fed(capacity=RING) as agent:
        first = agent.client.flows(first=True)[-1]
        before = agent.client.status().seen_flows
        with agent.client.follow(since=first.time) as stream:
            stream.until_flow(first.uuid)
            stream.reading.clear()
            began = time.time_ns()
            agent.happen(4000)
            stream.reading.set()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not only_lost(stream.answers):
                assert time.monotonic() < deadline, "nothing was lost"
                stream.until_flow(newest(agent))
            got = stream.until_flow(newest(agent))
        lost = only_lost(got)
        assert {each.source for each in lost} == {flow_pb2.HUBBLE_RING_BUFFER}
        assert all(
            began <= each.first.ToNanoseconds() <= each.last.ToNanoseconds() for each in lost
        )
        assert {each.node_name for each in got if each.HasField("lost_events")} == {agent.name}
        flows = uuids(only_flows(got))
        assert len(flows) == len(set(flows))
        missed = sum(each.num_events_lost for each in lost)
        # `first` and what was the newest at the time were seen before; the newest is not read.
        assert len(flows) + missed == agent.client.status().seen_flows - before + 1


def test_whoever_asks_from_before_a_full_ring_gets_it_all_and_one_lost_event(fed):
    """So one lost event says that there was more, not how much more."""
    with fed(capacity=RING) as agent:
        old = start_of(agent.client)
        agent.happen(RING)
        every = agent.client.flows(first=True)
        assert len(every) == RING
        with agent.client.follow(since=old) as stream:
            stream.until_flow(every[-1].uuid)
            assert uuids(only_flows(stream.answers)) == uuids(every)
            deadline = time.monotonic() + PATIENCE_SECONDS
            for count in itertools.count(1):
                agent.nudge()
                stream.until(lambda got, n=count: len(only_flows(got)) >= RING + n, "the nudge")
                if only_lost(stream.answers):
                    break
                assert time.monotonic() < deadline, "no lost event"
            (lost,) = only_lost(stream.answers)
            assert (lost.source, lost.num_events_lost) == (flow_pb2.HUBBLE_RING_BUFFER, 1)


def test_whoever_asks_from_within_the_ring_is_told_of_nothing(fed):
    with fed(capacity=RING) as agent:
        agent.happen(RING)
        every = agent.client.flows(first=True)
        with agent.client.follow(since=every[1].time) as stream:
            stream.until_flow(every[-1].uuid)
            assert uuids(only_flows(stream.answers)) == uuids(every[1:])
            assert only_lost(stream.answers) == []


def test_a_loss_before_the_ring_passes_every_filter(fed):
    """It tells its source and the CPU; times of its own it has none."""
    with fed() as agent:
        since = start_of(agent.client)
        agent.lose(17)
        agent.nudge()
        (answer,) = agent.client.read(since=since, whitelist=[NOTHING])
        lost = answer.lost_events
        assert (lost.source, lost.num_events_lost) == (flow_pb2.PERF_EVENT_RING_BUFFER, 17)
        assert lost.HasField("cpu")
        assert not lost.HasField("first")
        assert answer.node_name == agent.name
        assert answer.HasField("time")


def test_a_stream_that_begins_at_an_empty_ring_waits_until_it_was_filled_once(fed):
    """A flaw of Hubble's ring: a node that just started can keep a ring's worth to itself.

    Not a flow is missing then. A ring with two events in it has none of this.
    """
    with fed(capacity=7, seeded=False) as agent, agent.client.follow(since=moment(0)) as stream:
        # Only a request that has arrived finds the ring empty.
        stream.stays_without(lambda _: True, 0.5)
        for _ in range(7):
            agent.nudge()
        stream.stays_without(lambda _: True, 0.5)
        agent.nudge()
        stream.until(lambda got: len(only_flows(got)) == 7, "the first seven")
        agent.nudge()
        stream.until(lambda got: len(only_flows(got)) == 8, "the eighth")
        flows = uuids(only_flows(stream.answers))
        assert flows[-2:] == uuids(agent.client.flows(number=2))
