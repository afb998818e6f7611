"""Which policies alert, and how: a label names the GitLab project, annotations tune the alert.

What is not understood is left out with a warning: a typing error never silences an alert.
"""

import re
from dataclasses import dataclass
from typing import Final

from policies.decoding import Field
from policies.model import Alerting, Severity, Threshold

PROJECT_LABEL: Final = "app.gitlab.com/proj"
ALERT_ANNOTATION: Final = "app.gitlab.com/alert"
SEVERITY: Final = "picket.dev/severity"
THRESHOLD: Final = "picket.dev/threshold"
GROUP_BY: Final = "picket.dev/group-by"
RUNBOOK: Final = "picket.dev/runbook"
RESOLVE_AFTER: Final = "picket.dev/resolve-after"

GROUPINGS: Final = frozenset({"subject", "peer", "direction", "reason"})
"""What `picket.dev/group-by` can name: alerts that differ in nothing else are one."""

_PREFIX: Final = "picket.dev/"
_KNOWN: Final = frozenset({SEVERITY, THRESHOLD, GROUP_BY, RUNBOOK, RESOLVE_AFTER})
_DURATION: Final = re.compile(r"([0-9]{1,9})(s|m|h|d)\Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_URL: Final = re.compile(r"https?://\S{1,2000}\Z")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,8}\Z")


@dataclass(frozen=True, slots=True)
class Reading:
    """Whether a policy alerts, and what its owner should know."""

    alerting: Alerting | None
    warnings: tuple[str, ...]


def read(metadata: Field) -> Reading:
    """What label and annotations ask for. Raises PolicyRejected where they are no strings."""
    label = metadata["labels"].strings().get(PROJECT_LABEL, "").strip()
    annotations = metadata["annotations"].strings()
    wish = annotations.get(ALERT_ANNOTATION)
    if wish is None:
        return Reading(None, ())
    warnings: list[str] = []
    if wish.strip().lower() != "true":
        if wish.strip().lower() != "false":
            warnings.append(f"{ALERT_ANNOTATION} is {wish!r}: only 'true' switches alerts on")
        return Reading(None, tuple(warnings))
    if not label:
        return Reading(None, (f"no alerts: the label {PROJECT_LABEL} is missing",))
    warnings += [
        f"{key} is not known"
        for key in sorted(annotations)
        if key.startswith(_PREFIX) and key not in _KNOWN
    ]
    alerting = Alerting(
        project=label,
        severity=_severity(annotations, warnings),
        threshold=_threshold(annotations, warnings),
        group_by=_group_by(annotations, warnings),
        runbook=_runbook(annotations, warnings),
        resolve_after=_resolve_after(annotations, warnings),
    )
    return Reading(alerting, tuple(warnings))


def duration(text: str) -> int | None:
    """Seconds of `30s`, `5m`, `2h` or `1d`; None for anything else, and for nothing."""
    found = _DURATION.match(text.strip())
    if found is None:
        return None
    return int(found.group(1)) * _SECONDS[found.group(2)] or None


def _severity(annotations: dict[str, str], warnings: list[str]) -> Severity:
    text = annotations.get(SEVERITY)
    if text is None:
        return Severity.MEDIUM
    try:
        return Severity(text.strip().lower())
    except ValueError:
        known = ", ".join(Severity)
        warnings.append(f"{SEVERITY} is {text!r}, not one of {known}: medium is used")
        return Severity.MEDIUM


def _threshold(annotations: dict[str, str], warnings: list[str]) -> Threshold | None:
    text = annotations.get(THRESHOLD)
    if text is None:
        return None
    count, slash, span = text.strip().partition("/")
    seconds = duration(span) if slash else None
    if seconds is None or _COUNT.match(count.strip()) is None:
        warnings.append(f"{THRESHOLD} is {text!r}, not such as 5/1m: the first flow alerts")
        return None
    return Threshold(int(count), seconds)


def _group_by(annotations: dict[str, str], warnings: list[str]) -> tuple[str, ...]:
    text = annotations.get(GROUP_BY)
    if text is None:
        return ()
    names = dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in GROUPINGS]:
        known = ", ".join(sorted(GROUPINGS))
        warnings.append(f"{GROUP_BY} names {', '.join(unknown)}, not {known}: it is not used")
        return ()
    return tuple(names)


def _runbook(annotations: dict[str, str], warnings: list[str]) -> str | None:
    text = annotations.get(RUNBOOK)
    if text is None:
        return None
    if _URL.match(text.strip()) is None:
        warnings.append(f"{RUNBOOK} is {text!r}, not an http or https address: it is not used")
        return None
    return text.strip()


def _resolve_after(annotations: dict[str, str], warnings: list[str]) -> int | None:
    text = annotations.get(RESOLVE_AFTER)
    if text is None:
        return None
    seconds = duration(text)
    if seconds is None:
        warnings.append(f"{RESOLVE_AFTER} is {text!r}, not such as 30m: the default is used")
    return seconds
