"""Rules that another rule makes useless: what they say is said already, or denied anyway.

Only what is covered for certain is told: peers and ports that contain each other as written.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from policies.addresses import Prefix
from policies.linting import effects
from policies.linting.findings import Elsewhere, Finding, Rule, Severity, text
from policies.linting.subjects import Entry, Part, Subject
from policies.model import CidrPeer, EndpointPeer, Entity, EntityPeer, FqdnPeer, Peer, PortMatch
from policies.requests import L7Rules
from policies.selectors import Operator, Requirement

SHADOWED: Final = Rule(
    id="shadowed-rule",
    severity=Severity.WARNING,
    what="Another rule of the same policy covers all that this one says.",
    why="It changes nothing. Whoever narrows it later will wonder why nothing happens.",
    mend="Take it away, or narrow the rule that covers it.",
    wrong="""\
        ingress:
          - fromEndpoints: [{}]
          - fromEndpoints:
              - matchLabels: {app: web}
            toPorts:
              - ports: [{port: "80", protocol: TCP}]
        """,
    right="""\
        ingress:
          - fromEndpoints:
              - matchLabels: {app: web}
            toPorts:
              - ports: [{port: "80", protocol: TCP}]
        """,
)
DENIED: Final = Rule(
    id="allow-under-deny",
    severity=Severity.WARNING,
    what="A deny rule of the same policy covers all that an allow rule says.",
    why="Deny wins, however specific the other is: nothing of it is ever allowed.",
    mend="Narrow the deny rule, or take the allow rule away.",
    wrong="""\
        ingress:
          - fromEndpoints:
              - matchLabels: {app: web}
        ingressDeny:
          - fromEndpoints: [{}]
        """,
    right="""\
        ingress:
          - fromEndpoints:
              - matchLabels: {app: web}
        ingressDeny:
          - fromEndpoints:
              - matchLabels: {app: batch}
        """,
)

_MOST: Final = 300
"""Rules of one direction beyond which nobody compares each with each."""
_IN_CLUSTER: Final = frozenset(
    {
        *(Entity.HOST, Entity.REMOTE_NODE, Entity.INIT, Entity.INGRESS, Entity.HEALTH),
        *(Entity.UNMANAGED, Entity.CLUSTER),
    }
)
_OUTSIDE: Final = frozenset({Entity.WORLD, Entity.WORLD_IPV4, Entity.WORLD_IPV6})


def check(subject: Subject) -> Iterator[Finding]:
    """Compare the rules that hold for the same pods and in the same direction."""
    if len(subject.entries) < 2:
        return
    for entries in _comparable(subject.entries):
        allow = [entry for entry in entries if not entry.deny]
        deny = [entry for entry in entries if entry.deny]
        yield from _shadowed(subject, allow)
        yield from _shadowed(subject, deny)
        for entry in allow:
            cover = next((other for other in deny if _covers(other, entry)), None)
            if cover is not None:
                message = f"nothing of this is allowed: {text(cover.path)} denies all of it"
                yield _finding(subject, DENIED, entry, cover, message)


def _comparable(entries: Sequence[tuple[Part, Entry]]) -> Iterator[list[Entry]]:
    groups: dict[object, list[Entry]] = {}
    for part, entry in entries:
        if not effects.does_nothing(entry):
            key = (part.parsed.subject, part.parsed.selects_nodes, entry.direction)
            groups.setdefault(key, []).append(entry)
    yield from (group for group in groups.values() if 1 < len(group) <= _MOST)


def _shadowed(subject: Subject, entries: Sequence[Entry]) -> Iterator[Finding]:
    for index, entry in enumerate(entries):
        for place, other in enumerate(entries):
            if place == index or not _covers(other, entry):
                continue
            if place > index and _covers(entry, other):
                continue  # equal: the later one is told
            message = f"{text(other.path)} covers all of this"
            yield _finding(subject, SHADOWED, entry, other, message)
            break


def _finding(subject: Subject, rule: Rule, entry: Entry, cover: Entry, message: str) -> Finding:
    elsewhere = Elsewhere(object=subject.number, path=cover.path, note="this rule covers it")
    return Finding(rule=rule, path=entry.path, message=message, elsewhere=elsewhere)


def _covers(one: Entry, other: Entry) -> bool:
    """Whether every flow that `other` matches is matched by `one`, and treated alike."""
    if not one.deny and one.raw.get("authentication") != other.raw.get("authentication"):
        return False
    return _covers_ports(one.parsed.ports, other.parsed.ports) and _covers_peers(
        one.parsed.peers, other.parsed.peers
    )


def _covers_peers(ours: Sequence[Peer] | None, theirs: Sequence[Peer] | None) -> bool:
    if ours is None:
        return True
    if theirs is None:
        return any(_is_anyone(peer) for peer in ours)
    return all(any(covers_peer(peer, other) for peer in ours) for other in theirs)


def _is_anyone(peer: Peer) -> bool:
    return isinstance(peer, EntityPeer) and peer.entity is Entity.ALL


def covers_peer(ours: Peer, theirs: Peer) -> bool:
    """Whether every endpoint or address that is `theirs` is `ours`, whatever the cluster has."""
    if ours == theirs or _is_anyone(ours):
        return True
    match ours, theirs:
        case EntityPeer(), _:
            return _covers_as_entity(ours.entity, theirs)
        case EndpointPeer(), EndpointPeer():
            return _covers_selector(ours, theirs)
        case CidrPeer(), CidrPeer():
            return _covers_prefix(ours, theirs)
        case _:
            return False


def _covers_as_entity(ours: Entity, theirs: Peer) -> bool:
    if ours is Entity.WORLD and isinstance(theirs, CidrPeer | FqdnPeer):
        return True
    if not isinstance(theirs, EntityPeer):
        return False
    within = {Entity.CLUSTER: _IN_CLUSTER, Entity.WORLD: _OUTSIDE}.get(ours, frozenset())
    return theirs.entity in within


def _covers_prefix(ours: CidrPeer, theirs: CidrPeer) -> bool:
    return _within(theirs.prefix, ours.prefix) and all(
        _apart(left_out, theirs.prefix) or any(_within(left_out, also) for also in theirs.excepts)
        for left_out in ours.excepts
    )


def _covers_selector(ours: EndpointPeer, theirs: EndpointPeer) -> bool:
    if theirs.any_cluster and not ours.any_cluster:
        return False
    known = (*theirs.selector.requirements, *theirs.selector.implied)
    return all(
        any(_implies(requirement, wanted) for requirement in known)
        for wanted in (*ours.selector.requirements, *ours.selector.implied)
    )


def _implies(known: Requirement, wanted: Requirement) -> bool:
    if (known.source, known.key) != (wanted.source, wanted.key):
        return False
    match known.operator, wanted.operator:
        case Operator.IN, Operator.IN:
            return known.values <= wanted.values
        case Operator.IN, Operator.NOT_IN:
            return known.values.isdisjoint(wanted.values)
        case Operator.NOT_IN, Operator.NOT_IN:
            return wanted.values <= known.values
        case (Operator.IN, Operator.EXISTS) | (Operator.DOES_NOT_EXIST, Operator.NOT_IN):
            return True
        case _:
            return known.operator is wanted.operator and known.values == wanted.values


def _within(inner: Prefix, outer: Prefix) -> bool:
    return inner.length >= outer.length and outer.contains((inner.version, inner.value))


def _apart(one: Prefix, other: Prefix) -> bool:
    return not _within(one, other) and not _within(other, one)


def _covers_ports(ours: Sequence[PortMatch] | None, theirs: Sequence[PortMatch] | None) -> bool:
    if ours is None:
        # Where the other has L7 rules, traffic passes a proxy because of it: it is of use.
        return theirs is None or all(port.l7 is None for port in theirs)
    if theirs is None:
        return False
    return all(any(_covers_port(port, other) for port in ours) for other in theirs)


def _covers_port(ours: PortMatch, theirs: PortMatch) -> bool:
    if ours.protocol != theirs.protocol or ours.name != theirs.name:
        return False
    if theirs.high > ours.high or (not ours.name and ours.low > theirs.low):
        return False
    return _same_requests(ours.l7, theirs.l7)


def _same_requests(ours: L7Rules | None, theirs: L7Rules | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    if ours.unevaluated or theirs.unevaluated:
        return False
    return (ours.http, ours.dns) == (theirs.http, theirs.dns)
