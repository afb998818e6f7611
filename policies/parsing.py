"""From a manifest to a policy, refusing what Cilium's engine refuses.

Parsing knows no cluster: the same manifest is the same policy everywhere.
"""

from collections.abc import Mapping
from typing import Final

from policies import alerting, networkpolicies, peers, ports, selecting, unread
from policies.decoding import Field, PolicyRejected
from policies.flows import Direction
from policies.model import (
    CCNP,
    CNP,
    KNP,
    CidrGroupPeer,
    Need,
    NodePeer,
    PeerRule,
    Policy,
    PolicyRef,
    Rule,
    RuleDirection,
    ServicePeer,
)

__all__ = ["PolicyRejected", "parse"]

_DEFAULT_NAMESPACE: Final = "default"
_AUTHENTICATING: Final = frozenset({"required", "test-always-fail"})


def parse(manifest: Mapping[str, object], *, node_selector_labels: bool = False) -> Policy:
    """The policy that a CNP, CCNP or NetworkPolicy means.

    `node_selector_labels`: Cilium runs with that option, so fromNodes and toNodes are taken.
    Raises PolicyRejected where Cilium's engine would refuse the object.
    """
    root = Field("", manifest)
    kind = root["kind"].text()
    metadata = root["metadata"]
    name = metadata["name"].text()
    if not name:
        raise metadata["name"].reject("a policy must have a name")
    namespace = metadata["namespace"].text()
    match kind:
        case "CiliumNetworkPolicy":
            namespace = namespace or _DEFAULT_NAMESPACE
            rules = _cilium_rules(root, namespace, node_selector_labels=node_selector_labels)
        case "CiliumClusterwideNetworkPolicy":
            namespace = ""
            rules = _cilium_rules(root, "", node_selector_labels=node_selector_labels)
        case "NetworkPolicy":
            namespace = namespace or _DEFAULT_NAMESPACE
            rules = (networkpolicies.rule(root["spec"], namespace),)
        case _:
            raise root["kind"].reject(f"must be {CNP}, {CCNP} or {KNP}, not {kind or 'empty'}")
    found = alerting.read(metadata)
    return Policy(
        ref=PolicyRef(kind, namespace, name),
        rules=tuple(with_needs(rule) for rule in rules),
        alerting=found.alerting,
        warnings=found.warnings,
    )


def with_needs(rule: Rule) -> Rule:
    """The same rule, saying what has to be looked up to compile it."""
    needs = set()
    for side in (rule.ingress, rule.egress):
        for entry in (*side.allow, *side.deny):
            needs |= {_NEEDS[type(peer)] for peer in entry.peers or () if type(peer) in _NEEDS}
            if any(port.name for port in entry.ports or ()):
                needs.add(Need.NAMED_PORTS)
    return Rule(
        path=rule.path,
        subject=rule.subject,
        selects_nodes=rule.selects_nodes,
        ingress=rule.ingress,
        egress=rule.egress,
        needs=frozenset(needs),
    )


_NEEDS: Final[dict[type, Need]] = {
    ServicePeer: Need.SERVICES,
    CidrGroupPeer: Need.CIDR_GROUPS,
    NodePeer: Need.NODE_LABELS,
}


def _cilium_rules(root: Field, namespace: str, *, node_selector_labels: bool) -> tuple[Rule, ...]:
    if not root["spec"] and not root["specs"]:
        raise root["spec"].reject("a policy must have spec or specs")
    nodes = [root["spec"]] if root["spec"] else []
    nodes += list(root["specs"].entries())
    return tuple(
        _cilium_rule(node, namespace, node_selector_labels=node_selector_labels) for node in nodes
    )


def _cilium_rule(spec: Field, namespace: str, *, node_selector_labels: bool) -> Rule:
    spec.object()
    sections = ("ingress", "ingressDeny", "egress", "egressDeny")
    if not any(spec[section].count() for section in sections):
        raise spec.reject("must have one of ingress, ingressDeny, egress and egressDeny")
    # Go has a selector wherever there is the field, be it null.
    of_endpoints, of_nodes = "endpointSelector" in spec.object(), "nodeSelector" in spec.object()
    endpoints, nodes = spec["endpointSelector"], spec["nodeSelector"]
    if not of_endpoints and not of_nodes:
        raise spec.reject("must have endpointSelector or nodeSelector")
    if of_endpoints and of_nodes:
        raise nodes.reject("may not be given together with endpointSelector")
    if of_nodes and namespace:
        raise nodes.reject("is for clusterwide policies only")
    selector = selecting.cilium(nodes if of_nodes else endpoints, within=namespace)
    context = peers.PeerContext(
        namespace=namespace,
        of_init=selector.names("init", ("reserved",)),
        node_selector_labels=node_selector_labels,
    )
    unread.of_spec(spec)
    default_deny = spec["enableDefaultDeny"]
    default_deny.object()
    return Rule(
        path=spec.path,
        subject=selector,
        selects_nodes=of_nodes,
        ingress=_direction(
            spec, Direction.INGRESS, context, default_deny["ingress"].boolean(), of_nodes=of_nodes
        ),
        egress=_direction(
            spec, Direction.EGRESS, context, default_deny["egress"].boolean(), of_nodes=of_nodes
        ),
    )


def _direction(
    spec: Field,
    direction: Direction,
    context: peers.PeerContext,
    default_deny: bool | None,
    *,
    of_nodes: bool,
) -> RuleDirection:
    allow, deny = spec[direction.value], spec[f"{direction.value}Deny"]
    allowed = tuple(
        _entry(node, direction, context, deny=False, of_nodes=of_nodes) for node in allow.entries()
    )
    denied = tuple(
        _entry(node, direction, context, deny=True, of_nodes=of_nodes) for node in deny.entries()
    )
    has_rules = bool(allowed or denied)
    return RuleDirection(
        default_deny=has_rules and default_deny is not False, allow=allowed, deny=denied
    )


def _entry(
    node: Field,
    direction: Direction,
    context: peers.PeerContext,
    *,
    deny: bool,
    of_nodes: bool,
) -> PeerRule:
    node.object()
    for refused in ("fromRequires", "toRequires"):
        node[refused].count()  # not looked into since Cilium 1.19, but for what it is
    if node["icmps"].count() and node["toPorts"].count():
        raise node["icmps"].reject("may only be given without toPorts, in a rule of its own")
    found = peers.of_rule(node, direction, context, deny=deny)
    limits, text = ports.to_ports(node["toPorts"], direction, deny=deny, of_nodes=of_nodes)
    types, types_text = ports.icmps(node["icmps"])
    if limits is None:
        limits, text = types, types_text
    if found is None and limits is None:
        # An entry that says nothing selects nothing: an allowing one still denies by default.
        found = ()
    authentication = node["authentication"]["mode"].text() if not deny else ""
    return PeerRule(
        path=node.path,
        peers=found,
        ports=limits,
        ports_text=text,
        requires_auth=authentication in _AUTHENTICATING,
    )
