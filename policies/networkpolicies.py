"""Kubernetes NetworkPolicies, as Cilium translates them.

Egress rules are enforced even where policyTypes leaves Egress out, unlike what Kubernetes says:
this is what Cilium does. It looks at hardly anything of what the API server has looked at: what is
refused here cannot be read, or names no protocol. The linter says what the API server refuses.
"""

from collections.abc import Callable
from typing import Final

from policies import labels as lbl
from policies import peers, ports, selecting, selectors
from policies.decoding import Field
from policies.flows import Direction
from policies.model import (
    CidrPeer,
    EndpointPeer,
    Entity,
    EntityPeer,
    Peer,
    PeerRule,
    PortMatch,
    Rule,
    RuleDirection,
)
from policies.selectors import Selector

_MAX_INT32: Final = 2**31 - 1


def rule(spec: Field, namespace: str) -> Rule:
    """The one rule of a NetworkPolicy. Raises PolicyRejected."""
    types = [entry.text() for entry in spec["policyTypes"].entries()]
    ingress = _rules(spec["ingress"], Direction.INGRESS, namespace)
    egress = _rules(spec["egress"], Direction.EGRESS, namespace)
    return Rule(
        path=spec.path,
        # Rules are looked for by their namespace, whatever they select.
        subject=_selecting(selecting.kubernetes, spec["podSelector"], within=namespace)
        or Selector((), (selectors.equal(lbl.K8S, lbl.NAMESPACE_KEY, namespace),)),
        ingress=RuleDirection(
            default_deny=bool(ingress) or "Ingress" in types or "Egress" not in types,
            allow=ingress,
        ),
        egress=RuleDirection(default_deny=bool(egress) or "Egress" in types, allow=egress),
    )


def _rules(node: Field, direction: Direction, namespace: str) -> tuple[PeerRule, ...]:
    return tuple(_rule(entry, direction, namespace) for entry in node.entries())


def _rule(node: Field, direction: Direction, namespace: str) -> PeerRule:
    node.object()
    among = node["from" if direction is Direction.INGRESS else "to"]
    found: tuple[Peer, ...] = (EntityPeer(Entity.ALL),)
    if among.count():
        found = tuple(_peer(entry, namespace) for entry in among.entries())
    limits, text = None, ""
    if node["ports"].count():
        entries = [_port(entry) for entry in node["ports"].entries()]
        limits = tuple(match for matches, _ in entries for match in matches)
        text = ", ".join(span for _, span in entries)
    return PeerRule(path=node.path, peers=found, ports=limits, ports_text=text)


def _peer(entry: Field, namespace: str) -> Peer:
    entry.object()
    pods, spaces, block = entry["podSelector"], entry["namespaceSelector"], entry["ipBlock"]
    chosen = _selecting(selecting.kubernetes, pods, within="" if spaces else namespace)
    if spaces:
        chosen = _among(_selecting(selecting.namespaces, spaces), chosen)
    if block:
        block.object()
        excepts = tuple(peers.prefix(item) for item in block["except"].entries())
        return CidrPeer(peers.prefix(block["cidr"]), excepts)
    if chosen is None:
        return EntityPeer(Entity.ALL)
    return EndpointPeer(chosen, any_cluster=selectors.names_cluster(chosen))


def _among(spaces: Selector | None, pods: Selector | None) -> Selector | None:
    """Those pods that are in one of the namespaces; where all are meant, in some."""
    if spaces is None or pods is None:
        return None
    if spaces.requirements:
        return Selector((*spaces.requirements, *pods.requirements))
    return pods.and_implied(selectors.exists(lbl.K8S, lbl.NAMESPACE_KEY))


def _selecting(read: Callable[..., Selector], node: Field, **options: str) -> Selector | None:
    """The selector, or None where Cilium refuses it: it goes on as if it were not there.

    So it is anybody that is meant. There are such selectors in clusters: keys that are too long
    with Cilium's prefix, and what an API server took in former times.
    """
    try:
        return read(node, **options)
    except selecting.InvalidSelector:
        selecting.decode(node)
        return None


def _port(entry: Field) -> tuple[list[PortMatch], str]:
    entry.object()
    name, members = ports.protocols(entry["protocol"])
    if not entry["protocol"]:
        name, members = ports.TCP
    number = entry["port"]
    if isinstance(number.value, str):
        where = ports.unchecked(number.text())
    else:
        where = ports.unchecked(str(number.integer(low=-_MAX_INT32 - 1, high=_MAX_INT32)))
    last = ports.end(entry["endPort"])
    found = [ports.match(entry.path, where, last, protocol) for protocol in members]
    return found, ports.span(where, last, name)
