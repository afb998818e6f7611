import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STREAM_STATE_UNSPECIFIED: _ClassVar[StreamState]
    LIVE: _ClassVar[StreamState]
    CATCHING_UP: _ClassVar[StreamState]
    BLIND: _ClassVar[StreamState]
    ENDED: _ClassVar[StreamState]
STREAM_STATE_UNSPECIFIED: StreamState
LIVE: StreamState
CATCHING_UP: StreamState
BLIND: StreamState
ENDED: StreamState

class FlowBatch(_message.Message):
    __slots__ = ("cluster", "responses", "gaps", "state", "read_until", "tries", "due", "duplicates", "duplicates_by_time", "nodes_away", "capture", "ahead")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    RESPONSES_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    READ_UNTIL_FIELD_NUMBER: _ClassVar[int]
    TRIES_FIELD_NUMBER: _ClassVar[int]
    DUE_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_BY_TIME_FIELD_NUMBER: _ClassVar[int]
    NODES_AWAY_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    responses: _containers.RepeatedScalarFieldContainer[bytes]
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    state: StreamState
    read_until: _timestamp_pb2.Timestamp
    tries: int
    due: _timestamp_pb2.Timestamp
    duplicates: int
    duplicates_by_time: int
    nodes_away: _containers.RepeatedScalarFieldContainer[str]
    capture: str
    ahead: bool
    def __init__(self, cluster: _Optional[str] = ..., responses: _Optional[_Iterable[bytes]] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ..., state: _Optional[_Union[StreamState, str]] = ..., read_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tries: _Optional[int] = ..., due: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duplicates: _Optional[int] = ..., duplicates_by_time: _Optional[int] = ..., nodes_away: _Optional[_Iterable[str]] = ..., capture: _Optional[str] = ..., ahead: _Optional[bool] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("node", "until", "reason")
    NODE_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    node: str
    until: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, node: _Optional[str] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., **kwargs) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("cluster", "cluster_uid", "nodes", "scan_from", "written_at", "captures", "writer")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_UID_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    SCAN_FROM_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_AT_FIELD_NUMBER: _ClassVar[int]
    CAPTURES_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    cluster_uid: str
    nodes: _containers.RepeatedCompositeFieldContainer[NodeWatermark]
    scan_from: _containers.RepeatedCompositeFieldContainer[PartitionOffset]
    written_at: _timestamp_pb2.Timestamp
    captures: _containers.RepeatedCompositeFieldContainer[CapturePosition]
    writer: str
    def __init__(self, cluster: _Optional[str] = ..., cluster_uid: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[NodeWatermark, _Mapping]]] = ..., scan_from: _Optional[_Iterable[_Union[PartitionOffset, _Mapping]]] = ..., written_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., captures: _Optional[_Iterable[_Union[CapturePosition, _Mapping]]] = ..., writer: _Optional[str] = ...) -> None: ...

class NodeWatermark(_message.Message):
    __slots__ = ("node", "newest", "known_by_time", "seen_until", "suspected", "ahead")
    NODE_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    KNOWN_BY_TIME_FIELD_NUMBER: _ClassVar[int]
    SEEN_UNTIL_FIELD_NUMBER: _ClassVar[int]
    SUSPECTED_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    node: str
    newest: _timestamp_pb2.Timestamp
    known_by_time: _timestamp_pb2.Timestamp
    seen_until: _timestamp_pb2.Timestamp
    suspected: bool
    ahead: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, node: _Optional[str] = ..., newest: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., known_by_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., seen_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., suspected: _Optional[bool] = ..., ahead: _Optional[_Iterable[str]] = ...) -> None: ...

class PartitionOffset(_message.Message):
    __slots__ = ("partition", "offset")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    partition: int
    offset: int
    def __init__(self, partition: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class CapturePosition(_message.Message):
    __slots__ = ("fingerprint", "path", "lines", "size", "digest")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    path: str
    lines: int
    size: int
    digest: bytes
    def __init__(self, fingerprint: _Optional[str] = ..., path: _Optional[str] = ..., lines: _Optional[int] = ..., size: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class ResponseHead(_message.Message):
    __slots__ = ("flow", "node_status", "lost_events", "node_name", "time")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    NODE_STATUS_FIELD_NUMBER: _ClassVar[int]
    LOST_EVENTS_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    flow: FlowHead
    node_status: bytes
    lost_events: bytes
    node_name: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, flow: _Optional[_Union[FlowHead, _Mapping]] = ..., node_status: _Optional[bytes] = ..., lost_events: _Optional[bytes] = ..., node_name: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ResponseHeads(_message.Message):
    __slots__ = ("heads",)
    HEADS_FIELD_NUMBER: _ClassVar[int]
    heads: _containers.RepeatedCompositeFieldContainer[ResponseHead]
    def __init__(self, heads: _Optional[_Iterable[_Union[ResponseHead, _Mapping]]] = ...) -> None: ...

class FlowHead(_message.Message):
    __slots__ = ("time", "uuid")
    TIME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    uuid: str
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., uuid: _Optional[str] = ...) -> None: ...
