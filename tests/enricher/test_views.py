"""The views read the same wire as the messages that they stand for."""

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from schemas.hubble import flow_pb2, observer_pb2
from schemas.picket.v1 import flows_pb2, views_pb2
from tests.enricher import builders

PAIRS = {
    "FlowBatchView": flows_pb2.FlowBatch,
    "FlowBatchHeader": flows_pb2.FlowBatch,
    "ResponseView": observer_pb2.GetFlowsResponse,
    "FlowView": flow_pb2.Flow,
    "Layer4View": flow_pb2.Layer4,
    "EventTypeView": flow_pb2.CiliumEventType,
}
DELIMITED = {FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}
VARINT = {
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_ENUM,
    FieldDescriptor.TYPE_BOOL,
}


def fields(message: Descriptor) -> dict[str, FieldDescriptor]:
    return {field.name: field for field in message.fields}


def test_every_view_stands_for_a_message() -> None:
    """None is left out below, but for the two that stand for several."""
    views = set(views_pb2.DESCRIPTOR.message_types_by_name)
    assert views == PAIRS.keys() | {"PortsView", "TypeView"}


@pytest.mark.parametrize("name", PAIRS)
def test_fields_have_the_same_numbers_and_wire_types(name: str) -> None:
    """Else a view would read something else, or nothing."""
    view = fields(views_pb2.DESCRIPTOR.message_types_by_name[name])
    real = fields(PAIRS[name].DESCRIPTOR)
    for field, ours in view.items():
        theirs = real[field]
        assert ours.number == theirs.number, field
        assert ours.is_repeated == theirs.is_repeated, field
        assert any({ours.type, theirs.type} <= kind for kind in (DELIMITED, VARINT)), field


@pytest.mark.parametrize(
    ("view", "field", "protocols"),
    [
        ("PortsView", "destination_port", ["TCP", "UDP", "SCTP"]),
        ("TypeView", "type", ["ICMPv4", "ICMPv6", "VRRP", "IGMP"]),
    ],
)
def test_one_view_stands_for_all_protocols_alike(
    view: str, field: str, protocols: list[str]
) -> None:
    """They agree on the number of what is read."""
    number = fields(views_pb2.DESCRIPTOR.message_types_by_name[view])[field].number
    layers = fields(flow_pb2.Layer4.DESCRIPTOR)
    for protocol in protocols:
        assert fields(layers[protocol].message_type)[field].number == number


def test_nothing_is_lost_by_way_of_a_view() -> None:
    """What a retry or a dead letter carries is the response as it came, unknown fields and all."""
    for raw in builders.shop_responses()[:200]:
        through = views_pb2.ResponseView.FromString(raw).SerializeToString()
        assert observer_pb2.GetFlowsResponse.FromString(
            through
        ) == observer_pb2.GetFlowsResponse.FromString(raw)
