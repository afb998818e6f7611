"""Kubernetes NetworkPolicies, as Cilium translates them.

Egress rules are enforced even where policyTypes leaves Egress out, unlike what Kubernetes says:
this is what Cilium does.
"""

from typing import Final

from policies import labels as lbl
from policies import peers, ports, selecting, selectors
from policies.decoding import Field
from policies.flows import Direction
from policies.model import (
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

_FIRST_PORT: Final = 0
_MAX_INT32: Final = 2**31 - 1


def rule(spec: Field, namespace: str) -> Rule:
    """The one rule of a NetworkPolicy. Raises PolicyRejected."""
    types = [entry.text() for entry in spec["policyTypes"].entries()]
    ingress = _rules(spec["ingress"], Direction.INGRESS, namespace)
    egress = _rules(spec["egress"], Direction.EGRESS, namespace)
    return Rule(
        path=spec.path,
        subject=selecting.kubernetes(spec["podSelector"], within=namespace),
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
        found = tuple(peer for entry in among.entries() for peer in _peers(entry, namespace))
    limits, text = None, ""
    if node["ports"].count():
        entries = [_port(entry) for entry in node["ports"].entries()]
        limits = tuple(match for matches, _ in entries for match in matches)
        text = ", ".join(span for _, span in entries)
    return PeerRule(path=node.path, peers=found, ports=limits, ports_text=text)


def _peers(entry: Field, namespace: str) -> list[Peer]:
    entry.object()
    pods, spaces, block = entry["podSelector"], entry["namespaceSelector"], entry["ipBlock"]
    if block and (pods or spaces):
        raise block.reject("may not be given together with a selector")
    if block:
        block.object()
        return [peers.cidr_block(block)]
    if not pods and not spaces:
        return []
    chosen = selecting.kubernetes(pods, within="" if spaces else namespace)
    if spaces:
        of_namespace = selecting.namespaces(spaces)
        if of_namespace.requirements:
            chosen = Selector((*of_namespace.requirements, *chosen.requirements))
        else:
            chosen = chosen.and_implied(selectors.exists(lbl.K8S, lbl.NAMESPACE_KEY))
    return [EndpointPeer(chosen, any_cluster=selectors.names_cluster(chosen))]


def _port(entry: Field) -> tuple[list[PortMatch], str]:
    entry.object()
    name, members = ports.protocols(entry["protocol"])
    if not entry["protocol"]:
        name, members = ports.TCP
    number = entry["port"]
    if isinstance(number.value, str):
        where = ports.port(number, number.value)
    elif number:
        where = ports.Port(number.integer(low=0, high=ports.MAX_PORT))
    else:
        where = ports.Port(_FIRST_PORT)
    end = entry["endPort"].integer(low=-_MAX_INT32 - 1, high=_MAX_INT32)
    return ports.matches(entry.path, where, end, members), ports.span(where, end, name)
