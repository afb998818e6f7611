"""Why a flow was stopped: an explanation that agrees with what Cilium reported, or none.

Where the known policies lead to another verdict than the observed one, the flow is unexplained with
a stable reason: another version of the policies may explain it, or an operator has to know.
"""

from collections.abc import Iterable
from dataclasses import replace
from operator import itemgetter
from typing import Final

from policies import nearness, refusing
from policies.evaluating import Decision, Evaluation, Hit, Outcome, decide, evaluate
from policies.explanation import Explanation, Reason, Unexplained
from policies.flows import (
    AUTH_REQUIRED,
    POLICY_DENIED,
    POLICY_DENY,
    DnsRequest,
    Event,
    Observed,
    Query,
    Verdict,
)
from policies.matching import CompiledRule, Finding, Why
from policies.model import PolicyRef
from policies.refusing import Judgement, Passing
from policies.requests import L7Rules
from policies.subjects import SubjectPolicy

__all__ = ["Decision", "decide", "explain"]


def explain(subject: SubjectPolicy, query: Query, observed: Observed) -> Explanation:
    """Explain one flow at one end.

    For verdict events the result is the same for all flows of the subject's version, direction,
    peer label set, port class, CIDR class and `observed`. For L7 events it depends on the request.
    """
    if observed.verdict is Verdict.AUDIT:
        return _audited(subject, query, observed.denied_by)
    if observed.verdict is not Verdict.DROPPED:
        return _unexplained(query, Unexplained.NOT_STOPPED)
    if observed.event is Event.L7:
        return _l7_denied(subject, query)
    if observed.denied_by:
        return _named(subject, query, observed.denied_by)
    of_reason = _BY_DROP_REASON.get(observed.drop_reason)
    if of_reason is None:
        return _unexplained(query, Unexplained.OTHER_DROP_REASON)
    return of_reason(subject, query)


def _unexplained(query: Query, why: Unexplained) -> Explanation:
    return Explanation(direction=query.direction, reason=Reason.UNEXPLAINED, unexplained=why)


def _named(subject: SubjectPolicy, query: Query, named: tuple[PolicyRef, ...]) -> Explanation:
    """Cilium says which policies deny it; ours say by which of their rules."""
    if any(subject.policy(ref) is None for ref in named):
        return _unexplained(query, Unexplained.DENIED_BY_UNKNOWN)
    found = evaluate(subject, query)
    findings = _denials(found.denying)
    denying = {finding.policy for finding in findings}
    return Explanation(
        direction=query.direction,
        reason=Reason.DENIED_BY,
        policies=tuple(dict.fromkeys(named)),
        findings=tuple(sorted(findings, key=lambda finding: finding.policy not in named)),
        disagreement=tuple(ref for ref in dict.fromkeys(named) if ref not in denying),
    )


def _denied(subject: SubjectPolicy, query: Query) -> Explanation:
    found = evaluate(subject, query)
    if found.outcome is Outcome.DENIED:
        return _of_deny_rules(query, found)
    if any(rule.is_unevaluated for rule in found.side.deny):
        return _unexplained(query, Unexplained.NOT_EVALUATED_GROUPS)
    return _unexplained(query, Unexplained.DENY_RULE_NOT_FOUND)


def _of_deny_rules(query: Query, found: Evaluation) -> Explanation:
    findings = _denials(found.denying)
    return Explanation(
        direction=query.direction,
        reason=Reason.DENIED_BY,
        policies=_policies(findings),
        findings=findings,
    )


def _no_rule_allowed(subject: SubjectPolicy, query: Query) -> Explanation:
    found = evaluate(subject, query)
    match found.outcome:
        case Outcome.DEFAULT_DENY:
            return _of_default_deny(query, found)
        case Outcome.DENIED:
            return _unexplained(query, Unexplained.DENY_RULE_UNREPORTED)
        case Outcome.ALLOWED:
            return _unexplained(query, _why_allowed(subject, found))


def _of_default_deny(query: Query, found: Evaluation) -> Explanation:
    return Explanation(
        direction=query.direction,
        reason=Reason.NO_RULE_ALLOWED,
        policies=found.side.blockers,
        findings=_misses(query, found),
    )


def _why_allowed(subject: SubjectPolicy, found: Evaluation) -> Unexplained:
    if found.allowing:
        return Unexplained.ALLOWED_BY_POLICY
    if found.by_host and found.side.enforced:
        return Unexplained.ALLOWED_AS_HOST
    if subject.policies:
        return Unexplained.ALLOWED_BY_DEFAULT
    return Unexplained.NO_POLICY_SELECTS


def _audited(subject: SubjectPolicy, query: Query, named: tuple[PolicyRef, ...]) -> Explanation:
    """Cilium names the denying policies from 1.20 on; before, evaluation alone can tell."""
    found = evaluate(subject, query)
    if named and found.outcome is Outcome.DENIED:
        stopped = _named(subject, query, named)
        if stopped.reason is Reason.UNEXPLAINED:
            return stopped
        return replace(stopped, reason=Reason.AUDIT, would_be=stopped.reason)
    match found.outcome:
        case Outcome.DENIED:
            stopped = _of_deny_rules(query, found)
        case Outcome.DEFAULT_DENY:
            stopped = _of_default_deny(query, found)
        case Outcome.ALLOWED:
            if any(rule.is_unevaluated for rule in found.side.deny):
                return _unexplained(query, Unexplained.NOT_EVALUATED_GROUPS)
            if hits := _asking_for_auth(found.allowing):
                stopped = _of_auth(query, hits)
            else:
                return _unexplained(query, _why_allowed(subject, found))
    return replace(stopped, reason=Reason.AUDIT, would_be=stopped.reason)


def _asking_for_auth(hits: Iterable[Hit]) -> list[Hit]:
    return [hit for hit in hits if hit.rule.rule.requires_auth]


def _auth_required(subject: SubjectPolicy, query: Query) -> Explanation:
    found = evaluate(subject, query)
    hits = _asking_for_auth(found.allowing)
    if found.outcome is not Outcome.ALLOWED or not hits:
        return _unexplained(query, Unexplained.AUTH_NO_RULE)
    return _of_auth(query, hits)


def _of_auth(query: Query, hits: list[Hit]) -> Explanation:
    findings = tuple(hit.rule.finding(Why.AUTH) for hit in hits)
    return Explanation(
        direction=query.direction,
        reason=Reason.AUTH_REQUIRED,
        policies=_policies(findings),
        findings=findings,
    )


def _l7_denied(subject: SubjectPolicy, query: Query) -> Explanation:
    """A proxy refused the request: no plain rule let it pass, and no L7 rule allows it."""
    found = evaluate(subject, query)
    rules = l7_rules(found)
    judged = [(refusing.judge(l7, query.l7), rule, l7) for rule, l7 in rules]
    why_not = _why_not_refused(found, query, [(judgement, l7) for judgement, _, l7 in judged])
    if why_not is not None:
        return _unexplained(query, why_not)
    judged.sort(key=lambda entry: entry[0].distance)
    findings = tuple(
        dict.fromkeys(
            replace(rule.finding(Why.L7, l7.path), miss=judgement.miss)
            for judgement, rule, l7 in judged
        )
    )
    return Explanation(
        direction=query.direction,
        reason=Reason.L7_DENIED,
        policies=_policies(findings),
        findings=findings,
    )


def l7_rules(found: Evaluation) -> list[tuple[CompiledRule, L7Rules]]:
    """The L7 rules of all that allows a flow at L3 and L4, each set once."""
    rules = [
        (hit.rule, span.l7) for hit in found.allowing for span in hit.spans if span.l7 is not None
    ]
    return list(dict.fromkeys(rules))


def is_plain(hit: Hit, query: Query) -> bool:
    """Whether a rule allows a flow whatever is asked for in it.

    The DNS proxy has the rules of its very port: one about any port, or a range, is none of these.
    """
    plain = [span for span in hit.spans if span.l7 is None]
    if isinstance(query.l7, DnsRequest):
        return any(span.low == span.high for span in plain)
    return bool(plain) or not hit.spans


def _why_not_refused(
    found: Evaluation, query: Query, rules: list[tuple[Judgement, L7Rules]]
) -> Unexplained | None:
    """What speaks against a proxy having refused the request by these rules; None: nothing does."""
    why = None
    if found.outcome is not Outcome.ALLOWED:
        why = Unexplained.L7_NOT_REACHED
    elif not rules:
        why = Unexplained.L7_NO_RULE
    elif any(is_plain(hit, query) for hit in found.allowing):
        why = Unexplained.ALLOWED_BY_POLICY
    elif kinds := [l7.unevaluated for _, l7 in rules if l7.unevaluated]:
        why = of_kind(kinds[0])
    elif any(judgement.passing is Passing.PASSES for judgement, _ in rules):
        why = Unexplained.L7_ALLOWED
    elif all(judgement.passing is Passing.OTHER_KIND for judgement, _ in rules):
        why = Unexplained.L7_NO_REQUEST
    return why


def of_kind(unevaluated: str) -> Unexplained:
    """Why nobody can say what L7 rules of this kind make of a request."""
    if unevaluated == "listener":
        return Unexplained.NOT_EVALUATED_LISTENER
    return Unexplained.NOT_EVALUATED_L7


def _denials(hits: Iterable[Hit]) -> tuple[Finding, ...]:
    found = dict.fromkeys(
        hit.rule.finding(Why.DENIES, hit.spans[0].path if hit.spans else "") for hit in hits
    )
    return tuple(found)


def _misses(query: Query, found: Evaluation) -> tuple[Finding, ...]:
    """Why each rule of the policies under which nothing is allowed by default did not allow it."""
    # Rules come in the order of their policies, and sorting keeps it among equals.
    ranked = []
    for rule in found.side.insufficient:
        rank, finding = rule.near_miss(query.peer, found.address, query.protocol, query.port)
        ranked.append((rank, query.peer.is_outside and not _is_about_outside(rule), finding, rule))
    ranked.sort(key=_rank)
    findings = []
    told: set[PolicyRef] = set()
    for _, _, finding, rule in ranked:
        # A sentence begins with the nearest miss of the policy that it is about.
        findings.append(finding if finding.policy in told else _told(finding, rule, query))
        told.add(finding.policy)
    return (*findings, *found.side.silent)


_rank = itemgetter(0, 1)


def _is_about_outside(rule: CompiledRule) -> bool:
    """Whether it names addresses or names: nearer to an address than a rule about pods."""
    return any(match.is_about_outside for match in rule.peers or ())


def _told(finding: Finding, rule: CompiledRule, query: Query) -> Finding:
    """The same, saying how near it came."""
    miss = ""
    if finding.why is Why.NOTHING:
        miss = nearness.of_nothing(rule)
    elif finding.why in (Why.PEER, Why.PEER_AND_PORT):
        miss = nearness.of_peer(rule, query.peer)
    return replace(finding, miss=miss) if miss else finding


def _policies(findings: Iterable[Finding]) -> tuple[PolicyRef, ...]:
    return tuple(dict.fromkeys(finding.policy for finding in findings))


_BY_DROP_REASON: Final = {
    POLICY_DENIED: _no_rule_allowed,
    POLICY_DENY: _denied,
    AUTH_REQUIRED: _auth_required,
}
