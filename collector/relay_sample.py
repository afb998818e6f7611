"""A look at a relay from outside the stream: its nodes, its rings, and the newest of their events.

For a person who asks how things stand; collecting does not need it. Nothing is concluded here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from collector import filters, relay_channel, relay_secrets
from collector.settings import CollectorSettings
from schemas.hubble import flow_pb2, observer_pb2, observer_pb2_grpc

COUNT = 200
"""How many of each node's newest drops and verdicts are asked for."""
CALL_SECONDS = 10.0

DROPS = flow_pb2.FlowFilter(
    verdict=[flow_pb2.DROPPED],
    event_type=[flow_pb2.EventTypeFilter(type=1)],
    drop_reason_desc=[flow_pb2.POLICY_DENIED, flow_pb2.POLICY_DENY],
)
"""What policies stopped, as the datapath tells of every drop."""
VERDICTS = flow_pb2.FlowFilter(event_type=[flow_pb2.EventTypeFilter(type=filters.POLICY_VERDICT)])


class Unreachable(Exception):
    """Relay does not answer; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was seen."""

    status: observer_pb2.ServerStatusResponse
    nodes: Sequence[observer_pb2.Node] | None
    """None where the server is no relay."""
    newest: Sequence[flow_pb2.Flow]
    """Each node's newest flow of any kind."""
    drops: Sequence[flow_pb2.Flow]
    verdicts: Sequence[flow_pb2.Flow]
    lost: Sequence[flow_pb2.LostEvent]
    """What was lost among all these."""


def take(settings: CollectorSettings) -> Sample:
    """Look at the relay of the settings. Raises Unreachable, and UserError for files of TLS."""
    secrets = relay_secrets.read(settings) if settings.tls else None
    channel = relay_channel.open_channel(settings, secrets)
    try:
        return _take(observer_pb2_grpc.ObserverStub(channel))  # type: ignore[no-untyped-call]
    except grpc.RpcError as error:
        raise Unreachable(relay_channel.explain(error)) from error
    finally:
        channel.close()


def _take(stub: observer_pb2_grpc.ObserverStub) -> Sample:
    status = stub.ServerStatus(observer_pb2.ServerStatusRequest(), timeout=CALL_SECONDS)
    nodes = _nodes(stub)
    newest = _newest(stub, flow_pb2.FlowFilter(), count=1)
    drops = _newest(stub, DROPS, count=COUNT)
    verdicts = _newest(stub, VERDICTS, count=COUNT)
    # The same is lost to each of the questions.
    lost = {
        answer.SerializeToString(): answer.lost_events
        for answer in (*newest, *drops, *verdicts)
        if answer.HasField("lost_events")
    }
    return Sample(
        status=status,
        nodes=nodes,
        newest=_flows(newest),
        drops=_flows(drops),
        verdicts=_flows(verdicts),
        lost=tuple(lost.values()),
    )


def _nodes(stub: observer_pb2_grpc.ObserverStub) -> Sequence[observer_pb2.Node] | None:
    try:
        answer = stub.GetNodes(observer_pb2.GetNodesRequest(), timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        if relay_channel.code(error) is grpc.StatusCode.UNIMPLEMENTED:
            return None
        raise
    return list(answer.nodes)


def _newest(
    stub: observer_pb2_grpc.ObserverStub, wanted: flow_pb2.FlowFilter, *, count: int
) -> list[observer_pb2.GetFlowsResponse]:
    request = observer_pb2.GetFlowsRequest(number=count, whitelist=[wanted])
    return list(stub.GetFlows(request, timeout=CALL_SECONDS))


def _flows(answers: Sequence[observer_pb2.GetFlowsResponse]) -> list[flow_pb2.Flow]:
    return [answer.flow for answer in answers if answer.HasField("flow")]
