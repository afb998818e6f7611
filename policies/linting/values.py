"""Ports, addresses and ICMP types that Cilium reads otherwise than they look."""

import ipaddress
from collections.abc import Iterator
from typing import Final

from policies import addresses
from policies.linting.findings import Finding, Path, Rule, Severity
from policies.linting.subjects import Entry, Subject
from policies.model import CidrPeer

RANGE: Final = Rule(
    id="odd-port-range",
    severity=Severity.WARNING,
    what="A range of ports does not begin with a number that is lower than its end.",
    why=(
        "Cilium takes a range whose end is lower than its beginning for its first port alone. One"
        " that begins with a name begins at whatever port a pod gives that name; one that begins"
        " with 0 ends at `endPort`, where 0 alone is every port."
    ),
    mend="Put the lower number first; give a range by numbers.",
    wrong="""\
        ingress:
          - toPorts:
              - ports:
                  - {port: "9000", endPort: 8000, protocol: TCP}
        """,
    right="""\
        ingress:
          - toPorts:
              - ports:
                  - {port: "8000", endPort: 9000, protocol: TCP}
        """,
)
HOST_BITS: Final = Rule(
    id="cidr-with-host-bits",
    severity=Severity.WARNING,
    what="An address in a CIDR goes on beyond the length of its prefix.",
    why=(
        "`10.0.0.5/24` is read as `10.0.0.0/24`: 256 addresses, where one may have been meant."
        " Kubernetes warns of such values and will refuse them."
    ),
    mend="Write the network, or the whole length for one address: `10.0.0.5/32`.",
    wrong="""\
        egress:
          - toCIDR: [10.0.0.5/24]
        """,
    right="""\
        egress:
          - toCIDR: [10.0.0.5/32]
        """,
)
ICMP_ZERO: Final = Rule(
    id="icmp-type-zero",
    severity=Severity.WARNING,
    what="ICMP type 0 (`EchoReply`) means every type, and so does one below 0.",
    why=(
        "Cilium stores the type where it stores ports, and port 0 stands for all. Replies to an"
        " echo that was let out need no rule of their own."
    ),
    mend="To let ping work, allow `EchoRequest` (IPv4: 8, IPv6: 128).",
    wrong="""\
        ingress:
          - icmps:
              - fields: [{type: 0, family: IPv4}]
        """,
    right="""\
        ingress:
          - icmps:
              - fields: [{type: 8, family: IPv4}]
        """,
)
CLUSTER: Final = Rule(
    id="cidr-within-cluster",
    severity=Severity.WARNING,
    what="A CIDR rule names addresses of pods.",
    why=(
        "Rules by CIDR match only what Cilium does not manage. Pods are known by their labels, so"
        " the rule never matches one. Looked at where `--cluster-cidr` says which addresses pods"
        " have."
    ),
    mend="Select the pods by labels, with `fromEndpoints` or `toEndpoints`.",
)


def check(subject: Subject) -> Iterator[Finding]:
    """Each value of each rule."""
    for _, entry in subject.entries:
        for path, port in entry.ports() if not subject.is_kubernetes else ():
            end, number = port.get("endPort"), port.get("port")
            if isinstance(end, int) and end:
                yield from _end_port((*path, "endPort"), number, end)
        yield from _icmp(entry)
        for path, peer in entry.peers():
            if isinstance(peer, CidrPeer):
                yield from _cidr(subject, entry, path, peer)


def _end_port(path: Path, number: object, end: int) -> Iterator[Finding]:
    text = str(number if number is not None else "")
    if not text.isascii() or not text.isdecimal():
        message = f"the range begins at whatever port is called {text!r}"
        yield Finding(rule=RANGE, path=path, message=message)
    elif int(text) == 0:
        message = f"only ports up to {end} are meant, where 0 alone is every port"
        yield Finding(rule=RANGE, path=path, message=message)
    elif end < int(text):
        message = f"{end} is lower than {text}: only port {text} is meant"
        yield Finding(rule=RANGE, path=path, message=message)


def _icmp(entry: Entry) -> Iterator[Finding]:
    if not entry.raw.get("icmps"):
        return
    written = [
        ((*entry.path, "icmps", index, "fields", place, "type"), field["type"])
        for index, types in enumerate(entry.raw["icmps"])
        for place, field in enumerate((types or {}).get("fields") or ())
    ]
    for (path, kind), match in zip(written, entry.parsed.ports or (), strict=False):
        if match.low == 0 or (isinstance(kind, int) and kind < 0):
            message = f"Cilium takes ICMP type {kind} for every type"
            yield Finding(rule=ICMP_ZERO, path=path, message=message)


def _cidr(subject: Subject, entry: Entry, path: Path, peer: CidrPeer) -> Iterator[Finding]:
    written = _written(entry, path)
    for place, text in written:
        head, _, bits = text.partition("/")
        address = addresses.parse_address(head)
        prefix = addresses.parse_prefix(text) if address and bits else None
        if address and prefix and address[1] != prefix.value:
            message = f"{text} means {prefix}"
            one = f"{ipaddress.ip_address(head)}/{ipaddress.ip_address(head).max_prefixlen}"
            hint = f"write {prefix}, or {one} for one address"
            yield Finding(rule=HOST_BITS, path=place, message=message, hint=hint)
    for cluster in subject.surroundings.cluster_cidrs:
        same = cluster.version == peer.prefix.version and cluster.length <= peer.prefix.length
        if same and cluster.contains((peer.prefix.version, peer.prefix.value)):
            message = (
                f"{peer.prefix} lies within the cluster's {cluster}: no pod matches by address"
            )
            yield Finding(rule=CLUSTER, path=written[0][0], message=message)


def _written(entry: Entry, path: Path) -> list[tuple[Path, str]]:
    """Each CIDR of one peer as it is written, with its place."""
    name, place = path[-2], path[-1]
    value = entry.raw[str(name)][place]
    if isinstance(value, str):
        return [(path, value)]
    if "ipBlock" in value:
        path, value = (*path, "ipBlock"), value["ipBlock"]
    found = [((*path, "cidr"), value["cidr"])]
    return found + [
        ((*path, "except", index), text) for index, text in enumerate(value.get("except") or ())
    ]
