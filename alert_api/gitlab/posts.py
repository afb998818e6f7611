"""What is posted to GitLab, and when: pure decisions on how an alert stands there.

GitLab keeps one alert a fingerprint while it is open there, and makes a new one after. So the
fingerprint that is sent is the alert's own, not the flow's: nothing of one alert can touch the next
one of the same flows. See docs/decisions/0004-each-alert-exists-once-in-gitlab.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from alert_api import instants
from alert_api.states import Wanted
from schemas import messages

# Where GitLab cuts off, so that we do it where it reads best.
TITLE = 200
DESCRIPTION = 1000
SERVICE = 100
HOSTS = 255
KEPT = 10
"""Findings, ports and peers in the details: the whole must stay far below 1 MB."""
KEPT_TEXT = 2000

REPEAT = instants.HOUR
"""While events go on, GitLab is told at most this often."""
LOOK = 5 * instants.MINUTE
"""After an hour without events, how often to look for new ones."""
STRAGGLER = 10 * instants.MINUTE
"""How long a request without an answer may wait somewhere between before GitLab gets it."""


class Post(Enum):
    """What to send."""

    TRIGGER = auto()
    REPEAT = auto()
    RESOLVE = auto()
    CONFIRM = auto()
    """The resolve once more: a request that got no answer may have come in after the first."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to send now; look again at `until`, or never."""

    until: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How one alert stands in GitLab, and how it should."""

    wanted: Wanted
    told: Wanted
    unsure: bool
    posted_at: int | None
    posted_events: int
    events: int


def decide(stand: Stand, *, now: int) -> Post | Wait:  # noqa: PLR0911 - a table
    """Return what comes next. A trigger always goes before a resolve."""
    if stand.wanted not in {Wanted.OPEN, Wanted.CLOSED}:
        return Wait(None)
    if stand.told is Wanted.NOTHING:
        return Post.TRIGGER
    posted_at = stand.posted_at or 0
    if stand.wanted is Wanted.OPEN:
        if now < posted_at + REPEAT:
            return Wait(posted_at + REPEAT)
        return Post.REPEAT if stand.events > stand.posted_events else Wait(now + LOOK)
    if stand.told is not Wanted.CLOSED:
        return Post.RESOLVE
    if not stand.unsure:
        return Wait(None)
    return Post.CONFIRM if now >= posted_at + STRAGGLER else Wait(posted_at + STRAGGLER)


def after(stand: Stand, post: Post, *, answered: bool, now: int) -> Stand:
    """Return how the alert stands once GitLab took a post, or maybe took it."""
    told, unsure = stand.told, stand.unsure
    posted_at, posted_events = stand.posted_at, stand.posted_events
    if not answered:
        unsure = True
    else:
        told = Wanted.OPEN if post in {Post.TRIGGER, Post.REPEAT} else Wanted.CLOSED
        posted_at, posted_events = now, stand.events
        unsure = unsure and post is not Post.CONFIRM
    return Stand(
        wanted=stand.wanted,
        told=told,
        unsure=unsure,
        posted_at=posted_at,
        posted_events=posted_events,
        events=stand.events,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the payload is made of besides the alert."""

    sentence: str
    findings: Sequence[dict[str, Any]]
    ports: Sequence[tuple[str, int]]
    peers: Sequence[tuple[str, int]]
    environment: str | None = None
    page: str | None = None
    """Address of the alert's page."""


def fingerprint(alert: str) -> str:
    """Return the fingerprint under which GitLab knows an alert."""
    return f"picket-{alert}"


def payload(
    alert: messages.Alert, known: Known, *, ended: datetime | None = None
) -> dict[str, Any]:
    """Return the JSON to post; with `ended` it resolves. What has no value is left out."""
    policy = alert.policy
    name = f"{policy.namespace}/{policy.name}" if policy.namespace else policy.name
    fields: dict[str, Any] = {
        "title": _cut(alert.title, TITLE),
        "description": _cut(known.sentence, DESCRIPTION),
        "fingerprint": fingerprint(alert.id),
        "severity": alert.severity.value,
        "start_time": alert.first_seen.isoformat(),
        "end_time": ended.isoformat() if ended else None,
        "service": _cut(name, SERVICE),
        "hosts": [_cut(alert.subject.text, HOSTS)],
        "monitoring_tool": "Picket",
        "runbook": alert.runbook,
        "gitlab_environment_name": known.environment,
        "picket": {
            "alert": alert.id,
            "url": known.page,
            "cluster": alert.cluster,
            "policy": policy.model_dump(),
            "direction": alert.direction,
            "reason": alert.reason,
            "subject": alert.subject.model_dump(),
            "peer": alert.peer.model_dump(),
            "events": alert.events,
            "last_seen": alert.last_seen.isoformat(),
            "previous": alert.previous,
            "findings": [
                {name: _short(value) for name, value in finding.items()}
                for finding in known.findings[:KEPT]
            ],
            "ports": dict(known.ports[:KEPT]),
            "peers": {key.strip(): count for key, count in known.peers[:KEPT]},
        },
    }
    details = {name: value for name, value in fields["picket"].items() if value not in (None, [])}
    return {name: value for name, value in fields.items() if value is not None} | {
        "picket": details
    }


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _short(value: Any) -> Any:
    return _cut(value, KEPT_TEXT) if isinstance(value, str) else value
