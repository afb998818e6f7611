"""The topics on which the stages meet, and how each must be configured.

One place for names and definitions: adapters create topics from it and check existing ones against
it, `picket topics` prints it, and the AsyncAPI document is generated from it.
"""

from dataclasses import dataclass
from enum import StrEnum

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MEBIBYTE = 1024 * 1024


class Cleanup(StrEnum):
    """What the log does with old records."""

    DELETE = "delete"
    COMPACT = "compact"


class Encoding(StrEnum):
    """How a record's value is written."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"
    CLOUDEVENT = "application/cloudevents+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic: times in milliseconds, sizes in bytes."""

    name: str
    summary: str
    key: str
    """What the record's key says, for people."""
    encoding: Encoding
    cleanup: Cleanup
    retention_ms: int | None
    """How long records are kept (delete); how long superseded ones and tombstones are (compact)."""
    partitions: int = 1
    """How many partitions a new topic gets; more are accepted."""
    max_record_bytes: int = MEBIBYTE
    internal: bool = False
    """Whether only Picket itself reads it."""


FLOWS = Topic(
    name="picket.flows",
    summary="Flows as Hubble relay sent them, many to a record",
    key="none",
    encoding=Encoding.PROTOBUF,
    cleanup=Cleanup.DELETE,
    retention_ms=DAY_MS,
    partitions=4,
)
FLOWS_RETRY = Topic(
    name="picket.flows.retry",
    summary="Flows that no policy explained yet, to be tried again 5 s later",
    key="none",
    encoding=Encoding.PROTOBUF,
    cleanup=Cleanup.DELETE,
    retention_ms=DAY_MS,
    internal=True,
)
FLOWS_RETRY_LATE = Topic(
    name="picket.flows.retry-late",
    summary="Flows that were tried twice in vain, to be tried once more 60 s later",
    key="none",
    encoding=Encoding.PROTOBUF,
    cleanup=Cleanup.DELETE,
    retention_ms=DAY_MS,
    internal=True,
)
COLLECTOR = Topic(
    name="picket.collector",
    summary="From where each cluster's collector goes on",
    key="cluster",
    encoding=Encoding.PROTOBUF,
    cleanup=Cleanup.COMPACT,
    retention_ms=DAY_MS,
    internal=True,
)
POLICIES = Topic(
    name="picket.policies",
    summary="Policies and what matching needs besides, with the time from which they hold",
    key="cluster/kind/namespace/name",
    encoding=Encoding.JSON,
    cleanup=Cleanup.COMPACT,
    retention_ms=DAY_MS,
    max_record_bytes=4 * MEBIBYTE,
)
MATCHES = Topic(
    name="picket.matches",
    summary="Stopped flows with the policies that stopped them, counted by fingerprint and minute",
    key="fingerprint, or the cluster for progress",
    encoding=Encoding.CLOUDEVENT,
    cleanup=Cleanup.DELETE,
    retention_ms=7 * DAY_MS,
    partitions=4,
)
ALERTS = Topic(
    name="picket.alerts",
    summary="The newest state of each alert",
    key="alert id",
    encoding=Encoding.CLOUDEVENT,
    cleanup=Cleanup.COMPACT,
    retention_ms=DAY_MS,
)
DEADLETTER = Topic(
    name="picket.deadletter",
    summary="What could not be read, with its coordinates and the reason",
    key="as it came",
    encoding=Encoding.JSON,
    cleanup=Cleanup.DELETE,
    retention_ms=30 * DAY_MS,
)

ALL = (
    FLOWS,
    FLOWS_RETRY,
    FLOWS_RETRY_LATE,
    COLLECTOR,
    POLICIES,
    MATCHES,
    ALERTS,
    DEADLETTER,
)
