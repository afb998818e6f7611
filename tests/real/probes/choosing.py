"""Which packets to send at a policy set: as many that will be stopped as will pass, by all rules.

What will happen is foretold by the matcher; the choice is by chance, the same for the same seed.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from policies.dnsnames import DnsPattern
from policies.evaluating import Evaluation, Outcome, evaluate
from policies.flows import Direction, Protocol, Query
from policies.model import FqdnPeer
from policies.repository import Repository
from tests.real.probes import parties
from tests.real.probes.kinds import Kind, of_rule
from tests.real.probes.parties import Party, Sort
from tests.real.probes.population import CLOSED, NAMES, PORTS

PROBES: Final = 24
QUESTIONS: Final = 6
TRANSPORTS: Final = (Protocol.TCP, Protocol.UDP)
ECHO: Final = 8
SERVICE_PORT: Final = 80
DNS_PORT: Final = 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A packet to send."""

    source: Party
    destination: Party
    protocol: Protocol
    port: int
    """That is called; for ICMP the type."""
    name: str = ""
    """That is asked for, where the destination is the name server."""

    @property
    def reached(self) -> int:
        """Return the port at which it arrives."""
        return PORTS[0] if self.destination.sort is Sort.SERVICE else self.port

    def __str__(self) -> str:
        what = f" for {self.name}" if self.name else ""
        to = f"{self.destination.name}:{self.port}/{self.protocol}"
        return f"{self.source.name} -> {to}{what}"


@dataclass(frozen=True, slots=True)
class Foretold:
    """A probe, and what the matcher says of each end that has policies at all."""

    probe: Probe
    asked: tuple[Query, ...]
    ends: tuple[Evaluation, ...]

    @property
    def is_stopped(self) -> bool:
        """Return whether it will not arrive."""
        return any(end.outcome is not Outcome.ALLOWED for end in self.ends)

    def by(self) -> frozenset[tuple[object, ...]]:
        """Return what decides: probes that differ in it try different rules."""
        return frozenset(
            (query.direction, end.outcome, frozenset(_by(query, end)))
            for query, end in zip(self.asked, self.ends, strict=True)
        )

    @property
    def is_denied(self) -> bool:
        """Return whether a rule says that it must not arrive."""
        return any(end.outcome is Outcome.DENIED for end in self.ends)

    def kinds(self) -> frozenset[Kind]:
        """Return the kinds of peer in the rules that decide it, or that did not allow it."""
        found: set[Kind] = set()
        for end in self.ends:
            hits = end.denying or end.allowing
            rules = [hit.rule for hit in hits] or end.side.insufficient
            for rule in rules:
                found |= of_rule(rule.rule)
        return frozenset(found)


def foretell(probe: Probe, repository: Repository) -> Foretold:
    """Return what the matcher says of a probe, by the labels that it should have."""
    asked, ends = [], []
    source, destination = probe.source, probe.destination
    for own, other, direction in (
        (source, destination, Direction.EGRESS),
        (destination, source, Direction.INGRESS),
    ):
        if own.sort in {Sort.NODE, Sort.WORLD}:
            continue
        peer = other.seen_from(own.node)
        query = Query(
            direction=direction,
            peer=peer,
            peer_ip=other.behind or other.ip,
            protocol=probe.protocol,
            port=probe.reached,
        )
        asked.append(query)
        ends.append(evaluate(repository.subject(own.labels).newest, query))
    return Foretold(probe, tuple(asked), tuple(ends))


def _by(query: Query, end: Evaluation) -> Iterator[tuple[object, ...]]:
    """Yield the rules that decide at one end; where none does, how near each came."""
    if hits := end.denying or end.allowing:
        for hit in hits:
            yield (hit.rule.policy, hit.rule.rule.path)
        return
    for rule in end.side.insufficient:
        _, finding = rule.near_miss(query.peer, end.address, query.protocol, query.port)
        excepted = any(
            match.prefix is not None
            and end.address is not None
            and match.prefix.contains(end.address)
            for match in rule.peers or ()
        )
        yield (rule.policy, rule.rule.path, finding.why, excepted)


def questions(
    repository: Repository, everyone: Sequence[Party], chance: random.Random
) -> list[Probe]:
    """Return questions to the name server by pods whose policies have rules about names."""
    server = next(each for each in everyone if each.name == "kube-system/coredns")
    found = []
    for pod in everyone:
        if pod.sort is not Sort.POD or pod is server:
            continue
        ports = [
            span
            for rule in repository.subject(pod.labels).newest.egress.allow
            for span in rule.ports or ()
        ]
        if any(span.l7 is not None for span in ports):
            found += [_question(pod, server, name) for name in NAMES]
    return chance.sample(found, min(QUESTIONS, len(found)))


def _question(pod: Party, server: Party, name: str) -> Probe:
    return Probe(source=pod, destination=server, protocol=Protocol.UDP, port=DNS_PORT, name=name)


def patterns(repository: Repository) -> frozenset[DnsPattern]:
    """Return what policies call addresses by."""
    return frozenset(
        peer.pattern
        for policy in repository.policies()
        for rule in policy.rules
        for entry in rule.egress.allow
        for peer in entry.peers or ()
        if isinstance(peer, FqdnPeer)
    )


def choose(
    repository: Repository,
    everyone: Sequence[Party],
    chance: random.Random,
    *,
    focus: Kind,
    asked: Collection[str],
) -> list[Probe]:
    """Return probes, half of them stopped as far as there are such; `asked`: names that are known.

    One of each combination of deciding rules and near misses comes before others of the same:
    first explicit denials, and what the set's own kind of peer has a part in.
    """
    named = patterns(repository)
    found = _telling(repository, [parties.known_by_name(each, named, asked) for each in everyone])
    chance.shuffle(found)
    found.sort(key=lambda each: (focus not in each.kinds(), not each.is_denied))
    groups: dict[bool, dict[object, list[Foretold]]] = {False: {}, True: {}}
    for each in found:
        groups[each.is_stopped].setdefault(each.by(), []).append(each)
    stopped, passing = (list(_in_turn(list(groups[key].values()))) for key in (True, False))
    take = max(PROBES // 2, PROBES - len(passing))
    chosen = stopped[:take]
    chosen += passing[: PROBES - len(chosen)]
    return [each.probe for each in chosen]


def is_fit(repository: Repository, everyone: Sequence[Party], *, focus: Kind) -> bool:
    """Return whether a set can be tried: packets of both fates, and its own kind has a part."""
    found = _telling(repository, everyone)
    stopped = sum(each.is_stopped for each in found)
    both = min(stopped, len(found) - stopped) >= PROBES // 2
    return both and any(focus in each.kinds() for each in found)


def _telling(repository: Repository, everyone: Sequence[Party]) -> list[Foretold]:
    """Return the probes of which policies have anything to say."""
    found = [foretell(probe, repository) for probe in _candidates(everyone)]
    return [each for each in found if any(end.side.enforced or end.denying for end in each.ends)]


def _in_turn(groups: Sequence[Sequence[Foretold]]) -> Iterator[Foretold]:
    for row in zip_longest(*groups):
        yield from (each for each in row if each is not None)


def _candidates(everyone: Sequence[Party]) -> Iterator[Probe]:
    callers = [
        each
        for each in everyone
        if each.host is not None
        and (each.sort is not Sort.WORLD or each.ip in parties.CALLERS_OF_THE_WORLD)
    ]
    for source in callers:
        for destination in everyone:
            if source.sort is not Sort.POD and destination.sort is not Sort.POD:
                continue
            if source.ip in {destination.ip, destination.behind}:
                continue
            if destination.sort is Sort.SERVICE:
                yield Probe(
                    source=source,
                    destination=destination,
                    protocol=Protocol.TCP,
                    port=SERVICE_PORT,
                )
                continue
            for protocol in TRANSPORTS:
                for port in (*PORTS, CLOSED):
                    yield Probe(
                        source=source, destination=destination, protocol=protocol, port=port
                    )
            if source.sort is not Sort.NODE:
                yield Probe(
                    source=source, destination=destination, protocol=Protocol.ICMP, port=ECHO
                )
