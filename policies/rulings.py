"""What policies, or a record, say about one flow: it passes, it is stopped, or nobody can say.

Cruder than an explanation, and made to be compared: the same flow under two sets of policies.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies import allowing
from policies.evaluating import Evaluation, Outcome, decide, evaluate
from policies.explanation import Unexplained
from policies.flows import AUTH_REQUIRED, POLICY_DENIED, POLICY_DENY, Event, Verdict
from policies.recordings import PASSED, Recorded
from policies.subjects import SubjectPolicy


class Fate(StrEnum):
    """What becomes of a flow."""

    PASSES = "passes"
    STOPS = "stops"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is said about one flow."""

    fate: Fate
    inspected: bool = False
    """A connection that is handed to an L7 proxy."""
    why: Unexplained | None = None
    """Set where the fate is unknown, and where L7 rules stop a request."""


_PASSES: Final = Ruling(Fate.PASSES)
_STOPS: Final = Ruling(Fate.STOPS)
_GROUPS: Final = Ruling(Fate.UNKNOWN, why=Unexplained.NOT_EVALUATED_GROUPS)
_BY_POLICY: Final = frozenset({POLICY_DENIED, POLICY_DENY, AUTH_REQUIRED})


def of_record(flow: Recorded) -> Ruling | None:
    """What Cilium made of it; None where no policy had a part in that.

    What audit mode let through counts as stopped: by its policies it was.
    """
    if flow.verdict in PASSED:
        return Ruling(Fate.PASSES, inspected=flow.verdict is Verdict.REDIRECTED)
    if flow.verdict is Verdict.AUDIT:
        return _STOPS
    if flow.verdict is not Verdict.DROPPED:
        return None
    by_policy = flow.event is Event.L7 or flow.drop_reason in _BY_POLICY
    return _STOPS if by_policy else None


def of_policies(subject: SubjectPolicy, flow: Recorded) -> Ruling:
    """What a subject's policies would make of it."""
    found = evaluate(subject, flow.query())
    if found.outcome is Outcome.DENIED:
        return _STOPS
    if _depends_on_groups(found, flow):
        return _GROUPS
    if found.outcome is Outcome.DEFAULT_DENY:
        return _STOPS
    if flow.drop_reason == AUTH_REQUIRED and _all_ask_for_auth(found):
        return _STOPS
    return (
        _connection(subject, found, flow) if flow.event is Event.VERDICT else _request(found, flow)
    )


def _connection(subject: SubjectPolicy, found: Evaluation, flow: Recorded) -> Ruling:
    inspected = found.side.enforced and decide(subject, flow.query()).l7
    return Ruling(Fate.PASSES, inspected=inspected)


def _request(found: Evaluation, flow: Recorded) -> Ruling:
    why_not = allowing.passing(found, flow.query())
    if why_not is None:
        return _PASSES
    return Ruling(Fate.STOPS if why_not is Unexplained.PASSED_L7 else Fate.UNKNOWN, why=why_not)


def _depends_on_groups(found: Evaluation, flow: Recorded) -> bool:
    """Whether a rule for this port that may turn it is about what a cloud provider alone knows."""
    side = found.side
    rules = side.deny if found.outcome is Outcome.ALLOWED else side.allow
    return flow.peer.is_outside and any(
        rule.is_unevaluated and rule.spans(flow.protocol, flow.port) != () for rule in rules
    )


def _all_ask_for_auth(found: Evaluation) -> bool:
    return bool(found.allowing) and all(hit.rule.rule.requires_auth for hit in found.allowing)
