"""Deciding one flow at one end, as Cilium does.

A matching deny wins whatever its specificity; else a matching allow; else the default.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies import addresses
from policies.flows import Direction, Query
from policies.matching import CompiledRule, PortSpan
from policies.model import PolicyRef
from policies.subjects import DirectionPolicy, SubjectPolicy

_RESERVED: Final = "reserved"
ALLOW_ANY: Final = {
    Direction.INGRESS: PolicyRef(_RESERVED, "", "allow-any-ingress"),
    Direction.EGRESS: PolicyRef(_RESERVED, "", "allow-any-egress"),
}
"""Stands for: no policy says anything about this direction."""
ALLOW_HOST: Final = PolicyRef(_RESERVED, "", "allow-localhost-ingress")
"""Stands for the implicit allow of the local host."""


class Outcome(StrEnum):
    """What one end's policy makes of a flow."""

    ALLOWED = "allowed"
    DENIED = "denied"
    """An explicit deny rule matched."""
    DEFAULT_DENY = "default-deny"
    """Nothing matched, and the end is under default deny."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that matches, with the port entries by which it does; none: it limits no ports."""

    rule: CompiledRule
    spans: tuple[PortSpan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The outcome and everything that led to it."""

    outcome: Outcome
    side: DirectionPolicy
    address: addresses.Address | None
    allowing: tuple[Hit, ...] = ()
    """The allowing rules that match, even where a deny wins."""
    denying: tuple[Hit, ...] = ()
    by_host: bool = False
    """Whether the implicit allow of the host applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A flow's fate at one end."""

    decision: Outcome
    enforced: bool
    origin: tuple[PolicyRef, ...]
    """All policies of which a rule allows (or denies) it; `reserved` ones stand for defaults.

    As the engine has it, a deny and an allow for the same peer selector and port are one entry, so
    for a denied flow the policy of such an allow is named too.
    """
    l7: bool
    """Allowed at L3 and L4, and handed to the L7 proxy."""


def evaluate(subject: SubjectPolicy, query: Query) -> Evaluation:
    """What the subject's policy makes of the flow, L7 left aside."""
    side = subject.direction(query.direction)
    address = addresses.parse_address(query.peer_ip) if query.peer.is_outside else None
    denying = _hits(side.deny, query, address)
    allowing = _hits(side.allow, query, address)
    by_host = side.host_allowed and "host" in query.peer.reserved
    if denying:
        outcome = Outcome.DENIED
    elif allowing or by_host or not side.enforced:
        outcome = Outcome.ALLOWED
    else:
        outcome = Outcome.DEFAULT_DENY
    return Evaluation(
        outcome=outcome,
        side=side,
        address=address,
        allowing=allowing,
        denying=denying,
        by_host=by_host,
    )


def decide(subject: SubjectPolicy, query: Query) -> Decision:
    """The decision, with every policy that has a part in it."""
    found = evaluate(subject, query)
    hits = found.denying or found.allowing
    origin = dict.fromkeys(hit.rule.policy for hit in hits)
    if found.denying and found.allowing:
        denied = {entry for hit in found.denying for entry in _entries(hit, query, found)}
        for hit in found.allowing:
            if not denied.isdisjoint(_entries(hit, query, found)):
                origin[hit.rule.policy] = None
    if found.by_host and not found.denying:
        origin[ALLOW_HOST] = None
    if not found.side.has_rules and not found.side.enforced:
        origin[ALLOW_ANY[query.direction]] = None
    return Decision(
        decision=found.outcome,
        enforced=found.side.enforced,
        origin=tuple(origin),
        l7=not found.denying and _is_proxied(found.allowing),
    )


def _hits(
    rules: tuple[CompiledRule, ...], query: Query, address: addresses.Address | None
) -> tuple[Hit, ...]:
    hits = []
    for rule in rules:
        spans = rule.spans(query.protocol, query.port)
        if (spans is None or spans) and rule.matches_peer(query.peer, address):
            hits.append(Hit(rule, spans or ()))
    return tuple(hits)


def _entries(hit: Hit, query: Query, found: Evaluation) -> Iterator[tuple[object, object]]:
    spans: list[object] = [(span.low, span.high) for span in hit.spans] or [None]
    for entry in hit.rule.entries(query.peer, found.address):
        for span in spans:
            yield entry, span


def _is_proxied(hits: tuple[Hit, ...]) -> bool:
    """Whether an entry of the proxy is among them: it wins, however specific the others are."""
    return any(span.l7 is not None for hit in hits for span in hit.spans)
