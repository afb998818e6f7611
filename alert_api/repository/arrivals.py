"""Matches onto alerts: in one transaction, in a handful of statements however many there are.

The caller holds the offset rows of the partitions that the matches came from.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from alert_api import counters, gathering, instants, states, tables
from alert_api.decoding import KEPT_SAMPLES
from alert_api.gathering import Gathered
from alert_api.repository import bulk, changes, outbox
from schemas.messages import AlertStatus

ACTOR = "picket"

_alerts = tables.of(tables.Alert)
_tallies = tables.of(tables.Tally)
_minutes = tables.of(tables.Minute)

_READ = (
    _alerts.c.id,
    _alerts.c.fingerprint,
    _alerts.c.status,
    _alerts.c.revision,
    _alerts.c.version,
    _alerts.c.explained,
    _alerts.c.events,
    _alerts.c.first_seen,
    _alerts.c.last_seen,
    _alerts.c.triggered_at,
    _alerts.c.previous,
    _alerts.c.published_at,
    _alerts.c.publish_due,
    _tallies.c.ports,
    _tallies.c.peers,
    _tallies.c.samples,
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """What the matches led to."""

    opened: int
    triggered: int


@dataclass(slots=True)
class _Writes:
    """Rows to be written, by table."""

    opened: list[dict[str, Any]] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)
    new_tallies: list[dict[str, Any]] = field(default_factory=list)
    tallies: list[dict[str, Any]] = field(default_factory=list)
    explanations: list[dict[str, Any]] = field(default_factory=list)
    minutes: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    told: list[SimpleNamespace] = field(default_factory=list)


def record(connection: sa.Connection, gathered: Mapping[str, Gathered], *, now: int) -> Arrived:
    """Count the matches on the open alerts of their fingerprints, and open the alerts missing."""
    known = _open_alerts(connection, gathered)
    previous = _last_resolved(connection, [name for name in gathered if name not in known])
    earlier = _earlier_minutes(connection, gathered, known)
    writes = _Writes()
    for fingerprint, arrived in gathered.items():
        row = known.get(fingerprint)
        if row is None:
            _open(writes, arrived, previous=previous.get(fingerprint), now=now)
        else:
            _count(writes, arrived, row, earlier.get(row.id, {}), now=now)
    _write(connection, writes, now=now)
    return Arrived(opened=len(writes.opened), triggered=len(writes.deliveries))


def _open_alerts(connection: sa.Connection, fingerprints: Mapping[str, Any]) -> dict[str, Any]:
    statement = (
        sa.select(*_READ)
        .join_from(_alerts, _tallies, _tallies.c.alert_id == _alerts.c.id)
        .where(
            bulk.among(connection, _alerts.c.fingerprint, list(fingerprints)),
            # Spelled out, not bound, so that the planner sees that the partial index fits.
            _alerts.c.status != sa.literal_column(f"'{AlertStatus.RESOLVED}'"),
        )
        # One order for all who lock alerts: no deadlocks.
        .order_by(_alerts.c.id)
        .with_for_update(of=_alerts, key_share=True)
    )
    return {row.fingerprint: row for row in connection.execute(statement)}


def _last_resolved(connection: sa.Connection, fingerprints: Sequence[str]) -> dict[str, str]:
    if not fingerprints:
        return {}
    statement = (
        sa.select(_alerts.c.fingerprint, _alerts.c.id)
        .where(bulk.among(connection, _alerts.c.fingerprint, fingerprints))
        .order_by(_alerts.c.fingerprint, _alerts.c.opened_at, _alerts.c.id)
    )
    # The last of each fingerprint stays.
    return {row.fingerprint: row.id for row in connection.execute(statement)}


def _earlier_minutes(
    connection: sa.Connection, gathered: Mapping[str, Gathered], known: Mapping[str, Any]
) -> dict[str, dict[int, states.Interval]]:
    """Return the stored minutes that may matter to a threshold, of pending alerts only."""
    waiting = [
        (row.id, min(arrived.minutes) - (threshold.seconds + 60) * instants.SECOND)
        for fingerprint, row in known.items()
        if row.status == AlertStatus.PENDING
        and (arrived := gathered[fingerprint])
        and (threshold := arrived.match.threshold)
    ]
    if not waiting:
        return {}
    statement = sa.select(_minutes).where(
        bulk.among(connection, _minutes.c.alert_id, [alert for alert, _ in waiting]),
        _minutes.c.minute >= min(since for _, since in waiting),
    )
    found: dict[str, dict[int, states.Interval]] = {}
    for row in connection.execute(statement):
        minute = states.Interval(row.first_seen, row.last_seen, row.events)
        found.setdefault(row.alert_id, {})[row.minute] = minute
    return found


def _met(arrived: Gathered, earlier: Mapping[int, states.Interval]) -> bool:
    threshold = arrived.match.threshold
    if threshold is None:
        return True
    minutes = dict(earlier)
    for minute, new in arrived.minutes.items():
        old = minutes.get(minute, new)
        count = new.count + (old.count if minute in minutes else 0)
        minutes[minute] = states.Interval(min(old.first, new.first), max(old.last, new.last), count)
    return states.threshold_met(threshold.count, threshold.seconds, minutes.values())


def _open(writes: _Writes, arrived: Gathered, *, previous: str | None, now: int) -> None:
    match = arrived.match
    alert = gathering.alert_id(arrived.opened_by)
    status = states.opening(met=_met(arrived, {}))
    triggered = status is AlertStatus.TRIGGERED
    findings, digest = gathering.explained(match)
    row = {
        "id": alert,
        "revision": 1,
        **_identity(match),
        "searched": gathering.searched(match, alert=alert),
        "opened_at": now,
        "previous": previous,
        **_counted(arrived, digest, events=0, first=arrived.first, last=arrived.last),
        "status": status.value,
        "version": int(triggered),
        "triggered_at": now if triggered else None,
        "published_at": now,
        "publish_due": None,
    }
    writes.opened.append(row)
    _explain(writes, alert, match.sentence, findings)
    ports, peers = counters.Counters(), counters.Counters()
    writes.new_tallies.append(_tally(writes, arrived, alert, ports, peers, samples=0))
    _change(writes, alert, revision=1, status=status, now=now)
    if triggered:
        _trigger(writes, row, now=now)


def _count(
    writes: _Writes,
    arrived: Gathered,
    row: Any,
    earlier: Mapping[int, states.Interval],
    *,
    now: int,
) -> None:
    match = arrived.match
    before = AlertStatus(row.status)
    met = before is AlertStatus.PENDING and _met(arrived, earlier)
    status = states.after_matches(before, met=met)
    triggered = status is not before
    findings, digest = gathering.explained(match)
    due = row.publish_due
    if status is AlertStatus.PENDING or triggered:
        due = None
    elif due is None:
        due = max(now, row.published_at + outbox.EVERY)
    update = {
        "id": row.id,
        "revision": row.revision + triggered,
        **_counted(
            arrived,
            digest,
            events=row.events,
            first=min(row.first_seen, arrived.first),
            last=max(row.last_seen, arrived.last),
        ),
        "status": status.value,
        "version": row.version + triggered,
        "triggered_at": now if triggered else row.triggered_at,
        "published_at": now if triggered else row.published_at,
        "publish_due": due,
    }
    writes.counted.append(update)
    if digest != row.explained:
        _explain(writes, row.id, match.sentence, findings)
    ports, peers = counters.load(json.loads(row.ports)), counters.load(json.loads(row.peers))
    writes.tallies.append(_tally(writes, arrived, row.id, ports, peers, samples=row.samples))
    if triggered:
        _change(writes, row.id, revision=update["revision"], status=status, now=now)
        _trigger(writes, {**_identity(match), "previous": row.previous, **update}, now=now)


def _identity(match: Any) -> dict[str, Any]:
    """Return the columns that never change, from any match of the alert."""
    return {
        "fingerprint": match.fingerprint,
        "title": gathering.title(match),
        "project": match.project,
        "cluster": match.cluster,
        "policy_kind": match.policy.kind,
        "policy_namespace": match.policy.namespace,
        "policy_name": match.policy.name,
        "direction": match.direction,
        "reason": match.reason,
        "subject": match.subject.model_dump_json(),
        "peer": match.peer.model_dump_json(),
        "resolved_at": None,
    }


def _counted(
    arrived: Gathered, digest: str, *, events: int, first: int, last: int
) -> dict[str, Any]:
    """Return the columns that move with every match."""
    match = arrived.match
    return {
        "severity": match.severity.value,
        "severity_rank": gathering.RANKS[match.severity],
        "runbook": match.runbook,
        "threshold": match.threshold.model_dump_json() if match.threshold else None,
        "resolve_after": match.resolve_after,
        "explained": digest,
        "events": events + arrived.count,
        "first_seen": first,
        "last_seen": last,
    }


def _tally(
    writes: _Writes,
    arrived: Gathered,
    alert: str,
    ports: counters.Counters,
    peers: counters.Counters,
    *,
    samples: int,
) -> dict[str, Any]:
    ports.add(arrived.ports)
    peers.add(arrived.peers)
    for minute, seen in arrived.minutes.items():
        writes.minutes.append(
            {
                "alert_id": alert,
                "minute": minute,
                "events": seen.count,
                "first_seen": seen.first,
                "last_seen": seen.last,
            }
        )
    for number, flow in enumerate(arrived.samples, samples):
        writes.samples.append(
            {"alert_id": alert, "slot": number % KEPT_SAMPLES, "number": number, "flow": flow}
        )
    return {
        "alert_id": alert,
        "ports": json.dumps(ports.rows()),
        "peers": json.dumps(peers.rows()),
        "samples": samples + len(arrived.samples),
    }


def _explain(writes: _Writes, alert: str, sentence: str, findings: str) -> None:
    writes.explanations.append({"alert_id": alert, "sentence": sentence, "findings": findings})


def _change(writes: _Writes, alert: str, *, revision: int, status: AlertStatus, now: int) -> None:
    why = "the threshold is not met yet" if status is AlertStatus.PENDING else "flows were stopped"
    writes.changes.append(
        {
            "alert_id": alert,
            "revision": revision,
            "status": status.value,
            "at": now,
            "actor": ACTOR,
            "why": why,
        }
    )


def _trigger(writes: _Writes, row: Mapping[str, Any], *, now: int) -> None:
    writes.told.append(SimpleNamespace(**row))
    writes.deliveries.append(changes.first_delivery(writes.told[-1], now=now))


def _write(connection: sa.Connection, writes: _Writes, *, now: int) -> None:
    bulk.insert(connection, tables.Alert, writes.opened)
    bulk.update(connection, tables.Alert, writes.counted, key="id")
    bulk.insert(connection, tables.Tally, writes.new_tallies)
    bulk.update(connection, tables.Tally, writes.tallies, key="alert_id")
    replace = {"sentence": "new", "findings": "new"}
    bulk.insert(connection, tables.Explanation, writes.explanations, on_conflict=replace)
    bulk.insert(
        connection,
        tables.Minute,
        writes.minutes,
        on_conflict={"events": "add", "first_seen": "least", "last_seen": "greatest"},
    )
    replace = {"number": "new", "flow": "new"}
    bulk.insert(connection, tables.Sample, writes.samples, on_conflict=replace)
    bulk.insert(connection, tables.Change, writes.changes)
    bulk.insert(connection, tables.Delivery, writes.deliveries)
    outbox.add(connection, writes.told, now=now)
