"""The bodies of the HTTP API, as OpenAPI describes them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from alert_api.repository.listing import Order
from schemas import messages
from schemas.messages import AlertStatus, Severity, StreamState

MAX_TEXT = 500


class Body(BaseModel):
    """What all bodies share."""

    model_config = ConfigDict(frozen=True)


class ListQuery(BaseModel):
    """Filters, order and place of the list; unknown parameters are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: list[AlertStatus] = Field(
        default=[], max_length=10, description="may be repeated; absent: all but pending"
    )
    severity: list[Severity] = Field(default=[], max_length=10, description="may be repeated")
    project: str | None = Field(default=None, max_length=MAX_TEXT)
    policy: str | None = Field(
        default=None, max_length=MAX_TEXT, description="a policy's name, or namespace/name"
    )
    namespace: str | None = Field(
        default=None, max_length=MAX_TEXT, description="the policy's namespace"
    )
    cluster: str | None = Field(default=None, max_length=MAX_TEXT)
    text: str | None = Field(
        default=None, max_length=MAX_TEXT, description="words that must all be found"
    )
    sort: Order = Order.NEWEST
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(
        default=None, max_length=MAX_TEXT, description="`next` of the page before"
    )


class AlertList(Body):
    """A page of alerts."""

    alerts: list[messages.Alert]
    next: str | None = Field(description="cursor of the next page; null on the last")


class Port(Body):
    """Flows to one port. More ports than are kept make a count a lower bound."""

    protocol: str
    port: int
    count: int


class Peer(Body):
    """Flows from or to one address. More peers than are kept make a count a lower bound."""

    address: str
    name: str
    count: int


class MinuteCount(Body):
    """Flows within one UTC minute."""

    minute: datetime
    count: int


class Change(Body):
    """A change of status."""

    revision: int
    status: AlertStatus
    at: datetime
    actor: str
    why: str


class AlertDelivery(Body):
    """How the alert stands in GitLab."""

    wanted: str
    told: str = Field(description="what GitLab last took: nothing, open or closed")
    posted_at: datetime | None
    attempts: int = Field(description="in vain, since the last success or change")
    failure: str | None
    next_try: datetime | None


class AlertDetails(messages.Alert):
    """One alert with all that is known of it."""

    sentence: str
    findings: list[messages.Finding]
    ports: list[Port] = Field(description="the 64 heaviest")
    peers: list[Peer] = Field(description="the 64 heaviest")
    minutes: list[MinuteCount] = Field(description="the newest 1,440, oldest first")
    samples: list[dict[str, Any]] = Field(description="the last ten flows, newest first")
    history: list[Change]
    delivery: AlertDelivery | None


class StatusBody(Body):
    """An alert's status. Its revision is the ETag."""

    id: str
    status: AlertStatus
    revision: int
    allowed: list[AlertStatus] = Field(description="to what it can be changed")


class StatusChange(BaseModel):
    """The status that an alert is to have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: AlertStatus


class Cluster(Body):
    """One cluster's stream of flows."""

    name: str
    state: StreamState
    flow_time: datetime | None = Field(description="all flows up to here have been matched")
    unbroken_since: datetime | None = Field(description="no flow since then was missed")
    flows: int
    updated_at: datetime


class ClusterList(Body):
    """All clusters."""

    clusters: list[Cluster]


class Notice(Body):
    """What may be missing from the alerts. An empty cluster stands for all of them."""

    cluster: str
    kind: messages.NoticeKind
    reason: str
    node: str
    count: int
    first_seen: datetime
    last_seen: datetime
    detail: str


class NoticeList(Body):
    """Notices, the newest first."""

    notices: list[Notice]


class Project(Body):
    """A GitLab project that alerts are delivered to."""

    project: str
    state: str = Field(description="ok, waiting or parked")
    reason: str
    since: datetime | None
    next_try: datetime | None
    delivered: int
    waiting: int = Field(description="alerts of which it is still to hear")


class ProjectList(Body):
    """All GitLab projects that are set up."""

    projects: list[Project]


class Problem(Body):
    """A problem document, RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] | None = None
