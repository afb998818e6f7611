"""An alert as it is shown: in the list, and as the CloudEvent on picket.alerts."""

from datetime import datetime
from typing import Any

from alert_api import instants
from schemas import messages

SOURCE = "/picket/alert-api"


def shown(row: Any) -> messages.Alert:
    """Return the alert of a row of the table `alerts`, or of anything with its columns."""
    return messages.Alert(
        id=row.id,
        fingerprint=row.fingerprint,
        status=row.status,
        revision=row.revision,
        version=row.version,
        title=row.title,
        severity=row.severity,
        project=row.project,
        cluster=row.cluster,
        policy=messages.PolicyIdentity(
            kind=row.policy_kind, namespace=row.policy_namespace, name=row.policy_name
        ),
        direction=row.direction,
        reason=row.reason,
        subject=messages.Party.model_validate_json(row.subject),
        peer=messages.Party.model_validate_json(row.peer),
        events=row.events,
        first_seen=instants.to_datetime(row.first_seen),
        last_seen=instants.to_datetime(row.last_seen),
        triggered_at=instants.maybe(row.triggered_at),
        resolved_at=instants.maybe(row.resolved_at),
        previous=row.previous,
        runbook=row.runbook,
    )


def event(alert: messages.Alert, *, at: datetime) -> str:
    """Return the record's value. Its id names alert and version: who saw it may drop it."""
    return messages.AlertEvent(
        id=f"{alert.id}/{alert.version}",
        source=SOURCE,
        subject=alert.id,
        time=at,
        data=alert,
    ).model_dump_json()
