"""What else of the cluster a policy refers to: services, CIDR groups and named ports."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policies import addresses
from policies.addresses import Prefix
from policies.decoding import Field
from policies.flows import Protocol
from policies.labels import K8S, LabelSet
from policies.selectors import Selector, equal


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service: pods by its selector, or else the addresses of its endpoints."""

    namespace: str
    name: str
    labels: LabelSet
    selector: Selector | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """The addresses of one EndpointSlice or Endpoints object."""

    namespace: str
    service: str
    addresses: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CidrGroup:
    """A CiliumCIDRGroup."""

    name: str
    labels: LabelSet
    prefixes: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A container port with a name."""

    name: str
    protocol: Protocol
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPorts:
    """The named ports of pods of one namespace that have these labels."""

    namespace: str
    labels: Selector
    ports: tuple[NamedPort, ...]


Fact = Service | Backends | CidrGroup | tuple[NamedPorts, ...]
"""What one object says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The facts that hold at one time."""

    services: tuple[Service, ...] = ()
    backends: tuple[Backends, ...] = ()
    cidr_groups: tuple[CidrGroup, ...] = ()
    named_ports: tuple[NamedPorts, ...] = ()

    def ports_of(self, subject: LabelSet) -> tuple[NamedPort, ...]:
        """The named ports of a subject's pods."""
        found = {
            port
            for entry in self.named_ports
            if entry.namespace == subject.namespace and entry.labels.matches(subject)
            for port in entry.ports
        }
        return tuple(sorted(found, key=lambda p: (p.name, p.protocol, p.port)))

    def all_ports(self) -> tuple[NamedPort, ...]:
        """The named ports of all pods: an egress rule means them, whoever the peer is."""
        found = {port for entry in self.named_ports for port in entry.ports}
        return tuple(sorted(found, key=lambda p: (p.name, p.protocol, p.port)))


def gather(facts: Iterable[Fact]) -> Inventory:
    """One inventory of the facts of many objects."""
    services: list[Service] = []
    backends: list[Backends] = []
    groups: list[CidrGroup] = []
    named: list[NamedPorts] = []
    for fact in facts:
        match fact:
            case Service():
                services.append(fact)
            case Backends():
                backends.append(fact)
            case CidrGroup():
                groups.append(fact)
            case _:
                named += fact
    return Inventory(
        services=tuple(services),
        backends=tuple(backends),
        cidr_groups=tuple(groups),
        named_ports=tuple(named),
    )


def _labels(metadata: Field) -> LabelSet:
    labels = metadata["labels"].strings()
    return LabelSet.of(f"{K8S}:{key}={value}" for key, value in labels.items())


def _selector(node: Field) -> Selector | None:
    labels = node.strings()
    if not labels:
        return None
    return Selector(tuple(equal(K8S, key, value) for key, value in labels.items()))


def service(manifest: Mapping[str, object]) -> Service:
    """Raises PolicyRejected."""
    root = Field("", manifest)
    metadata = root["metadata"]
    return Service(
        namespace=metadata["namespace"].text("default"),
        name=metadata["name"].text(),
        labels=_labels(metadata),
        selector=_selector(root["spec"]["selector"]),
    )


def backends(manifest: Mapping[str, object]) -> Backends:
    """Of an EndpointSlice or Endpoints object. Raises PolicyRejected."""
    root = Field("", manifest)
    metadata = root["metadata"]
    name = metadata["labels"].strings().get("kubernetes.io/service-name", "")
    found: list[str] = [
        address.text()
        for endpoint in root["endpoints"].entries()
        for address in endpoint["addresses"].entries()
    ]
    for subset in root["subsets"].entries():
        found += [entry["ip"].text() for entry in subset["addresses"].entries()]
    parsed = (addresses.parse_address(text) for text in found)
    return Backends(
        namespace=metadata["namespace"].text("default"),
        service=name or metadata["name"].text(),
        addresses=tuple(
            sorted(
                {addresses.of_address(address) for address in parsed if address is not None},
                key=lambda prefix: (prefix.version, prefix.value),
            )
        ),
    )


def cidr_group(manifest: Mapping[str, object]) -> CidrGroup:
    """Raises PolicyRejected."""
    root = Field("", manifest)
    prefixes = []
    for entry in root["spec"]["externalCIDRs"].entries():
        try:
            prefixes.append(addresses.parse_prefix(entry.text()))
        except ValueError as error:
            raise entry.reject(str(error)) from error
    metadata = root["metadata"]
    return CidrGroup(
        name=metadata["name"].text(), labels=_labels(metadata), prefixes=tuple(prefixes)
    )


def named_ports(manifest: Mapping[str, object]) -> tuple[NamedPorts, ...]:
    """Of a NamedPorts object: `spec.pods`, each with `namespace`, `labels` and `ports`.

    Without a namespace the object's own is meant. A port has name, port and protocol (TCP where
    absent). Raises PolicyRejected.
    """
    root = Field("", manifest)
    namespace = root["metadata"]["namespace"].text("default")
    return tuple(
        NamedPorts(
            namespace=pod["namespace"].text(namespace),
            labels=_selector(pod["labels"]) or Selector(),
            ports=tuple(_named_port(entry) for entry in pod["ports"].entries()),
        )
        for pod in root["spec"]["pods"].entries()
    )


def _named_port(entry: Field) -> NamedPort:
    protocol = entry["protocol"].text("TCP")
    if protocol not in ("TCP", "UDP", "SCTP"):
        raise entry["protocol"].reject("must be TCP, UDP or SCTP")
    return NamedPort(
        name=entry["name"].text().lower(),
        protocol=Protocol[protocol],
        port=entry["port"].integer(low=1, high=65535),
    )
