"""The JSON messages of the topics: CloudEvents on matches and alerts, plain JSON elsewhere.

The models are the contract: JSON Schemas and the AsyncAPI document are generated from them and held
compatible with the committed ones. Times are RFC 3339 in UTC; counts are whole numbers.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

MATCH = "picket.match.v1"
PROGRESS = "picket.progress.v1"
ALERT = "picket.alert.v1"


class Message(BaseModel):
    """Unknown fields are ignored, so that a newer producer does not stop an older consumer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Envelope(Message):
    """A CloudEvent 1.0 in structured JSON mode.

    `id` is deterministic (what it is about and the offsets it came from): an outside consumer that
    has seen it may drop it.
    """

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"


class Severity(StrEnum):
    """The severities of GitLab's alerts."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"
    UNKNOWN = "unknown"


class PolicyIdentity(Message):
    """Which policy: namespace is empty for a clusterwide one."""

    kind: str
    namespace: str = ""
    name: str


class Party(Message):
    """One end of a stopped flow, as the fingerprint tells it apart."""

    kind: str = Field(description="workload, entity, cidr, fqdn, world or labels")
    namespace: str = ""
    name: str
    text: str = Field(description="how it is called in a sentence")


class PortCount(Message):
    """How many flows went to one port; for ICMP the port is the type."""

    protocol: str
    port: int
    count: int


class AddressCount(Message):
    """How many flows came from, or went to, one peer address."""

    address: str
    name: str = Field(default="", description="the pod, or a DNS name, where known")
    count: int


class Finding(Message):
    """One rule of one policy, and why it did not allow the flow, or that it denied it."""

    policy: PolicyIdentity
    path: str = Field(description="where in the manifest, such as spec.ingress[1].toPorts[0]")
    why: str


class Threshold(Message):
    """Alert once `count` flows were stopped within `seconds`."""

    count: int = Field(ge=1)
    seconds: int = Field(ge=1)


class Match(Message):
    """Flows of one fingerprint within one UTC minute, out of one batch."""

    fingerprint: str
    cluster: str
    policy: PolicyIdentity
    project: str = Field(description="value of the label app.gitlab.com/proj")
    direction: Literal["ingress", "egress"]
    reason: Literal["denied-by", "no-rule-allowed", "l7-denied", "auth-required", "audit"]
    subject: Party
    peer: Party
    sentence: str
    findings: list[Finding] = []
    severity: Severity = Severity.MEDIUM
    threshold: Threshold | None = None
    resolve_after: int | None = Field(default=None, description="seconds of quiet")
    runbook: str | None = None
    minute: AwareDatetime
    count: int = Field(ge=1)
    first_seen: AwareDatetime
    last_seen: AwareDatetime
    ports: list[PortCount] = []
    peers: list[AddressCount] = []
    samples: list[dict[str, JsonValue]] = Field(default=[], description="flows, without secrets")


class MatchEvent(Envelope):
    """On picket.matches, keyed by fingerprint."""

    type: Literal["picket.match.v1"] = "picket.match.v1"
    data: Match


class NoticeKind(StrEnum):
    """What can be missing from the alerts, or stand in their way."""

    UNEXPLAINED = "unexplained"
    LOST_EVENTS = "lost-events"
    GAP = "gap"
    DEAD_LETTER = "dead-letter"
    DISAGREEMENT = "disagreement"
    """Cilium names a policy as denying whose rules do not: flows may be counted to a wrong one."""


class Notice(Message):
    """Something that a person who relies on the alerts must know, counted."""

    kind: NoticeKind
    reason: str
    """Stable and short: counts add up by (cluster, kind, reason, node)."""
    node: str = ""
    count: int = Field(ge=0)
    first_seen: AwareDatetime
    last_seen: AwareDatetime
    detail: str = ""


class StreamState(StrEnum):
    """The state of a cluster's stream of flows."""

    LIVE = "live"
    CATCHING_UP = "catching-up"
    BLIND = "blind"
    ENDED = "ended"


class Progress(Message):
    """How far a partition of one cluster's flows has been matched, and what fell by the way."""

    cluster: str
    partition: int
    flow_time: AwareDatetime | None = Field(
        default=None, description="all flows up to here have been matched"
    )
    state: StreamState
    flows: int = Field(default=0, description="flows explained since the last progress message")
    notices: list[Notice] = []


class ProgressEvent(Envelope):
    """On picket.matches, keyed by cluster."""

    type: Literal["picket.progress.v1"] = "picket.progress.v1"
    data: Progress


class AlertStatus(StrEnum):
    """GitLab's four, and pending until the threshold is met."""

    PENDING = "pending"
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    IGNORED = "ignored"


class Alert(Message):
    """An alert as the list API and picket.alerts show it."""

    id: str
    fingerprint: str
    status: AlertStatus
    revision: int = Field(description="grows with every change of state, not with counts")
    version: int = Field(description="grows with every message on picket.alerts")
    title: str
    severity: Severity
    project: str
    cluster: str
    policy: PolicyIdentity
    direction: Literal["ingress", "egress"]
    reason: str
    subject: Party
    peer: Party
    events: int
    first_seen: datetime
    last_seen: datetime
    triggered_at: datetime | None = None
    resolved_at: datetime | None = None
    previous: str | None = Field(
        default=None, description="the resolved alert that this one follows"
    )
    runbook: str | None = None


class AlertEvent(Envelope):
    """On picket.alerts, keyed by the alert's id; a record without a value says it was purged."""

    type: Literal["picket.alert.v1"] = "picket.alert.v1"
    data: Alert


class Provenance(Message):
    """Where in which repository a manifest stands."""

    repository: str = ""
    ref: str = ""
    commit: str = ""
    path: str = ""
    line: int | None = None


class PolicyObject(Message):
    """On picket.policies: one object that matching needs; without a value it was deleted.

    `kind` of the manifest is a policy, Namespace, Service, EndpointSlice, CiliumCIDRGroup,
    NamedPorts or AgentOptions (the last two are Picket's own: `spec` holds the facts).
    """

    cluster: str
    since: AwareDatetime | None = Field(
        default=None, description="from when this version holds; absent: for ever"
    )
    manifest: dict[str, Any]
    provenance: Provenance | None = None


class PolicyDeleted(Message):
    """On picket.policies, just before the tombstone: when the object ceased to hold."""

    cluster: str
    deleted: Literal[True] = True
    at: AwareDatetime


class Synced(Message):
    """On picket.policies under `<cluster>/synced`: everything before it was the whole cluster."""

    cluster: str
    cluster_uid: str = ""
    synced: Literal[True] = True
    at: AwareDatetime
    objects: int


class DeadLetter(Message):
    """On picket.deadletter: what could not be read."""

    stage: str
    reason: str
    topic: str = Field(default="", description="or where else it came from, such as a file")
    partition: int | None = None
    offset: int | None = None
    index: int | None = Field(default=None, description="within the record, or the line of a file")
    at: AwareDatetime
    sha256: str
    size: int
    payload: str = Field(description="base64 of at most the first 64 KiB")
