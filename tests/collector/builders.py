"""Flows and captures for tests, each with a uuid of its own."""

import itertools
import json
import time
import uuid

from google.protobuf import json_format

from collector import instants
from schemas.hubble import flow_pb2, observer_pb2

START = 1_800_000_000 * instants.SECOND
_STEP = itertools.count(1)


def a_flow(
    *,
    node: str = "demo/n1",
    verdict: flow_pb2.Verdict = flow_pb2.DROPPED,
    event: int = 5,
    at: int | None = None,
    **fields: object,
) -> flow_pb2.Flow:
    """Return a flow; without a time each is a millisecond younger than the one before."""
    when = START + next(_STEP) * 1_000_000 if at is None else at
    return flow_pb2.Flow(
        time=instants.timestamp(when),
        uuid=str(uuid.uuid4()),
        verdict=verdict,
        node_name=node,
        event_type=flow_pb2.CiliumEventType(type=event),
        **fields,
    )


def fresh(count: int, **fields: object) -> list[flow_pb2.Flow]:
    """Return flows of this moment."""
    now = instants.of_seconds(time.time())
    return [a_flow(at=now + index * 1000, **fields) for index in range(count)]


def a_response(flow: flow_pb2.Flow) -> observer_pb2.GetFlowsResponse:
    """Return a flow as a node sends it."""
    return observer_pb2.GetFlowsResponse(flow=flow, node_name=flow.node_name, time=flow.time)


def lost(
    *,
    node: str = "demo/n1",
    count: int = 7,
    at: int = START,
    source: flow_pb2.LostEventSource = flow_pb2.PERF_EVENT_RING_BUFFER,
    cpu: int | None = 0,
) -> observer_pb2.GetFlowsResponse:
    """Return a lost event."""
    event = flow_pb2.LostEvent(source=source, num_events_lost=count)
    if cpu is not None:
        event.cpu.value = cpu
    if source == flow_pb2.HUBBLE_RING_BUFFER:
        event.first.CopyFrom(instants.timestamp(at))
        event.last.CopyFrom(instants.timestamp(at))
    return observer_pb2.GetFlowsResponse(
        lost_events=event, node_name=node, time=instants.timestamp(at)
    )


def a_line(flow: flow_pb2.Flow) -> str:
    """Return a flow as a line of a capture, with its end."""
    found = json_format.MessageToDict(a_response(flow), preserving_proto_field_name=True)
    return json.dumps(found) + "\n"
