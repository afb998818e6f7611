"""One compiled rule against one flow: does it match, and if not, how far off is it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies.addresses import Address, Prefix, PrefixTable
from policies.flows import Protocol
from policies.labels import RESERVED, LabelSet
from policies.model import CidrGroupPeer, CloudGroupPeer, PeerRule, PolicyRef
from policies.requests import L7Rules
from policies.selectors import Selector

FAR: Final = 1000
"""The distance of a peer that has nothing to do with what the rule names."""


class Why(StrEnum):
    """Why a rule did not allow a flow, or that it denies or allows it."""

    ALLOWS = "allows"
    DENIES = "denies"
    L7 = "l7"
    AUTH = "auth"
    PORT = "port"
    PROTOCOL = "protocol"
    PEER = "peer"
    PEER_AND_PORT = "peer-and-port"
    NOTHING = "nothing"
    """The rule selects nobody, or the policy has no rule for the direction."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule has to do with a flow."""

    policy: PolicyRef
    path: str
    """Where in the manifest, such as `spec.ingress[1].toPorts[0]`."""
    why: Why
    ports: str = ""
    """The ports that the rule names, as its owner wrote them; empty: any."""
    peers: str = ""
    """The peers that the rule names; empty: anyone."""
    requests: str = ""
    """The requests that it allows, where it has L7 rules."""
    miss: str = ""
    """How the flow missed it, where more can be said than `why`."""


@dataclass(frozen=True, slots=True)
class PortSpan:
    """Ports of one protocol, named ones resolved."""

    protocol: Protocol
    low: int
    high: int
    path: str
    l7: L7Rules | None = None

    def has(self, protocol: Protocol, port: int) -> bool:
        """Whether the port is one of them."""
        return protocol is self.protocol and self.low <= port <= self.high


@dataclass(frozen=True, slots=True)
class Membership:
    """A condition on the CIDR groups that a peer's address lies in; a pod lies in none."""

    prefixes: PrefixTable
    wanted: bool = True

    def holds(self, address: Address | None) -> bool:
        """Whether the address is where it is wanted."""
        inside = address is not None and self.prefixes.longest(address) != ""
        return inside is self.wanted


class PeerMatch:
    """One peer of a rule, ready to compare."""

    __slots__ = (
        *("_excepts", "_group", "_memberships", "_reserved", "_selector"),
        *("fqdn", "is_anyone", "prefix"),
    )

    def __init__(
        self,
        *,
        selector: Selector | None = None,
        reserved: frozenset[str] | None = None,
        prefix: Prefix | None = None,
        excepts: tuple[Prefix, ...] = (),
        group: CidrGroupPeer | None = None,
        memberships: tuple[Membership, ...] = (),
        fqdn: str = "",
        is_anyone: bool = False,
    ) -> None:
        self._selector = selector
        self._reserved = reserved
        self.prefix = prefix
        self._excepts = excepts
        self._group = group
        self._memberships = memberships
        self.fqdn = fqdn
        self.is_anyone = is_anyone

    @property
    def is_about_outside(self) -> bool:
        """Whether it is told by its address or name, and not by its labels."""
        return self.prefix is not None or self._group is not None or bool(self.fqdn)

    def matches(self, peer: LabelSet, address: Address | None) -> bool:
        """Whether the peer is one of these."""
        if self.prefix is not None:
            return (
                peer.is_outside
                and address is not None
                and self.prefix.contains(address)
                and not any(prefix.contains(address) for prefix in self._excepts)
            )
        if self.fqdn:
            return self.fqdn in peer.fqdns
        if self._reserved is not None and not self._reserved.isdisjoint(peer.reserved):
            return True
        if self._selector is not None:
            return self._selector.matches(peer)
        return self._group is not None and self._has_memberships(peer, address)

    def _has_memberships(self, peer: LabelSet, address: Address | None) -> bool:
        own = address if peer.is_outside else None
        if own is not None and any(prefix.contains(own) for prefix in self._excepts):
            return False
        return all(condition.holds(own) for condition in self._memberships)

    def missed(self, peer: LabelSet) -> int:
        """How many of its conditions a peer that it does not match fails to meet."""
        if self._selector is None or peer.is_outside:
            return FAR
        return self._selector.missed(peer)

    def entries(self, peer: LabelSet) -> Iterator[object]:
        """The selectors of the engine of which this one consists, as far as the peer meets them.

        Two rules with one of these in common share an entry of the engine.
        """
        if self.prefix is not None:
            yield (self.prefix, frozenset(self._excepts))
        elif self.fqdn:
            yield self.fqdn
        elif self._group is not None:
            yield self._group
        else:
            yield from (self._reserved or frozenset()) & peer.reserved
            if self._selector is not None and self._selector.matches(peer):
                only = self._selector.requirements
                if len(only) == 1 and only[0].source == RESERVED:
                    yield only[0].key
                yield frozenset((*only, *self._selector.implied))

    def prefixes(self) -> Iterator[Prefix]:
        """The prefixes that it names."""
        if self.prefix is not None:
            yield self.prefix
        for condition in self._memberships:
            yield from condition.prefixes.prefixes
        yield from self._excepts


class CompiledRule:
    """One rule of one policy, as one set of subjects sees it."""

    __slots__ = ("_findings", "is_unevaluated", "peers", "policy", "ports", "rule")

    def __init__(
        self,
        policy: PolicyRef,
        rule: PeerRule,
        peers: tuple[PeerMatch, ...] | None,
        ports: tuple[PortSpan, ...] | None,
    ) -> None:
        self.policy = policy
        self.rule = rule
        self.peers = peers
        self.ports = ports
        self.is_unevaluated = any(isinstance(peer, CloudGroupPeer) for peer in rule.peers or ())
        self._findings: dict[tuple[Why, str], Finding] = {}

    def matches_peer(self, peer: LabelSet, address: Address | None) -> bool:
        """Whether the rule is about this peer."""
        if self.peers is None:
            return True
        for match in self.peers:  # noqa: SIM110 (a generator would cost as much again)
            if match.matches(peer, address):
                return True
        return False

    def is_about_anyone(self) -> bool:
        """Whether it names no peer in particular."""
        return self.peers is None or any(match.is_anyone for match in self.peers)

    def entries(self, peer: LabelSet, address: Address | None) -> Iterator[object]:
        """See PeerMatch.entries."""
        if self.is_about_anyone():
            yield None
        for match in self.peers or ():
            if match.matches(peer, address):
                yield from match.entries(peer)

    def spans(self, protocol: Protocol, port: int) -> tuple[PortSpan, ...] | None:
        """The spans that have the port; None where the rule does not limit ports."""
        if self.ports is None:
            return None
        return tuple([span for span in self.ports if span.has(protocol, port)])

    def finding(self, why: Why, path: str = "") -> Finding:
        """What this rule has to do with a flow: one object for each answer, since they are kept."""
        key = (why, path)
        found = self._findings.get(key)
        if found is None:
            peers = self.rule.peers
            requests = [str(span.l7) for span in self.ports or () if span.path == path and span.l7]
            found = Finding(
                policy=self.policy,
                path=path or self.rule.path,
                why=why,
                ports=self.rule.ports_text,
                peers="" if peers is None else " or ".join(str(peer) for peer in peers),
                requests=" or ".join(dict.fromkeys(requests)),
            )
            self._findings[key] = found
        return found

    def near_miss(
        self, peer: LabelSet, address: Address | None, protocol: Protocol, port: int
    ) -> tuple[tuple[int, int], Finding]:
        """Why it does not match, with a rank: the lower, the nearer."""
        if self.peers == () or self.ports == ():
            return (9, 0), self.finding(Why.NOTHING)
        if not self.matches_peer(peer, address):
            distance = FAR
            for match in self.peers or ():
                distance = min(distance, match.missed(peer))
            spans = self.spans(protocol, port)
            if spans is None:
                return (4, distance), self.finding(Why.PEER)
            if spans:
                return (4, distance), self.finding(Why.PEER, spans[0].path)
            return (5, distance), self.finding(Why.PEER_AND_PORT)
        for span in self.ports or ():
            if span.protocol is protocol:
                return (2, 0), self.finding(Why.PORT, span.path)
        return (3, 0), self.finding(Why.PROTOCOL)
