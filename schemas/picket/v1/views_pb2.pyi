import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from schemas.picket.v1 import flows_pb2 as _flows_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FlowBatchView(_message.Message):
    __slots__ = ("cluster", "responses", "gaps", "state", "read_until", "tries", "due")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    READ_UNTIL_FIELD_NUMBER: _ClassVar[int]
    TRIES_FIELD_NUMBER: _ClassVar[int]
    DUE_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    responses: _containers.RepeatedCompositeFieldContainer[ResponseView]
    gaps: _containers.RepeatedCompositeFieldContainer[_flows_pb2.Gap]
    state: _flows_pb2.StreamState
    read_until: _timestamp_pb2.Timestamp
    tries: int
    due: _timestamp_pb2.Timestamp
    def __init__(self, cluster: _Optional[str] = ..., responses: _Optional[_Iterable[_Union[ResponseView, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[_flows_pb2.Gap, _Mapping]]] = ..., state: _Optional[_Union[_flows_pb2.StreamState, str]] = ..., read_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tries: _Optional[int] = ..., due: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FlowBatchHeader(_message.Message):
    __slots__ = ("cluster", "gaps", "state", "read_until", "tries", "due")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    READ_UNTIL_FIELD_NUMBER: _ClassVar[int]
    TRIES_FIELD_NUMBER: _ClassVar[int]
    DUE_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    gaps: _containers.RepeatedCompositeFieldContainer[_flows_pb2.Gap]
    state: _flows_pb2.StreamState
    read_until: _timestamp_pb2.Timestamp
    tries: int
    due: _timestamp_pb2.Timestamp
    def __init__(self, cluster: _Optional[str] = ..., gaps: _Optional[_Iterable[_Union[_flows_pb2.Gap, _Mapping]]] = ..., state: _Optional[_Union[_flows_pb2.StreamState, str]] = ..., read_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tries: _Optional[int] = ..., due: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ResponseView(_message.Message):
    __slots__ = ("flow", "node_status", "lost_events", "node_name", "time")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    NODE_STATUS_FIELD_NUMBER: _ClassVar[int]
    LOST_EVENTS_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    flow: FlowView
    node_status: bytes
    lost_events: bytes
    node_name: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, flow: _Optional[_Union[FlowView, _Mapping]] = ..., node_status: _Optional[bytes] = ..., lost_events: _Optional[bytes] = ..., node_name: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FlowView(_message.Message):
    __slots__ = ("time", "verdict", "IP", "l4", "source", "destination", "source_names", "destination_names", "l7", "event_type", "traffic_direction", "drop_reason_desc", "egress_denied_by", "ingress_denied_by")
    TIME_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    IP_FIELD_NUMBER: _ClassVar[int]
    L4_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_NAMES_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_NAMES_FIELD_NUMBER: _ClassVar[int]
    L7_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_DIRECTION_FIELD_NUMBER: _ClassVar[int]
    DROP_REASON_DESC_FIELD_NUMBER: _ClassVar[int]
    EGRESS_DENIED_BY_FIELD_NUMBER: _ClassVar[int]
    INGRESS_DENIED_BY_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    verdict: int
    IP: bytes
    l4: Layer4View
    source: bytes
    destination: bytes
    source_names: _containers.RepeatedScalarFieldContainer[str]
    destination_names: _containers.RepeatedScalarFieldContainer[str]
    l7: bytes
    event_type: EventTypeView
    traffic_direction: int
    drop_reason_desc: int
    egress_denied_by: _containers.RepeatedScalarFieldContainer[bytes]
    ingress_denied_by: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., verdict: _Optional[int] = ..., IP: _Optional[bytes] = ..., l4: _Optional[_Union[Layer4View, _Mapping]] = ..., source: _Optional[bytes] = ..., destination: _Optional[bytes] = ..., source_names: _Optional[_Iterable[str]] = ..., destination_names: _Optional[_Iterable[str]] = ..., l7: _Optional[bytes] = ..., event_type: _Optional[_Union[EventTypeView, _Mapping]] = ..., traffic_direction: _Optional[int] = ..., drop_reason_desc: _Optional[int] = ..., egress_denied_by: _Optional[_Iterable[bytes]] = ..., ingress_denied_by: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Layer4View(_message.Message):
    __slots__ = ("TCP", "UDP", "ICMPv4", "ICMPv6", "SCTP", "VRRP", "IGMP")
    TCP_FIELD_NUMBER: _ClassVar[int]
    UDP_FIELD_NUMBER: _ClassVar[int]
    ICMPV4_FIELD_NUMBER: _ClassVar[int]
    ICMPV6_FIELD_NUMBER: _ClassVar[int]
    SCTP_FIELD_NUMBER: _ClassVar[int]
    VRRP_FIELD_NUMBER: _ClassVar[int]
    IGMP_FIELD_NUMBER: _ClassVar[int]
    TCP: PortsView
    UDP: PortsView
    ICMPv4: TypeView
    ICMPv6: TypeView
    SCTP: PortsView
    VRRP: TypeView
    IGMP: TypeView
    def __init__(self, TCP: _Optional[_Union[PortsView, _Mapping]] = ..., UDP: _Optional[_Union[PortsView, _Mapping]] = ..., ICMPv4: _Optional[_Union[TypeView, _Mapping]] = ..., ICMPv6: _Optional[_Union[TypeView, _Mapping]] = ..., SCTP: _Optional[_Union[PortsView, _Mapping]] = ..., VRRP: _Optional[_Union[TypeView, _Mapping]] = ..., IGMP: _Optional[_Union[TypeView, _Mapping]] = ...) -> None: ...

class PortsView(_message.Message):
    __slots__ = ("destination_port",)
    DESTINATION_PORT_FIELD_NUMBER: _ClassVar[int]
    destination_port: int
    def __init__(self, destination_port: _Optional[int] = ...) -> None: ...

class TypeView(_message.Message):
    __slots__ = ("type",)
    TYPE_FIELD_NUMBER: _ClassVar[int]
    type: int
    def __init__(self, type: _Optional[int] = ...) -> None: ...

class EventTypeView(_message.Message):
    __slots__ = ("type",)
    TYPE_FIELD_NUMBER: _ClassVar[int]
    type: int
    def __init__(self, type: _Optional[int] = ...) -> None: ...
