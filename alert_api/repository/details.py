"""All that is known of one alert beyond its line in the list."""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from alert_api import counters, tables

MAX_MINUTES = 24 * 60

_explanations = tables.of(tables.Explanation)
_tallies = tables.of(tables.Tally)
_minutes = tables.of(tables.Minute)
_samples = tables.of(tables.Sample)
_deliveries = tables.of(tables.Delivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Why, from where, to where and when."""

    sentence: str
    findings: list[dict[str, Any]]
    ports: list[tuple[str, int]]
    """Protocol/port and count, heaviest first; so are the peers, by address and name."""
    peers: list[tuple[str, int]]
    minutes: list[tuple[int, int]]
    """The newest day of minutes with their counts, oldest first."""
    samples: list[dict[str, Any]]
    """The last flows, newest first."""
    delivery: Any | None


def of_alert(connection: sa.Connection, alert: str) -> Details:
    """Return the details of an alert that exists."""
    explanation = connection.execute(
        sa.select(_explanations).where(_explanations.c.alert_id == alert)
    ).one()
    tally = connection.execute(sa.select(_tallies).where(_tallies.c.alert_id == alert)).one()
    minutes = connection.execute(
        sa.select(_minutes.c.minute, _minutes.c.events)
        .where(_minutes.c.alert_id == alert)
        .order_by(_minutes.c.minute.desc())
        .limit(MAX_MINUTES)
    ).all()
    samples = connection.execute(
        sa.select(_samples.c.flow)
        .where(_samples.c.alert_id == alert)
        .order_by(_samples.c.number.desc())
    ).scalars()
    delivery = connection.execute(
        sa.select(_deliveries).where(_deliveries.c.alert_id == alert)
    ).one_or_none()
    return Details(
        sentence=explanation.sentence,
        findings=json.loads(explanation.findings),
        ports=counters.load(json.loads(tally.ports)).known(),
        peers=counters.load(json.loads(tally.peers)).known(),
        minutes=[(row.minute, row.events) for row in reversed(minutes)],
        samples=[json.loads(flow) for flow in samples],
        delivery=delivery,
    )
