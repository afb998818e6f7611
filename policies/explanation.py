"""An explanation as a value: why a flow was stopped, and which rules have a part in it.

It never holds the flow's own port or address, so that it may be kept for every flow of its class.
"""

from dataclasses import dataclass
from enum import StrEnum

from policies import wording
from policies.flows import Direction
from policies.matching import Finding, Why
from policies.model import PolicyRef


class Reason(StrEnum):
    """What stopped a flow."""

    DENIED_BY = "denied-by"
    """An explicit deny."""
    NO_RULE_ALLOWED = "no-rule-allowed"
    """Policies put the subject under default deny, and none of them allows it."""
    L7_DENIED = "l7-denied"
    """Allowed at L3 and L4, but the request meets none of the L7 rules."""
    AUTH_REQUIRED = "auth-required"
    """The allowing rule asks for authentication."""
    AUDIT = "audit"
    """Let through by audit mode; `would_be` says as what it would have been stopped."""
    UNEXPLAINED = "unexplained"
    """The known policies do not lead to what was observed."""


class Unexplained(StrEnum):
    """Why a flow is unexplained: stable and short, to be counted by."""

    ALLOWED_BY_POLICY = "allowed-by-policy"
    NO_POLICY_SELECTS = "no-policy-selects"
    ALLOWED_BY_DEFAULT = "allowed-by-default"
    ALLOWED_AS_HOST = "allowed-as-host"
    DENY_RULE_NOT_FOUND = "deny-rule-not-found"
    DENY_RULE_UNREPORTED = "deny-rule-unreported"
    DENIED_BY_UNKNOWN = "denied-by-unknown-policy"
    L7_NO_RULE = "l7-no-rule"
    L7_NOT_REACHED = "l7-not-reached"
    L7_ALLOWED = "l7-allowed-by-policy"
    L7_NO_REQUEST = "l7-no-request"
    AUTH_NO_RULE = "auth-no-rule"
    NOT_STOPPED = "not-stopped"
    OTHER_DROP_REASON = "other-drop-reason"
    NOT_EVALUATED_GROUPS = "not-evaluated:groups"
    NOT_EVALUATED_L7 = "not-evaluated:l7"
    NOT_EVALUATED_LISTENER = "not-evaluated:listener"
    L7_UNSEEN = "l7-depends-on-unseen"
    PASSED_DENY = "passed-though-denied"
    PASSED_DEFAULT_DENY = "passed-though-nothing-allows"
    PASSED_L7 = "passed-though-l7-refuses"


_DETAILS = {
    Unexplained.ALLOWED_BY_POLICY: "a known policy allows it",
    Unexplained.NO_POLICY_SELECTS: "no known policy selects {subject}",
    Unexplained.ALLOWED_BY_DEFAULT: "no known policy puts {subject} under default deny",
    Unexplained.ALLOWED_AS_HOST: "the local host may reach {subject}",
    Unexplained.DENY_RULE_NOT_FOUND: "no known rule denies it",
    Unexplained.DENY_RULE_UNREPORTED: "a known rule denies it, and Cilium reports no such rule",
    Unexplained.DENIED_BY_UNKNOWN: "Cilium names a policy that is not known for {subject}",
    Unexplained.L7_NO_RULE: "no known L7 rule is about this traffic",
    Unexplained.L7_NOT_REACHED: "the known policies stop it before its requests are looked at",
    Unexplained.L7_ALLOWED: "a known L7 rule allows this request",
    Unexplained.L7_NO_REQUEST: "the flow has no request of the kind that the L7 rules are about",
    Unexplained.AUTH_NO_RULE: "no known rule asks for authentication",
    Unexplained.NOT_STOPPED: "the flow was not stopped",
    Unexplained.OTHER_DROP_REASON: "it was dropped for another reason than a policy",
    Unexplained.NOT_EVALUATED_GROUPS: "rules about groups of a cloud provider are not evaluated",
    Unexplained.NOT_EVALUATED_L7: "what `l7proto` or a proxy's TLS lets pass is not evaluated",
    Unexplained.NOT_EVALUATED_LISTENER: "what a listener of Envoy lets pass is not evaluated",
    Unexplained.L7_UNSEEN: "whether an L7 rule allows it depends on what no flow shows",
    Unexplained.PASSED_DENY: "it passed, and a known rule denies it",
    Unexplained.PASSED_DEFAULT_DENY: "it passed, and no known rule allows it",
    Unexplained.PASSED_L7: "it passed, and no known L7 rule allows this request",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a flow was stopped at one end."""

    direction: Direction
    reason: Reason
    would_be: Reason | None = None
    """For AUDIT: the reason without audit mode."""
    policies: tuple[PolicyRef, ...] = ()
    """The policies that stopped it; each one that alerts yields a match."""
    findings: tuple[Finding, ...] = ()
    """One for each of their rules, nearest miss first."""
    unexplained: Unexplained | None = None
    """Set with UNEXPLAINED only."""
    disagreement: tuple[PolicyRef, ...] = ()
    """Policies that Cilium names as denying and whose rules do not deny it as we read them."""

    def sentence(self, subject: str, peer: str, *, port: str = "", request: str = "") -> str:
        """One readable sentence.

        `port`, as `wording.port` has it, and `request`: where the flow's own may be told.
        """
        if self.unexplained is not None:
            return unexplained(self.unexplained, subject)
        text = self._told(subject, peer, port, request)
        return f"audit mode let it through: {text}" if self.would_be is not None else text

    def _told(self, subject: str, peer: str, port: str, request: str) -> str:
        reason = self.would_be or self.reason
        if not self.findings:
            came = "came from" if self.direction is Direction.INGRESS else "went to"
            if reason is not Reason.DENIED_BY:
                return f"{subject} is under default deny without any policy; this {came} {peer}"
            names = ", ".join(ref.short for ref in self.policies)
            return f"{names} {'deny' if self.policies[1:] else 'denies'} it; this {came} {peer}"
        first = self.findings[0]
        return wording.sentence(
            first, self.direction, peer=peer, to_port=port, request=request
        ) + wording.others(
            self.policies,
            first.policy,
            denied=first.why is Why.DENIES,
            l7=first.why is Why.L7,
        )


def unexplained(why: Unexplained, subject: str) -> str:
    """The sentence about a flow that nothing explains."""
    return f"unexplained: {_DETAILS[why].format(subject=subject)}"
