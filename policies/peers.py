"""Who a rule of a CiliumNetworkPolicy is about: one kind of peer to a rule."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from policies import addresses, http_rules, selecting, selectors, unread
from policies.decoding import Field
from policies.flows import Direction
from policies.model import (
    CidrGroupPeer,
    CidrPeer,
    CloudGroupPeer,
    EndpointPeer,
    Entity,
    EntityPeer,
    FqdnPeer,
    NodePeer,
    Peer,
    ServicePeer,
)
from policies.selectors import Selector

_PREFIX: Final = {Direction.INGRESS: "from", Direction.EGRESS: "to"}
_KINDS: Final = ("Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes", "Groups")
_EGRESS_KINDS: Final = ("Services", "FQDNs")
_EMPTYING: Final = ("Endpoints", "CIDR", "CIDRSet", "Entities", "Nodes")
"""Kinds of which an empty list selects nobody, whatever stands beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerContext:
    """What the policy as a whole says about its peers."""

    namespace: str
    """Empty: clusterwide."""
    of_init: bool
    node_selector_labels: bool


def of_rule(
    node: Field, direction: Direction, context: PeerContext, *, deny: bool
) -> tuple[Peer, ...] | None:
    """The peers of one rule; None where it names no kind of peer, so that any peer is meant.

    An empty list selects nobody; of some kinds also where another one stands beside it. Raises
    PolicyRejected.
    """
    prefix = _PREFIX[direction]
    kinds: tuple[str, ...] = _KINDS
    if direction is Direction.EGRESS:
        kinds += _EGRESS_KINDS[: 1 if deny else 2]
    written = node.object()
    given = [name for kind in kinds if written.get(name := f"{prefix}{kind}") is not None]
    filled = [kind for kind in given if node[kind].count()]
    if len(filled) > 1:
        raise node.reject(f"combining {filled[0]} and {filled[1]} is not supported")
    if not given:
        return None
    found = tuple(
        _READERS[kind.removeprefix(prefix)](entry, context)
        for kind in filled
        for entry in node[kind].entries()
    )
    emptied = any(kind.removeprefix(prefix) in _EMPTYING for kind in given if kind not in filled)
    return () if emptied else found


def _endpoint(entry: Field, context: PeerContext) -> EndpointPeer:
    entry.object()
    selector = selecting.cilium(entry)
    return endpoint(
        selectors.with_peer_namespace(selector, context.namespace, of_init=context.of_init)
    )


def endpoint(selector: Selector) -> EndpointPeer:
    """Endpoints of the local cluster, unless the selector names a cluster or a reserved label."""
    return EndpointPeer(
        selector,
        any_cluster=selectors.names_cluster(selector) or selectors.is_about_reserved(selector),
    )


def _cidr(entry: Field, _: PeerContext) -> CidrPeer:
    return CidrPeer(prefix(entry))


def prefix(entry: Field) -> addresses.Prefix:
    """A CIDR, or an address alone. Raises PolicyRejected."""
    address = addresses.parse_address(entry.text())
    return _prefix(entry) if address is None else addresses.of_address(address)


def _prefix(entry: Field) -> addresses.Prefix:
    try:
        return addresses.parse_prefix(entry.text())
    except ValueError as error:
        raise entry.reject(str(error)) from error


def _cidr_rule(entry: Field, _: PeerContext) -> CidrPeer | CidrGroupPeer:
    entry.object()
    name, selector = entry["cidrGroupRef"].text(), entry["cidrGroupSelector"]
    # Go has a selector wherever there is the field, be it null.
    by_selector = "cidrGroupSelector" in entry.object()
    given = [bool(entry["cidr"].text()), bool(name), by_selector]
    if sum(given) != 1:
        raise entry.reject("must have one of cidr, cidrGroupRef and cidrGroupSelector")
    for except_ in entry["except"].entries():
        except_.text()
    if name or by_selector:
        chosen = selecting.groups(selector) if by_selector else None
        outside = tuple(_prefix(item) for item in entry["except"].entries())
        return CidrGroupPeer(name, chosen, outside)
    whole = _prefix(entry["cidr"])
    excepts: list[addresses.Prefix] = []
    for written in entry["except"].entries():
        part = _prefix(written)
        address = addresses.parse_address(written.text().partition("/")[0])
        if address is None or not whole.contains(address):
            raise written.reject(f"{part} does not lie within {whole}")
        excepts.append(part)
    return CidrPeer(whole, tuple(excepts))


def _entity(entry: Field, _: PeerContext) -> EntityPeer:
    try:
        return EntityPeer(Entity(entry.text()))
    except ValueError as error:
        raise entry.reject(f"unsupported entity {entry.text()!r}") from error


def _service(entry: Field, _: PeerContext) -> ServicePeer:
    entry.object()
    by_name, by_labels = entry["k8sService"], entry["k8sServiceSelector"]
    if by_labels:
        selector = selecting.cilium(by_labels["selector"])
        return ServicePeer("", selector, by_labels["namespace"].text())
    # With neither it is a service without a name, and there is none.
    return ServicePeer(by_name["serviceName"].text(), None, by_name["namespace"].text())


def _fqdn(entry: Field, _: PeerContext) -> FqdnPeer:
    return FqdnPeer(http_rules.dns_pattern(entry))


def _node(entry: Field, context: PeerContext) -> NodePeer:
    if not context.node_selector_labels:
        raise entry.reject("needs Cilium's option enable-node-selector-labels")
    entry.object()
    return NodePeer(selecting.cilium(entry))


def _group(entry: Field, _: PeerContext) -> CloudGroupPeer:
    unread.group(entry)
    return CloudGroupPeer()


_READERS: Final[dict[str, Callable[[Field, PeerContext], Peer]]] = {
    "Endpoints": _endpoint,
    "CIDR": _cidr,
    "CIDRSet": _cidr_rule,
    "Entities": _entity,
    "Nodes": _node,
    "Groups": _group,
    "Services": _service,
    "FQDNs": _fqdn,
}
