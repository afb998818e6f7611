"""The compiled policy of a subject: what callers ask, and the classes by which they cache."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

from policies import addresses, naming
from policies.addresses import PrefixTable
from policies.flows import Direction, Protocol
from policies.matching import CompiledRule, Finding, Why
from policies.model import Policy, PolicyRef

_INGRESS: Final = Direction.INGRESS
"""Looking a member up in its enum would cost as much as the rest of a look-up here."""


class DirectionPolicy:
    """What holds in one direction."""

    __slots__ = (
        "_tables",
        "allow",
        "blockers",
        "deny",
        "enforced",
        "has_rules",
        "host_allowed",
        "insufficient",
        "silent",
    )

    def __init__(
        self,
        *,
        enforced: bool,
        has_rules: bool,
        default_deny: tuple[tuple[PolicyRef, str], ...],
        allow: tuple[CompiledRule, ...],
        deny: tuple[CompiledRule, ...],
    ) -> None:
        self.enforced = enforced
        """Whether what nothing allows is denied."""
        self.has_rules = has_rules
        """Whether any policy says anything about this direction."""
        self.blockers = tuple(dict.fromkeys(ref for ref, _ in default_deny))
        """The policies that put the subject under default deny."""
        blocking = frozenset(self.blockers)
        self.insufficient = tuple(rule for rule in allow if rule.policy in blocking)
        """Their allowing rules: where none matches, each has a reason why it does not."""
        speaking = {rule.policy for rule in self.insufficient}
        self.silent = tuple(
            Finding(ref, path, Why.NOTHING) for ref, path in default_deny if ref not in speaking
        )
        """Those that have no such rule."""
        self.allow = allow
        self.deny = deny
        self.host_allowed = False
        """Whether the local host gets through unless a rule denies it."""
        self._tables: dict[Protocol, tuple[list[int], int]] | None = None

    def with_host(self, *, allowed: bool) -> "DirectionPolicy":
        """Say whether the host is always allowed; done once, before anyone asks."""
        self.host_allowed = allowed
        return self

    def port_class(self, protocol: Protocol, port: int) -> int:
        """See SubjectPolicy.port_class."""
        tables = self._tables
        if tables is None:
            tables = self._tables = self._cut()
        bounds, base = tables[protocol]
        return base + bisect_right(bounds, port)

    def _cut(self) -> dict[Protocol, tuple[list[int], int]]:
        cuts: dict[Protocol, set[int]] = {protocol: set() for protocol in Protocol}
        for rule in (*self.allow, *self.deny):
            for span in rule.ports or ():
                cuts[span.protocol] |= {span.low, span.high + 1}
        tables = {}
        base = 0
        for protocol, bounds in cuts.items():
            # Beyond the last port too: no packet has such a one, but a broken flow may.
            inner = sorted(bound for bound in bounds if bound > 0)
            tables[protocol] = (inner, base)
            base += len(inner) + 1
        return tables


class SubjectPolicy:
    """The policies of one cluster as all subjects see them that the same rules select.

    Immutable. `version` is never used again for another one, so it keys a cache together with the
    peer's label set, the port class and the CIDR class.
    """

    __slots__ = ("__weakref__", "_cidrs", "_has_cidrs", "egress", "ingress", "policies", "version")

    def __init__(
        self,
        *,
        version: int,
        policies: Mapping[PolicyRef, Policy],
        ingress: DirectionPolicy,
        egress: DirectionPolicy,
    ) -> None:
        self.version = version
        self.policies = policies
        """The policies that select the subject, in whatever direction."""
        self.ingress = ingress
        self.egress = egress
        decisive = (
            prefix
            for side in (ingress, egress)
            for rule in (*side.allow, *side.deny)
            for match in rule.peers or ()
            for prefix in match.prefixes()
        )
        # A policy names an address by all of its rules, those for other subjects included.
        self._cidrs = PrefixTable((*decisive, *naming.prefixes(policies.values())))
        self._has_cidrs = bool(self._cidrs)

    def direction(self, direction: Direction) -> DirectionPolicy:
        """One direction's policy."""
        return self.ingress if direction is _INGRESS else self.egress

    def policy(self, ref: PolicyRef) -> Policy | None:
        """A policy that selects this subject, by its name."""
        return self.policies.get(ref)

    def port_class(self, direction: Direction, protocol: Protocol, port: int) -> int:
        """Ports (for ICMP: types) of one class always get the same decision and explanation."""
        side = self.ingress if direction is _INGRESS else self.egress
        return side.port_class(protocol, port)

    def cidr_class(self, direction: Direction, ip: str) -> str:  # noqa: ARG002 (see below)
        """The longest prefix named by a policy of the subject that contains the address, or "".

        Addresses of one class, with the same labels, always get the same decision, explanation and
        name. Prefixes of both directions count, so that a name does not depend on the direction.
        """
        if not self._has_cidrs:
            return ""
        address = addresses.parse_address(ip)
        return "" if address is None else self._cidrs.longest(address)
