"""What is to be produced to picket.alerts: added with the change it tells of, removed once told."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from alert_api import events, instants, tables
from alert_api.repository import bulk

EVERY = 10 * instants.SECOND
"""Counts of one alert are told at most this often."""

_outbox = tables.of(tables.Outbox)
_alerts = tables.of(tables.Alert)
_marks = tables.of(tables.Mark)


@dataclass(frozen=True, slots=True)
class Pending:
    """One record to be produced."""

    number: int
    alert_id: str
    version: int
    value: str | None


def add(connection: sa.Connection, rows: Sequence[Any], *, now: int) -> None:
    """Add the events of alerts, as their rows are after the change; `version` is already theirs."""
    at = instants.to_datetime(now)
    bulk.insert(
        connection,
        tables.Outbox,
        [
            {
                "alert_id": row.id,
                "version": row.version,
                "value": events.event(events.shown(row), at=at),
            }
            for row in rows
        ],
    )


def add_tombstones(connection: sa.Connection, alerts: Sequence[tuple[str, int]]) -> None:
    """Add the end of alerts, given their ids and the versions after their last."""
    rows = [{"alert_id": alert, "version": version, "value": None} for alert, version in alerts]
    bulk.insert(connection, tables.Outbox, rows)


def add_due(connection: sa.Connection, *, now: int, limit: int) -> int:
    """Add events for alerts whose counts moved and that were last told 10 s ago or earlier."""
    due = (
        sa.select(_alerts.c.id)
        .where(_alerts.c.publish_due <= now)
        .order_by(_alerts.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(due).scalars())
    if not ids:
        return 0
    rows = connection.execute(
        sa.update(_alerts)
        .where(bulk.among(connection, _alerts.c.id, ids))
        .values(version=_alerts.c.version + 1, published_at=now, publish_due=None)
        .returning(_alerts)
    ).all()
    add(connection, rows, now=now)
    return len(rows)


def oldest(connection: sa.Connection, *, limit: int) -> list[Pending]:
    """Return the records that come next."""
    rows = connection.execute(sa.select(_outbox).order_by(_outbox.c.number).limit(limit))
    return [Pending(row.number, row.alert_id, row.version, row.value) for row in rows]


def remove(connection: sa.Connection, numbers: Collection[int]) -> None:
    """Remove what was produced."""
    connection.execute(
        sa.delete(_outbox).where(bulk.among(connection, _outbox.c.number, list(numbers)))
    )


def depth(connection: sa.Connection) -> int:
    """Return how many records wait."""
    return connection.execute(sa.select(sa.func.count()).select_from(_outbox)).scalar_one()


def marks(connection: sa.Connection, topic: str, *, log: str) -> dict[int, int]:
    """Return, by partition, the end of the topic up to which everything is known to be removed."""
    rows = connection.execute(sa.select(_marks).where(_marks.c.topic == topic, _marks.c.log == log))
    return {row.partition: row.end for row in rows}


def set_marks(connection: sa.Connection, topic: str, *, log: str, ends: dict[int, int]) -> None:
    """Remember the ends; only valid while nothing produced is still in the outbox."""
    bulk.insert(
        connection,
        tables.Mark,
        [
            {"topic": topic, "partition": partition, "log": log, "end": end}
            for partition, end in sorted(ends.items())
        ],
        on_conflict={"log": "new", "end": "new"},
    )
