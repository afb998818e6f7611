"""Labels and annotations that ask for alerts, and will not be heard."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies import alerting
from policies.decoding import Field, PolicyRejected
from policies.linting import effects
from policies.linting.findings import Finding, Path, Rule, Severity
from policies.linting.subjects import Subject
from policies.model import PeerRule

PROJECT: Final = Rule(
    id="alert-without-project",
    severity=Severity.WARNING,
    what="The policy asks for alerts and does not say which project they are for.",
    why="Without the label `app.gitlab.com/proj` nobody is told.",
    mend="Add the label, with the number of the GitLab project.",
    wrong="""\
        metadata:
          annotations: {app.gitlab.com/alert: "true"}
        """,
    right="""\
        metadata:
          labels: {app.gitlab.com/proj: "42"}
          annotations: {app.gitlab.com/alert: "true"}
        """,
)
NO_ALERT: Final = Rule(
    id="project-without-alert",
    severity=Severity.INFO,
    what="The policy names a project and does not ask for alerts.",
    why="The label alone does nothing here. It may stand there for other reasons.",
    mend=('Add the annotation `app.gitlab.com/alert: "true"`; `"false"` says that none are meant.'),
    wrong="""\
        metadata:
          labels: {app.gitlab.com/proj: "42"}
        """,
    right="""\
        metadata:
          labels: {app.gitlab.com/proj: "42"}
          annotations: {app.gitlab.com/alert: "false"}
        """,
)
NOT_TRUE: Final = Rule(
    id="alert-not-true",
    severity=Severity.WARNING,
    what='`app.gitlab.com/alert` is something else than `"true"` or `"false"`.',
    why='Only `"true"` switches alerts on.',
    mend='Write `"true"`, in quotes.',
    wrong="""\
        metadata:
          labels: {app.gitlab.com/proj: "42"}
          annotations: {app.gitlab.com/alert: "enabled"}
        """,
    right="""\
        metadata:
          labels: {app.gitlab.com/proj: "42"}
          annotations: {app.gitlab.com/alert: "true"}
        """,
)
NEAR_MISS: Final = Rule(
    id="alert-key-misspelled",
    severity=Severity.WARNING,
    what="A label or annotation is nearly one that asks for alerts.",
    why="It is not read: `proj` is a label and `alert` an annotation, under `app.gitlab.com/`.",
    mend="Correct the key, or move it to where it belongs.",
    wrong="""\
        metadata:
          labels: {app.gitlab.com/project: "42"}
          annotations: {app.gitlab.com/alert: "true"}
        """,
    right="""\
        metadata:
          labels: {app.gitlab.com/proj: "42"}
          annotations: {app.gitlab.com/alert: "true"}
        """,
)
NUMBER: Final = Rule(
    id="project-not-a-number",
    severity=Severity.WARNING,
    what="`app.gitlab.com/proj` is not the number of a project.",
    why="Alerts go to a project by its number, which GitLab shows on the project's page.",
    mend="Write the number, in quotes.",
    wrong="""\
        metadata:
          labels: {app.gitlab.com/proj: shop}
          annotations: {app.gitlab.com/alert: "true"}
        """,
    right="""\
        metadata:
          labels: {app.gitlab.com/proj: "42"}
          annotations: {app.gitlab.com/alert: "true"}
        """,
)
SETTING: Final = Rule(
    id="bad-alert-setting",
    severity=Severity.WARNING,
    what="An annotation `picket.dev/…` is not understood, or tunes alerts that were not asked for.",
    why="It is left aside and the default holds: a typing error never silences an alert.",
    mend="Follow the message.",
    wrong="""\
        metadata:
          labels: {app.gitlab.com/proj: "42"}
          annotations:
            app.gitlab.com/alert: "true"
            picket.dev/threshold: "5 per minute"
        """,
    right="""\
        metadata:
          labels: {app.gitlab.com/proj: "42"}
          annotations:
            app.gitlab.com/alert: "true"
            picket.dev/threshold: "5/1m"
        """,
)
NO_EFFECT: Final = Rule(
    id="alert-without-effect",
    severity=Severity.WARNING,
    what="The policy asks for alerts and can never stop anything.",
    why=(
        "It denies nothing, neither by a rule nor by default, and has no L7 rules: no flow is ever"
        " stopped by it, so there is nothing to tell."
    ),
    mend="Let it deny by default, or ask for alerts on the policy that does.",
    wrong="""\
        metadata:
          name: web
          labels: {app.gitlab.com/proj: "42"}
          annotations: {app.gitlab.com/alert: "true"}
        spec:
          endpointSelector: {}
          enableDefaultDeny: {ingress: false}
          ingress:
            - fromEntities: [cluster]
        """,
    right="""\
        metadata:
          name: web
          labels: {app.gitlab.com/proj: "42"}
          annotations: {app.gitlab.com/alert: "true"}
        spec:
          endpointSelector: {}
          ingress:
            - fromEntities: [cluster]
        """,
)

_PREFIX: Final = "picket.dev/"
_GITLABS_OWN: Final = frozenset({"app.gitlab.com/app", "app.gitlab.com/env"})
_ENOUGH_ALIKE: Final = 0.88
_PLACES: Final = {
    "labels": (alerting.PROJECT_LABEL, "annotations", alerting.ALERT_ANNOTATION),
    "annotations": (alerting.ALERT_ANNOTATION, "labels", alerting.PROJECT_LABEL),
}


def metadata(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """What stands in labels and annotations, whatever else is wrong with the policy."""
    found = manifest.get("metadata")
    if not isinstance(found, Mapping):
        return
    pairs = {part: found[part] for part in _PLACES if isinstance(found.get(part), Mapping)}
    near = [finding for part in pairs for finding in _near_misses(part, pairs[part])]
    yield from near
    labels, annotations = pairs.get("labels", {}), pairs.get("annotations", {})
    wish, project = annotations.get(alerting.ALERT_ANNOTATION), labels.get(alerting.PROJECT_LABEL)
    path: Path = ("metadata", "annotations", alerting.ALERT_ANNOTATION)
    is_on = isinstance(wish, str) and wish.strip().lower() == "true"
    if isinstance(wish, str) and wish.strip().lower() not in ("true", "false"):
        message = f"{wish!r} does not switch alerts on"
        yield Finding(rule=NOT_TRUE, path=path, message=message, hint='write "true"')
    if is_on and not near and not str(project or "").strip():
        message = f"nobody is told: the label {alerting.PROJECT_LABEL} is missing"
        yield Finding(rule=PROJECT, path=path, message=message, at_key=True)
    where = ("metadata", "labels", alerting.PROJECT_LABEL)
    if isinstance(project, str) and project and not _is_number(project):
        message = f"{project!r} is not the number of a project"
        yield Finding(rule=NUMBER, path=where, message=message)
    if project and wish is None and not near:
        message = f"no alerts: the annotation {alerting.ALERT_ANNOTATION} is missing"
        yield Finding(rule=NO_ALERT, path=where, message=message, at_key=True)
    yield from _settings(annotations, is_on=is_on)


def _is_number(project: str) -> bool:
    return project.strip().isascii() and project.strip().isdecimal()


def _near_misses(part: str, pairs: Mapping[Any, Any]) -> Iterator[Finding]:
    own, other_part, others = _PLACES[part]
    for key in pairs:
        if not isinstance(key, str) or key == own or key in _GITLABS_OWN:
            continue
        path = ("metadata", part, key)
        if key == others:
            message = f"{key} is read among the {other_part} only"
            hint = f"move it to metadata.{other_part}"
            yield Finding(rule=NEAR_MISS, path=path, message=message, hint=hint, at_key=True)
        elif own not in pairs and _is_like(key, own):
            message = f"{key} is not read"
            hint = f"did you mean {own}?"
            yield Finding(rule=NEAR_MISS, path=path, message=message, hint=hint, at_key=True)


def _is_like(key: str, wanted: str) -> bool:
    host, _, name = wanted.partition("/")
    written_host, slash, written = key.partition("/")
    if not slash or "gitlab" not in written_host.lower():
        return False
    if written == name or written.startswith(name):
        return True
    alike = difflib.SequenceMatcher(None, key.lower(), wanted).ratio()
    return written_host == host and alike >= _ENOUGH_ALIKE


def _settings(annotations: Mapping[Any, Any], *, is_on: bool) -> Iterator[Finding]:
    ours = {key: annotations[key] for key in annotations if str(key).startswith(_PREFIX)}
    if not ours:
        return
    if not is_on:
        first = next(iter(ours))
        message = f"{first} tunes alerts, and this policy asks for none"
        path = ("metadata", "annotations", first)
        yield Finding(rule=SETTING, path=path, message=message, at_key=True)
        return
    asking = {
        "labels": {alerting.PROJECT_LABEL: "0"},
        "annotations": {**ours, alerting.ALERT_ANNOTATION: "true"},
    }
    try:
        found = alerting.read(Field("", asking))
    except PolicyRejected:
        return  # what is no text is told as such
    for warning in found.warnings:
        key = warning.partition(" ")[0]
        path = ("metadata", "annotations", key)
        close = difflib.get_close_matches(key, _SETTINGS, n=1) if key not in _SETTINGS else []
        hint = f"did you mean {close[0]}?" if close else ""
        yield Finding(rule=SETTING, path=path, message=warning, hint=hint, at_key=bool(close))


_SETTINGS: Final = (
    alerting.SEVERITY,
    alerting.THRESHOLD,
    alerting.GROUP_BY,
    alerting.RUNBOOK,
    alerting.RESOLVE_AFTER,
)


def effect(subject: Subject) -> Iterator[Finding]:
    """Whether a policy that asks for alerts can stop anything."""
    if subject.policy.alerting is None:
        return
    for part in subject.parts:
        if part.parsed.ingress.default_deny or part.parsed.egress.default_deny:
            return
    for _, entry in subject.entries:
        if not effects.does_nothing(entry) and (entry.deny or _restricts(entry.parsed)):
            return
    yield Finding(
        rule=NO_EFFECT,
        path=("metadata", "annotations", alerting.ALERT_ANNOTATION),
        message="alerts are asked for, and this policy never stops anything",
        hint="take enableDefaultDeny away, or ask for alerts on the policy that denies",
        at_key=True,
    )


def _restricts(rule: PeerRule) -> bool:
    return rule.requires_auth or any(port.l7 is not None for port in rule.ports or ())
