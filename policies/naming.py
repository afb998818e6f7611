"""What the ends of a flow are called, so that flows which one owner sees as one are one alert.

A pod is its namespace and app label; an address is what the policy itself can tell apart: another
policy that learns its name or names its prefix must not change what this one calls it.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from policies import addresses
from policies.addresses import Prefix, PrefixTable
from policies.labels import CIDR, FQDN, K8S, LabelSet
from policies.model import CidrPeer, FqdnPeer, Policy

APP_KEYS: Final = ("app.kubernetes.io/name", "k8s-app", "app")
"""The labels that name a workload, the first that is there wins."""

_ENTITIES: Final = (
    "host",
    "kube-apiserver",
    "remote-node",
    "health",
    "ingress",
    "init",
    "unmanaged",
)
_HASH_CHARACTERS: Final = 10
_NOT_IDENTITY: Final = frozenset({CIDR, FQDN, "cidrgroup"})


class PartyKind(StrEnum):
    """How a party is told apart."""

    WORKLOAD = "workload"
    ENTITY = "entity"
    CIDR = "cidr"
    FQDN = "fqdn"
    WORLD = "world"
    LABELS = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One end of a stopped flow: kind, namespace and app tell it apart, text is for people."""

    kind: PartyKind
    namespace: str = ""
    app: str
    """The app label's value, the entity, prefix or DNS pattern, or a hash of the labels."""
    text: str


def party(labels: LabelSet, policies: Iterable[Policy] = (), ip: str = "") -> Party:
    """What one end of a flow is called with regard to these policies (usually one).

    The result is the same for all addresses of one CIDR class. Names that DNS gave have no part in
    it: only those do by which a policy knows the address, which are among the labels.
    """
    if labels.namespace:
        return _pod(labels)
    for entity in _ENTITIES:
        if entity in labels.reserved:
            return Party(kind=PartyKind.ENTITY, app=entity, text=entity)
    if labels.is_outside:
        return _outside(labels, tuple(policies), ip)
    return _by_labels(labels)


def _pod(labels: LabelSet) -> Party:
    for key in APP_KEYS:
        app = labels.get(key, K8S)
        if app:
            return Party(
                kind=PartyKind.WORKLOAD,
                namespace=labels.namespace,
                app=app,
                text=f"{labels.namespace}/{app}",
            )
    return _by_labels(labels)


def _by_labels(labels: LabelSet) -> Party:
    """Named after a hash: the labels that make the identity, whatever its number is."""
    joined = "\n".join(labels.labels).encode()
    digest = hashlib.sha256(joined).hexdigest()[:_HASH_CHARACTERS]
    shown = [
        label.partition(":")[2]
        for label in labels.labels
        if "io.cilium.k8s" not in label and "io.kubernetes.pod.namespace" not in label
    ]
    what = ", ".join(shown) or "no labels"
    return Party(
        kind=PartyKind.LABELS,
        namespace=labels.namespace,
        app=digest,
        text=f"{labels.namespace}/({what})" if labels.namespace else what,
    )


def _outside(labels: LabelSet, policies: tuple[Policy, ...], ip: str) -> Party:
    address = addresses.parse_address(ip)
    if address is not None:
        # The prefix goes first: an address keeps it, whereas its DNS names come and go.
        prefix = PrefixTable(prefixes(policies)).longest(address)
        if prefix:
            return Party(kind=PartyKind.CIDR, app=prefix, text=prefix)
    patterns = sorted(
        peer.pattern.text
        for peer in _peers(policies)
        if isinstance(peer, FqdnPeer) and peer.pattern.text in labels.fqdns
    )
    if patterns:
        pattern = max(patterns, key=lambda text: ("*" not in text, len(text)))
        return Party(kind=PartyKind.FQDN, app=pattern, text=pattern)
    return Party(kind=PartyKind.WORLD, app="world", text="world")


def _peers(policies: Iterable[Policy]) -> Iterable[object]:
    return (
        peer
        for policy in policies
        for rule in policy.rules
        for side in (rule.ingress, rule.egress)
        for entry in (*side.allow, *side.deny)
        for peer in entry.peers or ()
    )


def prefixes(policies: Iterable[Policy]) -> Iterator[Prefix]:
    """The prefixes that the policies name, in whatever rule: they name addresses by these."""
    for peer in _peers(policies):
        if isinstance(peer, CidrPeer):
            yield peer.prefix
            yield from peer.excepts
