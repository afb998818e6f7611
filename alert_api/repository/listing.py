"""The list of alerts: filters, orders and pages that stay put while counts move."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from alert_api import faults, tables
from schemas.messages import AlertStatus, Severity

_alerts = tables.of(tables.Alert)


class Order(StrEnum):
    """By what alerts can be sorted; with a minus the other way round."""

    NEWEST = "-last_seen"
    LAST_SEEN = "last_seen"
    LATEST_START = "-first_seen"
    FIRST_SEEN = "first_seen"
    MOST_EVENTS = "-events"
    EVENTS = "events"
    MOST_SEVERE = "-severity"
    SEVERITY = "severity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What an alert must be to be listed; what is empty asks nothing."""

    status: Sequence[AlertStatus] = ()
    """Empty: every status but pending."""
    severity: Sequence[Severity] = ()
    project: str | None = None
    policy: str | None = None
    """A policy's name, or namespace/name."""
    namespace: str | None = None
    """Of the policy."""
    cluster: str | None = None
    text: str | None = None
    """Every word must be found."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some alerts, and the cursor of those that follow."""

    rows: Sequence[Any]
    following: str | None


def alerts(
    connection: sa.Connection,
    filters: Filters,
    *,
    order: Order,
    limit: int,
    cursor: str | None = None,
) -> Page:
    """Return a page. Raises Invalid for a cursor that is not of this order.

    A cursor holds the last alert's place in the order, so alerts that come or go shift nothing. One
    whose sort value moves between two pages can show twice or be passed by; first_seen does not
    move while an alert is open.
    """
    column, descending = _column(order)
    statement = sa.select(_alerts).where(*_conditions(filters))
    if cursor is not None:
        value, last = _decode(cursor, order)
        place, key = sa.tuple_(column, _alerts.c.id), sa.tuple_(sa.literal(value), sa.literal(last))
        statement = statement.where(place < key if descending else place > key)
    keys = (column, _alerts.c.id)
    statement = statement.order_by(*(key.desc() if descending else key.asc() for key in keys))
    rows = connection.execute(statement.limit(limit + 1)).all()
    if len(rows) <= limit:
        return Page(rows, None)
    last_row = rows[limit - 1]
    return Page(rows[:limit], _encode(order, getattr(last_row, column.name), last_row.id))


def one(connection: sa.Connection, alert: str) -> Any:
    """Return an alert's row. Raises Unknown."""
    row = connection.execute(sa.select(_alerts).where(_alerts.c.id == alert)).one_or_none()
    if row is None:
        raise faults.Unknown(f"there is no alert {alert}")
    return row


def counts(connection: sa.Connection) -> dict[AlertStatus, int]:
    """Return how many alerts have each status."""
    statement = sa.select(_alerts.c.status, sa.func.count()).group_by(_alerts.c.status)
    found = {AlertStatus(status): count for status, count in connection.execute(statement)}
    return {status: found.get(status, 0) for status in AlertStatus}


def _column(order: Order) -> tuple[Any, bool]:
    name = order.value.removeprefix("-")
    column = _alerts.c["severity_rank" if name == "severity" else name]
    return column, order.value.startswith("-")


def _conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    statuses = filters.status or [status for status in AlertStatus if status != "pending"]
    conditions: list[sa.ColumnElement[bool]] = [_alerts.c.status.in_(statuses)]
    if filters.severity:
        conditions.append(_alerts.c.severity.in_(filters.severity))
    for name, value in (
        ("project", filters.project),
        ("cluster", filters.cluster),
        ("policy_namespace", filters.namespace),
    ):
        if value is not None:
            conditions.append(_alerts.c[name] == value)
    if filters.policy is not None:
        namespace, slash, name = filters.policy.rpartition("/")
        conditions.append(_alerts.c.policy_name == name)
        if slash:
            conditions.append(_alerts.c.policy_namespace == namespace)
    conditions += [
        _alerts.c.searched.contains(word, autoescape=True)
        for word in (filters.text or "").lower().split()
    ]
    return conditions


def _encode(order: Order, value: int, last: str) -> str:
    text = json.dumps([order.value, value, last], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str, order: Order) -> tuple[int, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        match json.loads(text):
            case [order.value, int(value), str(last)] if abs(value) < 2**63 and "\0" not in last:
                return value, last
            case _:
                raise faults.Invalid("the cursor is of another list, or in another order")
    except (binascii.Error, ValueError):
        raise faults.Invalid("the cursor is none of this API's") from None
