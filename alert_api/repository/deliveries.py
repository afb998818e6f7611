"""How alerts stand in GitLab and how they should, and how deliveries to each project go."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from alert_api import tables
from alert_api.repository import bulk
from alert_api.states import Wanted

_deliveries = tables.of(tables.Delivery)
_endpoints = tables.of(tables.Endpoint)
_alerts = tables.of(tables.Alert)


class EndpointState(StrEnum):
    """How deliveries to a project go."""

    OK = "ok"
    WAITING = "waiting"
    """It asked for less, or failed: tried again later."""
    PARKED = "parked"
    """It refused the key: nothing is sent until a person acts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How deliveries to one project go."""

    state: EndpointState = EndpointState.OK
    reason: str = ""
    since: int | None = None
    until: int | None = None
    failures: int = 0
    delivered: int = 0
    token: str = ""
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one delivery: the columns to set."""

    alert_id: str
    version: int
    told: Wanted
    unsure: bool
    posted_at: int | None
    posted_events: int
    due: int | None
    attempts: int
    failure: str | None


def standings(connection: sa.Connection, projects: Sequence[str]) -> dict[str, Standing]:
    """Return how deliveries to each of these projects go."""
    rows = connection.execute(
        sa.select(_endpoints).where(bulk.among(connection, _endpoints.c.project, projects))
    )
    known = {row.project: row for row in rows}
    undelivered = connection.execute(
        sa.select(_deliveries.c.project, sa.func.count())
        .where(
            bulk.among(connection, _deliveries.c.project, projects),
            _deliveries.c.due.is_not(None),
            _deliveries.c.told != _deliveries.c.wanted,
        )
        .group_by(_deliveries.c.project)
    )
    waiting: dict[str, int] = dict(undelivered.all())
    return {
        project: _standing(known.get(project), waiting=waiting.get(project, 0))
        for project in projects
    }


def set_standing(
    connection: sa.Connection, project: str, standing: Standing, *, delivered: int, now: int
) -> None:
    """Record how deliveries to a project go, and how many more arrived."""
    row = {
        "project": project,
        "state": standing.state.value,
        "reason": standing.reason,
        "since": now if standing.since is None else standing.since,
        "until": standing.until,
        "failures": standing.failures,
        "delivered": delivered,
        "token": standing.token,
    }
    merge = dict.fromkeys(("state", "reason", "since", "until", "failures", "token"), "new")
    bulk.insert(connection, tables.Endpoint, [row], on_conflict={**merge, "delivered": "add"})


def resume(connection: sa.Connection, project: str, *, now: int) -> None:
    """Let a project be tried again at once."""
    standing = Standing(reason="resumed by hand", since=now)
    set_standing(connection, project, standing, delivered=0, now=now)
    connection.execute(
        sa.update(_deliveries)
        .where(_deliveries.c.project == project, _deliveries.c.due > now)
        .where(_deliveries.c.told != _deliveries.c.wanted)
        .values(due=now)
    )


def due(connection: sa.Connection, project: str, *, now: int, limit: int) -> list[Any]:
    """Return deliveries of a project that are due, the longest waiting first, with their alerts."""
    statement = (
        sa.select(_deliveries, _alerts.c.events)
        .join(_alerts, _alerts.c.id == _deliveries.c.alert_id)
        .where(_deliveries.c.project == project, _deliveries.c.due <= now)
        .order_by(_deliveries.c.due, _deliveries.c.alert_id)
        .limit(limit)
    )
    return list(connection.execute(statement))


def record(connection: sa.Connection, outcomes: Sequence[Outcome], *, now: int) -> None:
    """Record what came of deliveries.

    Where something else was wanted in the meantime, it stays due: only what GitLab was told is
    taken over.
    """
    for outcome in outcomes:
        current = _deliveries.c.version == outcome.version
        connection.execute(
            sa.update(_deliveries)
            .where(_deliveries.c.alert_id == outcome.alert_id)
            .values(
                told=outcome.told.value,
                unsure=outcome.unsure,
                posted_at=outcome.posted_at,
                posted_events=outcome.posted_events,
                failure=outcome.failure,
                due=sa.case(
                    (current, sa.literal(outcome.due, sa.BigInteger())), else_=_otherwise(now)
                ),
                attempts=sa.case((current, outcome.attempts), else_=0),
            )
        )


def _otherwise(now: int) -> Any:
    """Return when a delivery that changed under way is due: at once, unless it is to be quiet."""
    acts = _deliveries.c.wanted.in_([Wanted.OPEN, Wanted.CLOSED])
    return sa.case((acts, sa.literal(now, sa.BigInteger())), else_=None)


def forget_unwanted(connection: sa.Connection, projects: Sequence[str]) -> None:
    """Drop what other projects were never told of and is over.

    So a project that is set up later hears of its open alerts, and not of all that ever was.
    """
    connection.execute(
        sa.update(_deliveries)
        .where(
            ~bulk.among(connection, _deliveries.c.project, projects),
            _deliveries.c.wanted == Wanted.CLOSED,
            _deliveries.c.told == Wanted.NOTHING,
            _deliveries.c.due.is_not(None),
        )
        .values(due=None)
    )


def _standing(row: Any, *, waiting: int) -> Standing:
    if row is None:
        return Standing(waiting=waiting)
    return Standing(
        state=EndpointState(row.state),
        reason=row.reason,
        since=row.since,
        until=row.until,
        failures=row.failures,
        delivered=row.delivered,
        token=row.token,
        waiting=waiting,
    )
