"""The tables, as typed models; the migrations are what creates them.

Times are whole microseconds (`instants`). JSON is kept as text: nothing searches in it, and text is
what both databases write fastest.
"""

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from schemas.messages import AlertStatus

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The declarative base of all tables."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {int: sa.BigInteger, str: sa.Text}  # noqa: RUF012 - as SQLAlchemy asks


def of(model: type[Base]) -> sa.Table:
    """Return the table of a model, for statements of Core."""
    table = model.__table__
    if not isinstance(table, sa.Table):
        raise TypeError(f"{model} is not mapped to a table")
    return table


def _of_alert() -> Mapped[str]:
    return mapped_column(sa.ForeignKey("alerts.id", ondelete="CASCADE"), primary_key=True)


class Offset(Base):
    """From where a partition is read on: locked first, and moved with what it led to."""

    __tablename__ = "offsets"

    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    log: Mapped[str]
    """Identity of the log that the offset belongs to."""
    next: Mapped[int]


class Alert(Base):
    """One alert. At most one that is not resolved exists for a fingerprint."""

    __tablename__ = "alerts"

    id: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status: Mapped[str]
    revision: Mapped[int]
    version: Mapped[int]
    title: Mapped[str]
    severity: Mapped[str]
    severity_rank: Mapped[int] = mapped_column(sa.SmallInteger)
    project: Mapped[str]
    cluster: Mapped[str]
    policy_kind: Mapped[str]
    policy_namespace: Mapped[str]
    policy_name: Mapped[str]
    direction: Mapped[str]
    reason: Mapped[str]
    subject: Mapped[str]
    """A `Party` as JSON, like `peer`."""
    peer: Mapped[str]
    runbook: Mapped[str | None]
    threshold: Mapped[str | None]
    """A `Threshold` as JSON."""
    resolve_after: Mapped[int | None]
    explained: Mapped[str]
    """Digest of sentence and findings, to see cheaply whether they changed."""
    searched: Mapped[str]
    """Small letters of all that the text filter looks at."""
    events: Mapped[int]
    first_seen: Mapped[int]
    last_seen: Mapped[int]
    opened_at: Mapped[int]
    triggered_at: Mapped[int | None]
    resolved_at: Mapped[int | None]
    previous: Mapped[str | None]
    published_at: Mapped[int]
    publish_due: Mapped[int | None]
    """When counts that moved are to be told on picket.alerts; none moved where it is null."""

    __table_args__ = (
        sa.Index(
            "uq_alerts_open_fingerprint",
            "fingerprint",
            unique=True,
            sqlite_where=sa.text(f"status <> '{AlertStatus.RESOLVED}'"),
            postgresql_where=sa.text(f"status <> '{AlertStatus.RESOLVED}'"),
        ),
        sa.Index("ix_alerts_fingerprint_opened_at", "fingerprint", "opened_at"),
        sa.Index("ix_alerts_last_seen_id", "last_seen", "id"),
        sa.Index(
            "ix_alerts_publish_due",
            "publish_due",
            sqlite_where=sa.text("publish_due IS NOT NULL"),
            postgresql_where=sa.text("publish_due IS NOT NULL"),
        ),
    )


class Tally(Base):
    """The bounded counts of ports and peers of an alert, rewritten as matches come."""

    __tablename__ = "tallies"

    alert_id: Mapped[str] = _of_alert()
    ports: Mapped[str]
    """JSON list of [key, count, error], see `tallies`; so are `peers`."""
    peers: Mapped[str]
    samples: Mapped[int]
    """How many samples came in all; the next one goes to slot samples % 10."""


class Explanation(Base):
    """Why the flows were stopped, in words and by rule: written when it changes."""

    __tablename__ = "explanations"

    alert_id: Mapped[str] = _of_alert()
    sentence: Mapped[str]
    findings: Mapped[str]


class Minute(Base):
    """Flows of one alert in one UTC minute."""

    __tablename__ = "minutes"

    alert_id: Mapped[str] = _of_alert()
    minute: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    events: Mapped[int]
    first_seen: Mapped[int]
    last_seen: Mapped[int]


class Sample(Base):
    """One of the last flows of an alert, in a ring of ten slots."""

    __tablename__ = "samples"

    alert_id: Mapped[str] = _of_alert()
    slot: Mapped[int] = mapped_column(sa.SmallInteger, primary_key=True, autoincrement=False)
    number: Mapped[int]
    """Counts the samples of the alert, so that the newest can be told."""
    flow: Mapped[str]


class Change(Base):
    """A change of an alert's status: its history."""

    __tablename__ = "changes"

    alert_id: Mapped[str] = _of_alert()
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str]
    at: Mapped[int]
    actor: Mapped[str]
    why: Mapped[str]


class Stream(Base):
    """How far one partition of a cluster's flows has been matched."""

    __tablename__ = "streams"

    cluster: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str]
    flow_time: Mapped[int | None]
    unbroken_since: Mapped[int | None]
    flows: Mapped[int]
    updated_at: Mapped[int]


class Notice(Base):
    """Something that a person who relies on the alerts must know; counts add up."""

    __tablename__ = "notices"

    cluster: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    total: Mapped[int]
    first_seen: Mapped[int]
    last_seen: Mapped[int]
    detail: Mapped[str]


class Outbox(Base):
    """What is to be produced to picket.alerts, in this order."""

    __tablename__ = "outbox"

    number: Mapped[int] = mapped_column(
        sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
    )
    alert_id: Mapped[str]
    """Not a foreign key: a tombstone outlives its alert."""
    version: Mapped[int]
    value: Mapped[str | None]
    """The event as JSON; null is a tombstone."""

    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - as SQLAlchemy asks


class Delivery(Base):
    """How one alert stands in GitLab, and how it should."""

    __tablename__ = "deliveries"

    alert_id: Mapped[str] = _of_alert()
    project: Mapped[str]
    wanted: Mapped[str]
    """A `states.Wanted`."""
    version: Mapped[int]
    """Grows with each change of `wanted`; a result counts only for the version it is of."""
    told: Mapped[str]
    """A `states.Wanted`: what GitLab last took."""
    unsure: Mapped[bool]
    """Whether a request got no answer: GitLab may have acted on it, or may yet."""
    posted_at: Mapped[int | None]
    posted_events: Mapped[int]
    due: Mapped[int | None]
    """When to look at it next; null: nothing to do."""
    attempts: Mapped[int]
    failure: Mapped[str | None]

    __table_args__ = (sa.Index("ix_deliveries_project_due", "project", "due"),)


class Endpoint(Base):
    """How deliveries to one GitLab project go."""

    __tablename__ = "endpoints"

    project: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    reason: Mapped[str]
    since: Mapped[int]
    until: Mapped[int | None]
    """Not before this moment; null: at once, or while parked, not at all."""
    failures: Mapped[int]
    """In a row."""
    delivered: Mapped[int]
    token: Mapped[str]
    """Digest of the key in use when it was parked."""


class Lease(Base):
    """Which process does a job that only one may do."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    beat: Mapped[int]


class Mark(Base):
    """The end of a partition of picket.alerts up to which all that was produced is recorded."""

    __tablename__ = "marks"

    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    log: Mapped[str]
    end: Mapped[int]
