"""Why a flow passed: the rules that allow it, or what stands in for them.

The counterpart of `explaining` for flows that Cilium let through. What does not agree with that is
unexplained, with a stable reason.
"""

from dataclasses import dataclass
from enum import StrEnum

from policies import refusing, wording
from policies.evaluating import Evaluation, Hit, Outcome, evaluate
from policies.explaining import is_plain, l7_rules, of_kind
from policies.explanation import Unexplained, unexplained
from policies.flows import Direction, Event, Observed, Query
from policies.matching import Finding, Why
from policies.model import PolicyRef
from policies.refusing import Passing
from policies.subjects import SubjectPolicy


class Basis(StrEnum):
    """What let a flow pass."""

    ALLOWED_BY = "allowed-by"
    """A rule of some policy."""
    ALLOWED_AS_HOST = "allowed-as-host"
    """The local host reaches its endpoints unless a rule denies it."""
    NO_DEFAULT_DENY = "no-default-deny"
    """Policies select the subject, and none of them restricts this direction."""
    NO_POLICY = "no-policy"
    """No policy selects the subject."""
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Why a flow passed at one end."""

    direction: Direction
    basis: Basis
    policies: tuple[PolicyRef, ...] = ()
    """The policies of which a rule allows it."""
    findings: tuple[Finding, ...] = ()
    """One for each such rule."""
    unexplained: Unexplained | None = None
    disagreement: tuple[PolicyRef, ...] = ()
    """Policies that Cilium names as allowing and whose rules do not allow it as we read them."""

    def sentence(self, subject: str, peer: str, *, port: str = "", request: str = "") -> str:
        """One readable sentence; `port` and `request` as in Explanation.sentence."""
        passed = f"this came from {peer}" if self._inward else f"this went to {peer}"
        match self.basis:
            case Basis.ALLOWED_BY:
                first = self.findings[0]
                text = wording.sentence(
                    first, self.direction, peer=peer, to_port=port, request=request
                )
                rest = len(dict.fromkeys(self.policies)) - 1
                more = f"; {rest} more {'policies allow' if rest > 1 else 'policy allows'} it too"
                return text + (more if rest else "")
            case Basis.ALLOWED_AS_HOST:
                return f"the local host may reach {subject} whatever policies allow; {passed}"
            case Basis.NO_DEFAULT_DENY:
                return f"no policy restricts the {self.direction.value} of {subject}; {passed}"
            case Basis.NO_POLICY:
                return f"no policy selects {subject}; {passed}"
            case Basis.UNEXPLAINED:
                assert self.unexplained is not None, "set with this basis"
                return unexplained(self.unexplained, subject)

    @property
    def _inward(self) -> bool:
        return self.direction is Direction.INGRESS


def allow(
    subject: SubjectPolicy, query: Query, observed: Observed, named: tuple[PolicyRef, ...] = ()
) -> Allowance:
    """Say why a flow passed; `named`: the policies that Cilium names as allowing it."""
    found = evaluate(subject, query)
    why_not = _why_not_passed(found, query, observed)
    if why_not is not None:
        return Allowance(direction=query.direction, basis=Basis.UNEXPLAINED, unexplained=why_not)
    findings = tuple(dict.fromkeys(_finding(hit) for hit in _allowing(found, query, observed)))
    policies = tuple(dict.fromkeys(finding.policy for finding in findings))
    return Allowance(
        direction=query.direction,
        basis=_basis(subject, found),
        policies=policies,
        findings=findings,
        disagreement=tuple(ref for ref in dict.fromkeys(named) if ref not in policies),
    )


def _why_not_passed(found: Evaluation, query: Query, observed: Observed) -> Unexplained | None:
    """What speaks against its having passed; None: nothing does."""
    if found.outcome is Outcome.DENIED:
        return Unexplained.PASSED_DENY
    if found.outcome is Outcome.DEFAULT_DENY:
        groups = any(rule.is_unevaluated for rule in found.side.allow)
        return Unexplained.NOT_EVALUATED_GROUPS if groups else Unexplained.PASSED_DEFAULT_DENY
    if observed.event is Event.L7:
        return passing(found, query)
    return None


def passing(found: Evaluation, query: Query) -> Unexplained | None:
    """Why a request that is allowed at L3 and L4 does not certainly pass; None: it does.

    L7 rules bind only who is under default deny: beside them Cilium lets anything else pass.
    """
    rules = l7_rules(found)
    if not rules or not found.side.enforced or any(is_plain(hit, query) for hit in found.allowing):
        return None
    judged = [(refusing.judge(l7, query.l7).passing, l7.unevaluated) for _, l7 in rules]
    if any(result is Passing.PASSES for result, _ in judged):
        return None
    if kinds := [kind for _, kind in judged if kind]:
        return of_kind(kinds[0])
    if any(result is Passing.UNSEEN for result, _ in judged):
        return Unexplained.L7_UNSEEN
    if all(result is Passing.OTHER_KIND for result, _ in judged):
        return Unexplained.L7_NO_REQUEST
    return Unexplained.PASSED_L7


def _allowing(found: Evaluation, query: Query, observed: Observed) -> list[Hit]:
    """The rules that allow it; for a request those that take it, if any do."""
    if observed.event is not Event.L7:
        return list(found.allowing)
    taking = [
        hit
        for hit in found.allowing
        if is_plain(hit, query)
        or any(
            span.l7 is not None and refusing.judge(span.l7, query.l7).passing is Passing.PASSES
            for span in hit.spans
        )
    ]
    return taking or list(found.allowing)


def _finding(hit: Hit) -> Finding:
    return hit.rule.finding(Why.ALLOWS, hit.spans[0].path if hit.spans else "")


def _basis(subject: SubjectPolicy, found: Evaluation) -> Basis:
    if found.allowing:
        return Basis.ALLOWED_BY
    if found.by_host and found.side.enforced:
        return Basis.ALLOWED_AS_HOST
    return Basis.NO_DEFAULT_DENY if subject.policies else Basis.NO_POLICY
