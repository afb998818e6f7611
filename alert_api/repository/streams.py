"""How far each cluster has been watched, and the notices of what may be missing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from alert_api import states, tables
from alert_api.gathering import NoticeCount, NoticeKey, Reached, Views
from alert_api.repository import bulk
from schemas.messages import StreamState

_streams = tables.of(tables.Stream)
_notices = tables.of(tables.Notice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster's stream, the worst of its partitions."""

    name: str
    state: StreamState
    flow_time: int | None
    unbroken_since: int | None
    flows: int
    updated_at: int


# The worst comes first.
_ORDER = (StreamState.BLIND, StreamState.CATCHING_UP, StreamState.LIVE, StreamState.ENDED)


def views(connection: sa.Connection, clusters: Iterable[str]) -> Views:
    """Return how far the parts of these clusters have been watched, held until the end."""
    statement = (
        sa.select(_streams)
        .where(bulk.among(connection, _streams.c.cluster, sorted(set(clusters))))
        .order_by(_streams.c.cluster, _streams.c.partition)
        .with_for_update()
    )
    return {(row.cluster, row.partition): _view(row) for row in connection.execute(statement)}


def every_view(connection: sa.Connection) -> dict[str, list[states.View]]:
    """Return the parts of all clusters, by cluster."""
    found: dict[str, list[states.View]] = {}
    for row in connection.execute(sa.select(_streams)):
        found.setdefault(row.cluster, []).append(_view(row))
    return found


def advance(
    connection: sa.Connection, parts: Mapping[tuple[str, int], Reached], *, now: int
) -> None:
    """Write how far parts of clusters have come."""
    rows = [
        {
            "cluster": cluster,
            "partition": partition,
            "state": part.view.state.value,
            "flow_time": part.view.flow_time,
            "unbroken_since": part.view.unbroken_since,
            "flows": part.flows,
            "updated_at": now,
        }
        for (cluster, partition), part in sorted(parts.items())
        if part.view is not None
    ]
    bulk.insert(
        connection,
        tables.Stream,
        rows,
        on_conflict={
            "state": "new",
            "flow_time": "new",
            "unbroken_since": "new",
            "flows": "add",
            "updated_at": "new",
        },
    )


def break_all(connection: sa.Connection, *, until: int) -> None:
    """Record that flows of any cluster up to `until` may have been missed."""
    since = sa.func.coalesce(_streams.c.unbroken_since, until)
    connection.execute(
        sa.update(_streams).values(unbroken_since=sa.case((since > until, since), else_=until))
    )


def note(connection: sa.Connection, notices: Mapping[NoticeKey, NoticeCount]) -> None:
    """Add notices to what was counted before."""
    rows = [
        {
            "cluster": key.cluster,
            "kind": key.kind.value,
            "reason": key.reason,
            "node": key.node,
            "total": notice.count,
            "first_seen": notice.first,
            "last_seen": notice.last,
            "detail": notice.detail,
        }
        for key, notice in sorted(
            notices.items(), key=lambda item: (item[0].cluster, item[0].kind, item[0].reason)
        )
    ]
    merge = {"total": "add", "first_seen": "least", "last_seen": "greatest", "detail": "new"}
    bulk.insert(connection, tables.Notice, rows, on_conflict=merge)


def clusters(connection: sa.Connection) -> list[Cluster]:
    """Return all clusters by name."""
    found: dict[str, list[Any]] = {}
    for row in connection.execute(sa.select(_streams).order_by(_streams.c.cluster)):
        found.setdefault(row.cluster, []).append(row)
    return [_cluster(name, rows) for name, rows in found.items()]


def notices(connection: sa.Connection, *, limit: int) -> list[Any]:
    """Return notices, the newest first."""
    statement = sa.select(_notices).order_by(
        _notices.c.last_seen.desc(), _notices.c.cluster, _notices.c.kind, _notices.c.reason
    )
    return list(connection.execute(statement.limit(limit)))


def _cluster(name: str, rows: list[Any]) -> Cluster:
    times = [row.flow_time for row in rows]
    since = [row.unbroken_since for row in rows]
    return Cluster(
        name=name,
        state=min((StreamState(row.state) for row in rows), key=_ORDER.index),
        flow_time=None if None in times else min(times),
        unbroken_since=None if None in since else max(since),
        flows=sum(row.flows for row in rows),
        updated_at=max(row.updated_at for row in rows),
    )


def _view(row: Any) -> states.View:
    return states.View(
        state=StreamState(row.state),
        flow_time=row.flow_time,
        unbroken_since=row.unbroken_since,
    )
