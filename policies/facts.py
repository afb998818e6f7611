"""The objects that policies refer to, over time, and which of them a reference means.

There may be tens of thousands, of which some change every second: a change must concern those who
refer to the object, and nobody else, and finding what is meant must not look at all of them.
"""

from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import Final

from policies.inventory import Backends, CidrGroup, Fact, Service
from policies.model import CidrGroupPeer, Need, PeerRule, Rule, ServicePeer
from policies.timelines import History

Reference = ServicePeer | CidrGroupPeer | Need
"""A peer that means other objects, or that ports have names."""


class _Kind(Enum):
    SERVICE = auto()
    BACKENDS = auto()
    GROUP = auto()
    PORTS = auto()


_Shelf = tuple[_Kind, str, str]
_ANY: Final = ""
"""Stands for every namespace, or for every name."""


def references(rules: Iterable[Rule]) -> frozenset[Reference]:
    """What the rules refer to."""
    return frozenset(
        reference
        for rule in rules
        if rule.needs
        for side in (rule.ingress, rule.egress)
        for entry in (*side.allow, *side.deny)
        for reference in _of(entry)
    )


def _of(entry: PeerRule) -> Iterator[Reference]:
    for peer in entry.peers or ():
        if isinstance(peer, ServicePeer | CidrGroupPeer):
            yield peer
    if any(port.name for port in entry.ports or ()):
        yield Need.NAMED_PORTS


def means_service(peer: ServicePeer, service: Service) -> bool:
    """Whether a service is one of those that a peer means."""
    if peer.namespace and service.namespace != peer.namespace:
        return False
    if peer.selector is None:
        return service.name == peer.name
    return peer.selector.matches(service.labels)


def means_group(peer: CidrGroupPeer, group: CidrGroup) -> bool:
    """Whether a CIDR group is one of those that a peer speaks of, be it to leave them out."""
    if peer.selector is None:
        return group.name == peer.name
    return any(wanted.affirmed.matches(group.labels) for wanted in peer.selector.requirements)


class Facts:
    """Histories of objects by their keys."""

    __slots__ = ("_histories", "_shelves")

    def __init__(self) -> None:
        self._histories: dict[str, History[Fact]] = {}
        self._shelves: dict[_Shelf, dict[str, None]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._histories

    def get(self, key: str) -> History[Fact]:
        """The versions of an object; none where it was never known."""
        return self._histories.get(key, History())

    def items(self) -> list[tuple[str, History[Fact]]]:
        """All keys with their versions."""
        return list(self._histories.items())

    def put(self, key: str, history: History[Fact]) -> tuple[Fact, ...]:
        """Keep other versions of an object; returns those before and now, none if none changed."""
        old = self.get(key)
        if old == history:
            return ()
        for shelf in {shelf for fact in old.values() for shelf in _shelves(fact)}:
            entries = self._shelves[shelf]
            del entries[key]
            if not entries:
                del self._shelves[shelf]
        for shelf in {shelf for fact in history.values() for shelf in _shelves(fact)}:
            self._shelves.setdefault(shelf, {})[key] = None
        if history.versions:
            self._histories[key] = history
        else:
            self._histories.pop(key, None)
        return (*old.values(), *history.values())

    def about(self, wanted: Iterable[Reference]) -> list[History[Fact]]:
        """The histories of all objects that the references mean, at whatever time, in one order."""
        keys = {key for reference in wanted for key in self._keys(reference)}
        return [self._histories[key] for key in sorted(keys)]

    def concerns(self, reference: Reference, fact: Fact) -> bool:
        """Whether a reference means an object, at whatever time."""
        match reference, fact:
            case ServicePeer(), Service():
                return means_service(reference, fact)
            case ServicePeer(), Backends() if reference.selector is None:
                return fact.service == reference.name and reference.namespace in (
                    _ANY,
                    fact.namespace,
                )
            case ServicePeer(), Backends():
                of_service = self._shelves.get((_Kind.SERVICE, fact.namespace, fact.service), ())
                return any(self._means(reference, key) for key in of_service)
            case CidrGroupPeer(), CidrGroup():
                return means_group(reference, fact)
            case Need.NAMED_PORTS, tuple():
                return True
            case _:
                return False

    def _keys(self, reference: Reference) -> Iterator[str]:
        match reference:
            case ServicePeer(selector=None):
                place = (reference.namespace, reference.name)
                yield from self._shelves.get((_Kind.SERVICE, *place), ())
                yield from self._shelves.get((_Kind.BACKENDS, *place), ())
            case ServicePeer():
                for key in self._shelves.get((_Kind.SERVICE, reference.namespace, _ANY), ()):
                    if self._means(reference, key):
                        yield key
                        yield from self._backends(key)
            case CidrGroupPeer(selector=None):
                yield from self._shelves.get((_Kind.GROUP, _ANY, reference.name), ())
            case CidrGroupPeer():
                for key in self._shelves.get((_Kind.GROUP, _ANY, _ANY), ()):
                    if any(self.concerns(reference, fact) for fact in self.get(key).values()):
                        yield key
            case _:
                yield from self._shelves.get((_Kind.PORTS, _ANY, _ANY), ())

    def _means(self, peer: ServicePeer, key: str) -> bool:
        return any(
            isinstance(fact, Service) and means_service(peer, fact)
            for fact in self.get(key).values()
        )

    def _backends(self, key: str) -> Iterator[str]:
        for fact in self.get(key).values():
            if isinstance(fact, Service):
                yield from self._shelves.get((_Kind.BACKENDS, fact.namespace, fact.name), ())


def _shelves(fact: Fact) -> Iterator[_Shelf]:
    """Where an object is looked for: by its name in its namespace, or in any; and among all."""
    match fact:
        case Service():
            kind, namespace, name = _Kind.SERVICE, fact.namespace, fact.name
        case Backends():
            kind, namespace, name = _Kind.BACKENDS, fact.namespace, fact.service
        case CidrGroup():
            kind, namespace, name = _Kind.GROUP, _ANY, fact.name
        case _:
            kind, namespace, name = _Kind.PORTS, _ANY, _ANY
    for space in {namespace, _ANY}:
        yield (kind, space, name)
        yield (kind, space, _ANY)
