"""What kinds of peer a policy names: a probe set is to have tried each of them."""

from collections.abc import Iterator
from enum import StrEnum

from policies.model import (
    CidrGroupPeer,
    CidrPeer,
    EndpointPeer,
    EntityPeer,
    FqdnPeer,
    NodePeer,
    Peer,
    PeerRule,
    Policy,
    ServicePeer,
)
from policies.selectors import Operator


class Kind(StrEnum):
    """A kind of peer of a rule."""

    ENDPOINTS = "endpoints by label"
    EXPRESSIONS = "endpoints by expression"
    EVERY_ENDPOINT = "endpoints, empty selector"
    NAMESPACES = "endpoints by namespace"
    ENTITIES = "entities"
    CIDR = "CIDR"
    EXCEPT = "CIDRSet with except"
    GROUP = "CIDR group by name"
    GROUPS = "CIDR groups by label"
    FQDN = "FQDN"
    SERVICE = "service by name"
    SERVICES = "services by label"
    NODES = "nodes"
    ANY = "no peer named"
    NOBODY = "an empty list of peers"


def of_rule(rule: PeerRule) -> frozenset[Kind]:
    """Return the kinds of peer that a rule names."""
    if rule.peers is None:
        return frozenset({Kind.ANY})
    return frozenset(map(_of_peer, rule.peers)) or frozenset({Kind.NOBODY})


def of_policy(policy: Policy) -> Iterator[Kind]:
    """Yield the kinds of all its rules."""
    for rule in policy.rules:
        for side in (rule.ingress, rule.egress):
            for entry in (*side.allow, *side.deny):
                yield from of_rule(entry)


def _of_peer(peer: Peer) -> Kind:
    if isinstance(peer, EndpointPeer):
        return _of_selector(peer)
    return next(kind for known, kind in _simple(peer).items() if isinstance(peer, known))


def _simple(peer: Peer) -> dict[type, Kind]:
    """Return the kinds that the type tells, or the type and whether it has a name or exceptions."""
    by_name = bool(getattr(peer, "name", ""))
    return {
        EntityPeer: Kind.ENTITIES,
        CidrPeer: Kind.EXCEPT if getattr(peer, "excepts", ()) else Kind.CIDR,
        CidrGroupPeer: Kind.GROUP if by_name else Kind.GROUPS,
        FqdnPeer: Kind.FQDN,
        ServicePeer: Kind.SERVICE if by_name else Kind.SERVICES,
        NodePeer: Kind.NODES,
    }


def _of_selector(peer: EndpointPeer) -> Kind:
    written = peer.selector.requirements
    if not written:
        return Kind.EVERY_ENDPOINT
    if any("namespace" in each.key for each in written):
        return Kind.NAMESPACES
    if any(each.operator is not Operator.IN or len(each.values) != 1 for each in written):
        return Kind.EXPRESSIONS
    return Kind.ENDPOINTS
