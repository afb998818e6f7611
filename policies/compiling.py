"""A policy set as one subject sees it: peers looked up, ports resolved, everything at hand.

Compiling happens once for each set of rules, not for each subject or flow: subjects that the same
rules select share one SubjectPolicy, and so share whatever a caller caches under its version.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from policies import facts, selectors
from policies import labels as lbl
from policies.addresses import PrefixTable
from policies.flows import Protocol
from policies.inventory import CidrGroup, Inventory, NamedPort
from policies.labels import LabelSet
from policies.matching import CompiledRule, Membership, PeerMatch, PortSpan
from policies.model import (
    CidrGroupPeer,
    CidrPeer,
    EndpointPeer,
    Entity,
    EntityPeer,
    FqdnPeer,
    NodePeer,
    Peer,
    PeerRule,
    Policy,
    PortMatch,
    Rule,
    RuleDirection,
    ServicePeer,
)
from policies.options import Enforcement, Options
from policies.selectors import Selector
from policies.subjects import DirectionPolicy, SubjectPolicy

_CLUSTER_MEMBERS = frozenset(
    {"host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"}
)


@dataclass(frozen=True, slots=True)
class Traits:
    """What of a subject, besides the rules that select it, decides how they compile."""

    cluster: str = ""
    is_init: bool = False
    is_host: bool = False
    own_ports: tuple[NamedPort, ...] = ()
    all_ports: tuple[NamedPort, ...] = ()


def traits_of(subject: LabelSet, options: Options) -> Traits:
    """Those that need no inventory."""
    return Traits(
        cluster=options.cluster_name or subject.cluster,
        is_init="init" in subject.reserved,
        is_host="host" in subject.reserved,
    )


def selects(rule: Rule, subject: LabelSet, options: Options) -> bool:
    """Whether a rule is about this subject: host rules about the host, the others never."""
    if "host" in subject.reserved:
        return rule.selects_nodes and options.host_firewall and rule.subject.matches(subject)
    return not rule.selects_nodes and rule.subject.matches(subject)


def compile_subject(
    rules: Sequence[tuple[Policy, Rule]],
    traits: Traits,
    *,
    version: int,
    options: Options,
    inventory: Inventory,
) -> SubjectPolicy:
    """The policy of all subjects with these traits that exactly these rules select."""
    if options.enforcement is Enforcement.NEVER:
        rules = ()
    compiler = _Compiler(traits, options, inventory)
    return SubjectPolicy(
        version=version,
        policies={policy.ref: policy for policy, _ in rules},
        ingress=compiler.direction(
            [(p, r, r.ingress) for p, r in rules], traits.own_ports
        ).with_host(allowed=options.host_always_allowed and not traits.is_host),
        egress=compiler.direction([(p, r, r.egress) for p, r in rules], traits.all_ports),
    )


class _Compiler:
    """The look-ups of one subject."""

    def __init__(self, traits: Traits, options: Options, inventory: Inventory) -> None:
        self._traits = traits
        self._options = options
        self._inventory = inventory

    def direction(
        self,
        sides: Sequence[tuple[Policy, Rule, RuleDirection]],
        named: tuple[NamedPort, ...],
    ) -> DirectionPolicy:
        """All that the rules say about one direction."""
        ports = _resolvable(named)
        blockers = tuple(
            (policy.ref, rule.path) for policy, rule, side in sides if side.default_deny
        )
        match self._options.enforcement:
            case Enforcement.ALWAYS:
                always = self._options.host_firewall or not self._traits.is_host
            case Enforcement.DEFAULT:
                always = self._traits.is_init
            case Enforcement.NEVER:
                always = False
        return DirectionPolicy(
            enforced=bool(blockers) or always,
            has_rules=any(side or side.default_deny for _, _, side in sides),
            default_deny=blockers,
            allow=tuple(
                self._rule(policy, entry, ports)
                for policy, _, side in sides
                for entry in side.allow
            ),
            deny=tuple(
                self._rule(policy, entry, ports) for policy, _, side in sides for entry in side.deny
            ),
        )

    def _rule(
        self, policy: Policy, rule: PeerRule, named: dict[tuple[str, int], int]
    ) -> CompiledRule:
        peers = None
        if rule.peers is not None:
            peers = tuple(match for peer in rule.peers for match in self._peer(peer))
        ports = None
        if rule.ports is not None:
            ports = tuple(span for port in rule.ports for span in _span(port, named))
        return CompiledRule(policy.ref, rule, peers, ports)

    def _peer(self, peer: Peer) -> Iterator[PeerMatch]:
        match peer:
            case EndpointPeer():
                yield PeerMatch(selector=self._local(peer.selector, any_cluster=peer.any_cluster))
            case EntityPeer():
                yield self._entity(peer.entity)
            case CidrPeer():
                yield PeerMatch(prefix=peer.prefix, excepts=peer.excepts)
            case CidrGroupPeer():
                groups = self._cidr_groups(peer)
                if all(condition.prefixes for condition in groups if condition.wanted):
                    yield PeerMatch(group=peer, memberships=groups, excepts=peer.excepts)
            case FqdnPeer():
                yield PeerMatch(fqdn=peer.pattern.text)
            case ServicePeer():
                yield from self._services(peer)
            case NodePeer():
                # Never the node that the subject runs on, whatever its labels.
                others = peer.selector.and_implied(selectors.exists(lbl.RESERVED, "remote-node"))
                named = selectors.names_cluster(peer.selector)
                yield PeerMatch(selector=self._local(others, any_cluster=named))
            case _:
                return

    def _local(self, selector: Selector, *, any_cluster: bool) -> Selector:
        if any_cluster or not self._options.default_local_cluster or not self._traits.cluster:
            return selector
        return selector.and_implied(selectors.equal(lbl.K8S, lbl.CLUSTER_KEY, self._traits.cluster))

    def _entity(self, entity: Entity) -> PeerMatch:
        match entity:
            case Entity.ALL:
                return PeerMatch(selector=Selector(), is_anyone=True)
            case Entity.WORLD:
                return PeerMatch(reserved=lbl.WORLDS)
            case Entity.CLUSTER:
                members = selectors.exists(lbl.K8S, lbl.CLUSTER_KEY)
                if self._traits.cluster:
                    members = selectors.equal(lbl.K8S, lbl.CLUSTER_KEY, self._traits.cluster)
                return PeerMatch(reserved=_CLUSTER_MEMBERS, selector=Selector((), (members,)))
            case _:
                return PeerMatch(reserved=frozenset({entity.value}))

    def _cidr_groups(self, peer: CidrGroupPeer) -> tuple[Membership, ...]:
        """One condition for each of the selector's: an address has the labels of all its groups."""
        groups = self._inventory.cidr_groups
        if peer.selector is None:
            return (_membership(group for group in groups if facts.means_group(peer, group)),)
        return tuple(
            _membership(
                (group for group in groups if condition.affirmed.matches(group.labels)),
                wanted=not condition.is_negative,
            )
            for condition in peer.selector.requirements
        )

    def _services(self, peer: ServicePeer) -> Iterator[PeerMatch]:
        for service in self._inventory.services:
            if not facts.means_service(peer, service):
                continue
            if service.selector is not None:
                pods = service.selector.and_implied(
                    selectors.equal(lbl.K8S, lbl.NAMESPACE_KEY, service.namespace)
                )
                yield PeerMatch(selector=self._local(pods, any_cluster=False))
                continue
            for backends in self._inventory.backends:
                if (backends.namespace, backends.service) == (service.namespace, service.name):
                    for prefix in backends.addresses:
                        yield PeerMatch(prefix=prefix)


def _membership(groups: Iterable[CidrGroup], *, wanted: bool = True) -> Membership:
    return Membership(PrefixTable(p for group in groups for p in group.prefixes), wanted)


def _resolvable(named: tuple[NamedPort, ...]) -> dict[tuple[str, int], int]:
    """Number by name and protocol; a name with two numbers resolves to nothing."""
    found: dict[tuple[str, int], set[int]] = {}
    for port in named:
        found.setdefault((port.name, port.protocol), set()).add(port.port)
    return {key: next(iter(numbers)) for key, numbers in found.items() if len(numbers) == 1}


def _span(port: PortMatch, named: dict[tuple[str, int], int]) -> Iterator[PortSpan]:
    protocol = Protocol(port.protocol)
    if not port.name:
        yield PortSpan(protocol, port.low, port.high, port.path, port.l7)
        return
    number = named.get((port.name, port.protocol))
    if number is not None:
        yield PortSpan(protocol, number, max(number, port.high), port.path, port.l7)
