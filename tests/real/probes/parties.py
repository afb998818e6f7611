"""Who calls whom in a probe: pods, nodes, addresses of the world and services, as policies see them.

What a party's labels will be is foretold, to choose probes by; what decides is what Hubble tells.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from operator import itemgetter

from policies.dnsnames import DnsPattern
from policies.labels import CLUSTER_KEY, LabelSet
from tests.parts.cilium.hosts import Host
from tests.real.probes.population import CLUSTER, NAMES, WORLD, Population

CALLERS_OF_THE_WORLD = (*WORLD[:2], *WORLD[-5:])


class Sort(Enum):
    """What a party is."""

    POD = auto()
    NODE = auto()
    WORLD = auto()
    SERVICE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One end of a probe."""

    sort: Sort
    name: str
    ip: str
    node: str = ""
    host: Host | None = field(default=None, compare=False, repr=False)
    """Whence it calls; none: it is called only."""
    labels: LabelSet = field(compare=False, repr=False)
    behind: str = ""
    """The address of the pod behind a service."""

    def seen_from(self, node: str) -> LabelSet:
        """Return the labels that a node's agent knows it by."""
        if self.sort is not Sort.NODE:
            return self.labels
        return LabelSet.of(["reserved:host"]) if node == self.node else self.labels


def every(population: Population) -> Iterator[Party]:
    """Yield all parties, always in the same order."""
    cluster = population.cluster
    pods = {}
    for name, pod in sorted(cluster.pods.items()):
        labels = LabelSet.of(pod.node.endpoint(pod.ip)["status"]["identity"]["labels"])
        pods[name] = Party(
            sort=Sort.POD, name=name, ip=pod.ip, node=pod.node.name, host=pod, labels=labels
        )
    yield from pods.values()
    for name, node in cluster.nodes.items():
        labels = LabelSet.of(
            [
                "reserved:remote-node",
                f"node:kubernetes.io/hostname={name}",
                f"k8s:{CLUSTER_KEY}={CLUSTER}",
            ]
        )
        yield Party(
            sort=Sort.NODE, name=name, ip=node.address, node=name, host=node.host, labels=labels
        )
    for ip in WORLD:
        labels = LabelSet.of(["reserved:world", f"cidr:{ip}/32"])
        yield Party(sort=Sort.WORLD, name=ip, ip=ip, host=cluster.world, labels=labels)
    for ip, name in sorted(population.services.items(), key=itemgetter(1)):
        pod_ = pods[name]
        yield Party(
            sort=Sort.SERVICE,
            name=f"service {name}",
            ip=ip,
            node=pod_.node,
            labels=pod_.labels,
            behind=pod_.ip,
        )


def known_by_name(party: Party, patterns: Collection[DnsPattern], asked: Collection[str]) -> Party:
    """Return it as it is once names were asked for that policies have patterns for."""
    names = [name for name, ip in NAMES.items() if ip == party.ip and name in asked]
    found = [
        f"fqdn:{pattern.text}"
        for pattern in patterns
        if any(pattern.matches(name) for name in names)
    ]
    if party.sort is not Sort.WORLD or not found:
        return party
    return Party(
        sort=party.sort,
        name=party.name,
        ip=party.ip,
        host=party.host,
        labels=LabelSet.of([*party.labels.labels, *found]),
    )
