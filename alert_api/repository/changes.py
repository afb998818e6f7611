"""Changes of status by a person or by quiet: alert, history, event and delivery together."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from alert_api import faults, states, tables
from alert_api.repository import bulk, outbox
from schemas.messages import AlertStatus

_alerts = tables.of(tables.Alert)
_changes = tables.of(tables.Change)
_deliveries = tables.of(tables.Delivery)


def lock(connection: sa.Connection, alerts: Collection[str]) -> list[Any]:
    """Return the rows of these alerts, held until the end."""
    return list(
        connection.execute(
            sa.select(_alerts)
            .where(bulk.among(connection, _alerts.c.id, sorted(alerts)))
            .order_by(_alerts.c.id)
            .with_for_update()
        )
    )


def set_status(
    connection: sa.Connection,
    alert: str,
    to: AlertStatus,
    *,
    revision: int,
    actor: str,
    now: int,
) -> Any:
    """Set a status for a person who saw `revision`; return the alert's row.

    Setting the status that it has already changes nothing. Raises Unknown, Stale, NotAllowed.
    """
    rows = lock(connection, [alert])
    if not rows:
        raise faults.Unknown(f"there is no alert {alert}")
    row = rows[0]
    if row.revision != revision:
        raise faults.Stale(
            f"the alert is at revision {row.revision} by now, {row.status}; look at it again"
        )
    status = AlertStatus(row.status)
    if status is to:
        return row
    if to not in states.allowed(status):
        others = ", ".join(states.allowed(status)) or "nothing, since it is final"
        raise faults.NotAllowed(f"a {status} alert can become {others}; not {to}")
    return apply(connection, rows, to, actor=actor, why="set by hand", now=now)[0]


def apply(
    connection: sa.Connection,
    rows: Sequence[Any],
    to: AlertStatus,
    *,
    actor: str,
    why: str,
    now: int,
) -> list[Any]:
    """Change the status of locked alerts, with all that follows; return their new rows."""
    if not rows:
        return []
    ids = [row.id for row in rows]
    values: dict[str, Any] = {
        "status": to.value,
        "revision": _alerts.c.revision + 1,
        "version": _alerts.c.version + 1,
        "published_at": now,
        "publish_due": None,
    }
    if to is AlertStatus.RESOLVED:
        values["resolved_at"] = now
    if to in {AlertStatus.TRIGGERED, AlertStatus.ACKNOWLEDGED}:
        values["triggered_at"] = sa.func.coalesce(_alerts.c.triggered_at, now)
    changed = connection.execute(
        sa.update(_alerts)
        .where(bulk.among(connection, _alerts.c.id, ids))
        .values(values)
        .returning(_alerts)
    ).all()
    bulk.insert(
        connection,
        tables.Change,
        [
            {
                "alert_id": row.id,
                "revision": row.revision,
                "status": to.value,
                "at": now,
                "actor": actor,
                "why": why,
            }
            for row in changed
        ],
    )
    outbox.add(connection, changed, now=now)
    _redirect(connection, changed, to, now=now)
    return list(changed)


def _redirect(connection: sa.Connection, rows: Sequence[Any], to: AlertStatus, *, now: int) -> None:
    """Say how the alerts should stand in GitLab now."""
    known = {
        row.alert_id: row
        for row in connection.execute(
            sa.select(_deliveries)
            .where(bulk.among(connection, _deliveries.c.alert_id, [row.id for row in rows]))
            .order_by(_deliveries.c.alert_id)
            .with_for_update()
        )
    }
    updates = []
    for delivery in known.values():
        before = states.Wanted(delivery.wanted)
        told = delivery.told != states.Wanted.NOTHING or delivery.unsure
        wanted = states.wanted(to, before=before, told=told)
        if wanted is not before:
            act = wanted in {states.Wanted.OPEN, states.Wanted.CLOSED}
            updates.append(
                {
                    "alert_id": delivery.alert_id,
                    "wanted": wanted.value,
                    "version": delivery.version + 1,
                    "due": now if act else None,
                    "attempts": 0,
                }
            )
    bulk.update(connection, tables.Delivery, updates, key="alert_id")
    if states.wanted(to, before=states.Wanted.NOTHING, told=False) is states.Wanted.OPEN:
        fresh = [row for row in rows if row.id not in known]
        bulk.insert(connection, tables.Delivery, [first_delivery(row, now=now) for row in fresh])


def first_delivery(row: Any, *, now: int) -> dict[str, Any]:
    """Return the delivery of an alert that GitLab is to hear of for the first time."""
    return {
        "alert_id": row.id,
        "project": row.project,
        "wanted": states.Wanted.OPEN.value,
        "version": 1,
        "told": states.Wanted.NOTHING.value,
        "unsure": False,
        "posted_at": None,
        "posted_events": 0,
        "due": now,
        "attempts": 0,
        "failure": None,
    }


def history(connection: sa.Connection, alert: str) -> list[Any]:
    """Return an alert's changes, the first first."""
    return list(
        connection.execute(
            sa.select(_changes).where(_changes.c.alert_id == alert).order_by(_changes.c.revision)
        )
    )
