"""Services, groups, ports and names that a policy refers to: unknown ones, and odd references."""

from collections.abc import Iterator
from typing import Any, Final

from policies.dnsnames import DnsPattern
from policies.linting import findings
from policies.linting.findings import Finding, Path, Rule, Severity
from policies.linting.subjects import Entry, Subject
from policies.model import CidrGroupPeer, FqdnPeer, ServicePeer

FQDN: Final = Rule(
    id="fqdn-without-dns",
    severity=Severity.WARNING,
    what="A rule allows a DNS name that no rule lets Cilium learn.",
    why=(
        "Cilium knows the addresses of a name from the answers that pass its DNS proxy, and only"
        " what an L7 rule `dns` allows passes it. Without one the rule matches no address. Rules of"
        " the other given policies of that namespace, and of clusterwide ones, count too."
    ),
    mend='Allow port 53 to the cluster\'s DNS with `rules: {dns: [{matchPattern: "*"}]}`.',
    wrong="""\
        egress:
          - toFQDNs: [{matchName: api.example.com}]
        """,
    right="""\
        egress:
          - toEndpoints:
              - matchLabels:
                  k8s:io.kubernetes.pod.namespace: kube-system
                  k8s-app: kube-dns
            toPorts:
              - ports: [{port: "53", protocol: ANY}]
                rules:
                  dns: [{matchPattern: "*"}]
          - toFQDNs: [{matchName: api.example.com}]
        """,
)
SERVICE: Final = Rule(
    id="unknown-service",
    severity=Severity.WARNING,
    what="A rule names a service that does not exist.",
    why=(
        "It matches nobody; together with `toPorts`, a fault of Cilium 1.19 makes it allow"
        " everybody. Looked at only where Services of that namespace are among the given files."
    ),
    mend="Correct the name or the namespace.",
    wrong="""\
        egress:
          - toServices: [{k8sService: {serviceName: databse, namespace: shop}}]
        """,
    right="""\
        egress:
          - toServices: [{k8sService: {serviceName: database, namespace: shop}}]
        """,
)
TWICE: Final = Rule(
    id="service-told-twice",
    severity=Severity.WARNING,
    what="An entry of `toServices` has both a name and a selector, or neither.",
    why=(
        "Beside a `k8sServiceSelector` the `k8sService` is not looked at; with neither the entry"
        " means nobody, and together with `toPorts`, by a fault of Cilium 1.19, everybody."
    ),
    mend="Give one of them; for services of both kinds, write two entries.",
    wrong="""\
        egress:
          - toServices:
              - k8sService: {serviceName: database, namespace: shop}
                k8sServiceSelector: {selector: {matchLabels: {tier: db}}, namespace: shop}
        """,
    right="""\
        egress:
          - toServices:
              - k8sService: {serviceName: database, namespace: shop}
              - k8sServiceSelector: {selector: {matchLabels: {tier: db}}, namespace: shop}
        """,
)
DENIED: Final = Rule(
    id="service-in-deny-rule",
    severity=Severity.WARNING,
    what="A rule of `egressDeny` names services.",
    why=(
        "A fault of Cilium 1.19 does not look them up there: the rule denies nothing, and together"
        " with `toPorts` it denies everybody."
    ),
    mend="Name what stands behind the service, with `toEndpoints` or `toCIDR`.",
    wrong="""\
        egressDeny:
          - toServices: [{k8sService: {serviceName: database, namespace: shop}}]
        """,
    right="""\
        egressDeny:
          - toEndpoints: [{matchLabels: {app: database}}]
        """,
)
ANYBODY: Final = Rule(
    id="cidr-groups-and-anybody-else",
    severity=Severity.WARNING,
    what="A `cidrGroupSelector` says nothing, or only which labels a group must not have.",
    why=(
        "Cilium compares it with the labels of every peer. Those that are in no group at all have"
        " none of these labels: pods, nodes and all other addresses are selected too."
    ),
    mend="Say which label the groups have, too.",
    wrong="""\
        egress:
          - toCIDRSet:
              - cidrGroupSelector:
                  matchExpressions: [{key: tier, operator: NotIn, values: [internal]}]
        """,
    right="""\
        egress:
          - toCIDRSet:
              - cidrGroupSelector:
                  matchExpressions:
                    - {key: tier, operator: Exists}
                    - {key: tier, operator: NotIn, values: [internal]}
        """,
)
GROUP: Final = Rule(
    id="unknown-cidr-group",
    severity=Severity.WARNING,
    what="A rule names a CiliumCIDRGroup that does not exist.",
    why="It matches no address. Looked at only where such groups are among the given files.",
    mend="Correct the name.",
    wrong="""\
        egress:
          - toCIDRSet: [{cidrGroupRef: partnres}]
        """,
    right="""\
        egress:
          - toCIDRSet: [{cidrGroupRef: partners}]
        """,
)
PORT: Final = Rule(
    id="unknown-port-name",
    severity=Severity.WARNING,
    what="A rule names a port that no pod has.",
    why=(
        "A name that no container port has means no port at all. Looked at only where an object of"
        " kind NamedPorts is among the given files."
    ),
    mend="Correct the name, or write the number.",
    wrong="""\
        ingress:
          - toPorts:
              - ports: [{port: htttp, protocol: TCP}]
        """,
    right="""\
        ingress:
          - toPorts:
              - ports: [{port: http, protocol: TCP}]
        """,
)


def check(subject: Subject) -> Iterator[Finding]:
    """Each rule's references."""
    for _, entry in subject.entries:
        if entry.deny and entry.raw.get("toServices"):
            outcome = "everybody is denied" if entry.parsed.ports else "nothing is denied"
            message = f"Cilium looks no service up in egressDeny: {outcome}"
            place = (*entry.path, "toServices")
            yield Finding(rule=DENIED, path=place, message=message, at_key=True)
        for path, peer in entry.peers():
            match peer:
                case FqdnPeer():
                    yield from _fqdn(subject, path, peer)
                case ServicePeer() if not entry.deny:
                    yield from _service(subject, path, peer)
                case CidrGroupPeer():
                    yield from _group(subject, path, peer)
                case _:
                    continue
        if subject.surroundings.named_ports:
            yield from _ports(subject, entry)


def _fqdn(subject: Subject, path: Path, peer: FqdnPeer) -> Iterator[Finding]:
    patterns = subject.surroundings.dns_patterns(subject.policy.ref.namespace)
    sample = peer.pattern.text.removeprefix("**.").replace("*", "a")
    if any(text == peer.pattern.text or DnsPattern(text).matches(sample) for text in patterns):
        return
    message = f"no DNS rule lets Cilium learn the addresses of {peer.pattern}"
    yield Finding(
        rule=FQDN, path=path, message=message, hint="allow port 53 with rules: dns, for this name"
    )


def _service(subject: Subject, path: Path, peer: ServicePeer) -> Iterator[Finding]:
    raw: Any = findings.at(subject.manifest, path) or {}
    given = [name for name in ("k8sService", "k8sServiceSelector") if raw.get(name) is not None]
    if len(given) != 1:
        message = "beside a k8sServiceSelector, k8sService is not looked at"
        if not given:
            message = "neither k8sService nor k8sServiceSelector is given: nobody is meant"
        yield Finding(rule=TWICE, path=path, message=message)
    if peer.selector is not None or not peer.name:
        return
    near = [
        service
        for service in subject.surroundings.services
        if not peer.namespace or service.namespace == peer.namespace
    ]
    if near and not any(service.name == peer.name for service in near):
        where = f" in namespace {peer.namespace}" if peer.namespace else ""
        message = f"there is no service {peer.name!r}{where}"
        yield Finding(rule=SERVICE, path=(*path, "k8sService", "serviceName"), message=message)


def _group(subject: Subject, path: Path, peer: CidrGroupPeer) -> Iterator[Finding]:
    if peer.selector is not None and all(one.is_negative for one in peer.selector.requirements):
        message = "pods, nodes and addresses that are in no group are selected, too"
        place = (*path, "cidrGroupSelector")
        yield Finding(
            rule=ANYBODY, path=place, message=message, hint="name a label that groups have"
        )
    known = subject.surroundings.cidr_groups
    if known and peer.selector is None and all(group.name != peer.name for group in known):
        message = f"there is no CiliumCIDRGroup {peer.name!r}"
        yield Finding(rule=GROUP, path=(*path, "cidrGroupRef"), message=message)


def _ports(subject: Subject, entry: Entry) -> Iterator[Finding]:
    known = {
        (port.name, port.protocol)
        for pods in subject.surroundings.named_ports
        for port in pods.ports
    }
    for match in entry.parsed.ports or ():
        if match.name and not any(name == match.name for name, _ in known):
            path = _place(entry, match.name)
            yield Finding(rule=PORT, path=path, message=f"no pod has a port named {match.name!r}")
            return


def _place(entry: Entry, name: str) -> Path:
    for path, port in entry.ports():
        if str(port.get("port") or "").lower() == name:
            return (*path, "port")
    return entry.path
