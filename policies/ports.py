"""`toPorts` and `icmps` as Cilium reads them."""

import re
from dataclasses import dataclass, replace
from typing import Final

from policies import http_rules, unread
from policies.decoding import Field
from policies.flows import Direction, Protocol
from policies.model import PortMatch
from policies.requests import L7Rules

_MAX_ENTRIES: Final = 40
MAX_PORT: Final = 65535
_MAX_INT32: Final = 2**31 - 1
_SERVICE_NAME: Final = re.compile(
    r"(?=.{1,15}\Z)(?=[^a-zA-Z]*[a-zA-Z])[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*\Z"
)
_NUMBER: Final = re.compile(r"(0(_?[0-7])*|[1-9](_?[0-9])*)\Z")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+\Z")
_MAX_TYPE: Final = 255
_NO_TYPE: Final = MAX_PORT
"""What an ICMP type beyond 255 becomes, which Cilium takes: no packet has it."""
_ANY: Final = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)
_PROTOCOLS: Final = {
    "": _ANY,
    "ANY": _ANY,
    "TCP": (Protocol.TCP,),
    "UDP": (Protocol.UDP,),
    "SCTP": (Protocol.SCTP,),
    "VRRP": (Protocol.VRRP,),
    "IGMP": (Protocol.IGMP,),
}
TCP: Final = ("TCP", (Protocol.TCP,))
"""What a NetworkPolicy means where it names no protocol."""
_PORTLESS: Final = {"VRRP", "IGMP"}

_ICMP_TYPES: Final = {
    Protocol.ICMP: {
        "EchoReply": 0,
        "DestinationUnreachable": 3,
        "Redirect": 5,
        "Echo": 8,
        "EchoRequest": 8,
        "RouterAdvertisement": 9,
        "RouterSelection": 10,
        "TimeExceeded": 11,
        "ParameterProblem": 12,
        "Timestamp": 13,
        "TimestampReply": 14,
        "Photuris": 40,
        "ExtendedEchoRequest": 42,
        "ExtendedEchoReply": 43,
    },
    Protocol.ICMPV6: {
        "DestinationUnreachable": 1,
        "PacketTooBig": 2,
        "TimeExceeded": 3,
        "ParameterProblem": 4,
        "EchoRequest": 128,
        "EchoReply": 129,
        "MulticastListenerQuery": 130,
        "MulticastListenerReport": 131,
        "MulticastListenerDone": 132,
        "RouterSolicitation": 133,
        "RouterAdvertisement": 134,
        "NeighborSolicitation": 135,
        "NeighborAdvertisement": 136,
        "RedirectMessage": 137,
        "RouterRenumbering": 138,
        "ICMPNodeInformationQuery": 139,
        "ICMPNodeInformationResponse": 140,
        "InverseNeighborDiscoverySolicitation": 141,
        "InverseNeighborDiscoveryAdvertisement": 142,
        "HomeAgentAddressDiscoveryRequest": 144,
        "HomeAgentAddressDiscoveryReply": 145,
        "MobilePrefixSolicitation": 146,
        "MobilePrefixAdvertisement": 147,
        "DuplicateAddressRequestCodeSuffix": 157,
        "DuplicateAddressConfirmationCodeSuffix": 158,
        "ExtendedEchoRequest": 160,
        "ExtendedEchoReply": 161,
    },
}


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a manifest: a number, or a lower-cased name."""

    number: int
    name: str = ""

    def __str__(self) -> str:
        return self.name or str(self.number)


def port(node: Field, text: str) -> Port:
    """A port as Cilium reads it: a service name, else a number as Go writes them (010 is 8).

    Raises PolicyRejected.
    """
    if not text:
        raise node.reject("a port must be given")
    if _SERVICE_NAME.match(text) is not None:
        return Port(0, text.lower())
    if _NUMBER.match(text) is None:
        raise node.reject(f"{text!r} is neither a port number nor a port name")
    number = _go_number(text)
    if number > MAX_PORT:
        raise node.reject(f"{text} is out of range")
    return Port(number)


def unchecked(text: str) -> Port:
    """A port of a NetworkPolicy, of which Cilium checks nothing.

    A name stays as it is written, though no pod's has capitals. What is too large is 65535, what is
    no number is 0, so every port: this is what Go's reader leaves beside the error.
    """
    if _SERVICE_NAME.match(text) is not None:
        return Port(0, text)
    if _NUMBER.match(text) is None:
        return Port(0)
    return Port(min(_go_number(text), MAX_PORT))


def end(node: Field) -> int:
    """The last port of a range, 0 where there is none: what 16 bits hold of it."""
    return node.integer(low=-_MAX_INT32 - 1, high=_MAX_INT32) & MAX_PORT


def protocols(node: Field) -> tuple[str, tuple[Protocol, ...]]:
    """Name and members of a protocol; ANY is TCP, UDP and SCTP. Raises PolicyRejected."""
    name = node.text().upper()
    members = _PROTOCOLS.get(name)
    if members is None:
        raise node.reject(f"{node.text()!r} is not TCP, UDP, SCTP, VRRP, IGMP or ANY")
    return name, members


def match(
    path: str, where: Port, last: int, protocol: Protocol, l7: L7Rules | None = None
) -> PortMatch:
    """What a port entry matches of a protocol: port 0 is every port, a reversed range its first.

    With an end, port 0 begins a range like any other, and so does a name.
    """
    if where.name:
        return PortMatch(path=path, protocol=protocol, name=where.name, high=last, l7=l7)
    if where.number == 0 and last == 0:
        return PortMatch(path=path, protocol=protocol, l7=l7)
    high = max(last, where.number)
    return PortMatch(path=path, protocol=protocol, low=where.number, high=high, l7=l7)


def span(where: Port, last: int, name: str) -> str:
    """A port entry as a sentence calls it, such as `8080/TCP`."""
    number = f"{where}-{last}" if last > where.number else str(where)
    if not where.name and where.number == 0 and last == 0:
        number = "any port"
    return f"{number}/{name or 'ANY'}"


def to_ports(
    node: Field, direction: Direction, *, deny: bool, of_nodes: bool
) -> tuple[tuple[PortMatch, ...] | None, str]:
    """The ports of a rule, or None for no limit, and their text. Raises PolicyRejected."""
    if not node.count():
        return None, ""
    found: list[PortMatch] = []
    texts: list[str] = []
    for entry in node.entries():
        entry.object()
        rules = entry["rules"]
        l7 = l7_beside_tcp = None
        is_dns = False
        if not deny:
            _check_proxying(entry, direction)
            l7 = http_rules.l7_rules(rules, entry.path, direction, of_nodes=of_nodes)
            # Cilium hands what is not TCP to no parser but its own one of DNS.
            is_dns = l7 is not None and l7.dns is not None
            l7_beside_tcp = _proxying(entry, l7 if is_dns else None)
            l7 = _proxying(entry, l7)
        has_rules = not deny and http_rules.are_given(rules)
        if has_rules and rules["dns"] and not entry["ports"].count():
            raise entry.reject("port 53 must be given for DNS rules")
        if entry["ports"].count() > _MAX_ENTRIES:
            raise entry["ports"].reject(f"too many ports, at most {_MAX_ENTRIES}")
        for item in entry["ports"].entries():
            item.object()
            name, members = protocols(item["protocol"])
            where = port(item["port"], item["port"].text())
            last = end(item["endPort"])
            # Compared as written: before `igmp` is made IGMP, and only where it is no name.
            written = item["protocol"].text(), item["port"].text()
            if written[0] in _PORTLESS and not where.name and written[1] != "0":
                raise item["port"].reject(f"must be 0 with {name}")
            if has_rules:
                _check_l7_port(item, where, is_dns=is_dns)
            for protocol in members:
                proxied = l7 if protocol is Protocol.TCP else l7_beside_tcp
                found.append(match(entry.path, where, last, protocol, proxied))
            texts.append(span(where, last, name))
    return tuple(found), ", ".join(texts)


def _check_proxying(entry: Field, direction: Direction) -> None:
    has_rules = http_rules.are_given(entry["rules"])
    unread.of_port_entry(entry)
    listener = entry["listener"]
    if listener:
        if direction is Direction.INGRESS:
            raise listener.reject("a listener is not allowed on ingress")
        if has_rules:
            raise listener.reject("a listener is not allowed with L7 rules")
    names = entry["serverNames"]
    if names.count() and has_rules and not entry["terminatingTLS"]:
        raise names.reject("not allowed with L7 rules unless TLS is terminated")
    for name in names.entries():
        if not name.text():
            raise name.reject("an empty server name is not allowed")


def _proxying(entry: Field, l7: L7Rules | None) -> L7Rules | None:
    """The L7 rules, with what else hands traffic to a proxy: a listener, server names, or TLS."""
    if entry["listener"]:
        return L7Rules(path=entry.path, unevaluated="listener")
    if names := tuple(name.text() for name in entry["serverNames"].entries()):
        return replace(l7 or L7Rules(path=entry.path), server_names=names)
    if l7 is None and (entry["terminatingTLS"] or entry["originatingTLS"]):
        return L7Rules(path=entry.path, unevaluated="TLS")
    return l7


def _check_l7_port(item: Field, where: Port, *, is_dns: bool) -> None:
    if not is_dns and item["protocol"].text().upper() != "TCP":
        raise item["protocol"].reject("must be TCP where there are L7 rules other than DNS")
    if not where.name:
        written = item["endPort"].value
        if is_dns and isinstance(written, int) and written > where.number:
            raise item["endPort"].reject("DNS rules do not support port ranges")
        if where.number == 0:
            raise item["port"].reject("L7 rules can not be used when a port is 0")


def icmps(node: Field) -> tuple[tuple[PortMatch, ...] | None, str]:
    """The ICMP types of a rule, or None for no limit, and their text. Raises PolicyRejected."""
    if not node.count():
        return None, ""
    found: list[PortMatch] = []
    texts: list[str] = []
    for entry in node.entries():
        entry.object()
        if entry["fields"].count() > _MAX_ENTRIES:
            raise entry["fields"].reject(f"too many types, at most {_MAX_ENTRIES}")
        for item in entry["fields"].entries():
            item.object()
            match = _icmp_type(entry.path, item)
            found.append(match)
            texts.append(f"{Protocol(match.protocol)} type {match.low}")
    return tuple(found), ", ".join(texts)


def _icmp_type(path: str, item: Field) -> PortMatch:
    family = item["family"].text()
    if family not in ("", "IPv4", "IPv6"):
        raise item["family"].reject("must be IPv4 or IPv6")
    protocol = Protocol.ICMPV6 if family == "IPv6" else Protocol.ICMP
    kind = item["type"]
    if isinstance(kind.value, str):
        named = _ICMP_TYPES[protocol].get(kind.value)
        if named is not None:
            number = named
        elif _DECIMAL.match(kind.value) and (int(kind.value) or kind.value == "0"):
            number = _go_number(kind.value) if _NUMBER.match(kind.value) else _NO_TYPE
        else:
            raise kind.reject(f"no ICMP type {kind.value!r} in {family or 'IPv4'}")
    elif kind:
        number = kind.integer(low=-_MAX_INT32 - 1, high=_MAX_INT32)
    else:
        raise kind.reject("must be given")
    if not 0 <= number <= _MAX_TYPE:
        number = _NO_TYPE
    return PortMatch(path=path, protocol=protocol, low=number, high=number)


def _go_number(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits, 8) if digits.startswith("0") else int(digits)
