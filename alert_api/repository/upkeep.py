"""What time does to alerts: quiet resolves them, and old ones go."""

from typing import Any

import sqlalchemy as sa

from alert_api import instants, states, tables
from alert_api.repository import bulk, changes, outbox
from schemas.messages import AlertStatus

_alerts = tables.of(tables.Alert)
_minutes = tables.of(tables.Minute)
_deliveries = tables.of(tables.Delivery)


def resolve_quiet(
    connection: sa.Connection,
    *,
    cluster: str,
    watched: tuple[int, int],
    default: int | None,
    now: int,
    limit: int,
) -> int:
    """Resolve the cluster's alerts that were quiet for long enough while it was watched.

    Ignored ones stay as they are: resolved, the next match would raise them again. A policy's own
    `resolve_after` of 0 means never.
    """
    since, until = watched
    after = sa.func.coalesce(_alerts.c.resolve_after, default)
    last = sa.case((_alerts.c.last_seen > since, _alerts.c.last_seen), else_=since)
    rows = connection.execute(
        sa.select(_alerts)
        .where(
            _alerts.c.cluster == cluster,
            _alerts.c.status.in_([AlertStatus.TRIGGERED, AlertStatus.ACKNOWLEDGED]),
            after > 0,
            until - last >= after * instants.SECOND,
        )
        .order_by(_alerts.c.id)
        .limit(limit)
        .with_for_update()
    ).all()
    quiet = [row for row in rows if _is_quiet(row, watched=watched, default=default)]
    why = "quiet for as long as was asked, while the cluster was watched"
    changes.apply(connection, quiet, AlertStatus.RESOLVED, actor="picket", why=why, now=now)
    return len(quiet)


def _is_quiet(row: Any, *, watched: tuple[int, int], default: int | None) -> bool:
    """Return whether the locked row is quiet still: it may have moved since it was found."""
    seconds: int = (default if row.resolve_after is None else row.resolve_after) or 0
    return seconds > 0 and states.quiet_long_enough(
        last_seen=row.last_seen, seconds=seconds, watched=watched
    )


def purge(connection: sa.Connection, *, before: int, limit: int) -> int:
    """Remove alerts that were resolved before a moment, pending ones not seen since, old minutes.

    An alert of which GitLab is still to hear stays until it has. Returns how many alerts went.
    """
    waiting = (
        sa.select(_deliveries.c.alert_id)
        .where(_deliveries.c.alert_id == _alerts.c.id, _deliveries.c.due.is_not(None))
        .exists()
    )
    old = connection.execute(
        sa.select(_alerts.c.id, _alerts.c.version)
        .where(
            sa.or_(
                sa.and_(
                    _alerts.c.status == AlertStatus.RESOLVED,
                    _alerts.c.resolved_at < before,
                    ~waiting,
                ),
                sa.and_(_alerts.c.status == AlertStatus.PENDING, _alerts.c.last_seen < before),
            )
        )
        .order_by(_alerts.c.id)
        .limit(limit)
        .with_for_update()
    ).all()
    connection.execute(sa.delete(_minutes).where(_minutes.c.minute < before))
    if not old:
        return 0
    # A version of 0 was never told.
    outbox.add_tombstones(connection, [(row.id, row.version + 1) for row in old if row.version])
    connection.execute(
        sa.delete(_alerts).where(bulk.among(connection, _alerts.c.id, [row.id for row in old]))
    )
    return len(old)
