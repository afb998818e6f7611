"""What findings are called by people: one sentence for an alert, and one line for each rule.

Only the words: what happened is decided elsewhere. A sentence holds no address and no port unless
the caller gives them, since one explanation stands for many flows.
"""

from collections.abc import Sequence
from typing import Final

from policies.flows import Direction, Protocol
from policies.matching import Finding, Why
from policies.model import PolicyRef

_LISTED: Final = 4
"""How many ports, peers and requests of a rule a sentence names; findings have all."""
_NAMED: Final = 2
"""How many other policies a sentence names; the others are counted."""
_ICMP: Final = {
    (Protocol.ICMP, 0): "echo reply",
    (Protocol.ICMP, 3): "destination unreachable",
    (Protocol.ICMP, 5): "redirect",
    (Protocol.ICMP, 8): "echo request",
    (Protocol.ICMP, 11): "time exceeded",
    (Protocol.ICMPV6, 1): "destination unreachable",
    (Protocol.ICMPV6, 2): "packet too big",
    (Protocol.ICMPV6, 3): "time exceeded",
    (Protocol.ICMPV6, 128): "echo request",
    (Protocol.ICMPV6, 129): "echo reply",
    (Protocol.ICMPV6, 133): "router solicitation",
    (Protocol.ICMPV6, 134): "router advertisement",
    (Protocol.ICMPV6, 135): "neighbour solicitation",
    (Protocol.ICMPV6, 136): "neighbour advertisement",
}
_MISSES: Final = {
    Why.PORT: "not this port",
    Why.PROTOCOL: "not this protocol",
    Why.PEER: "not this peer",
    Why.PEER_AND_PORT: "neither this peer nor this port",
    Why.L7: "not this request",
    Why.AUTH: "only with authentication",
}


def port(protocol: Protocol, number: int) -> str:
    """Where a flow went, as a sentence calls it: `8080/TCP`, `ICMP type 8 (echo request)`."""
    if protocol in (Protocol.ICMP, Protocol.ICMPV6):
        known = _ICMP.get((protocol, number))
        return f"{protocol} type {number}" + (f" ({known})" if known else "")
    if protocol in (Protocol.OTHER, Protocol.VRRP, Protocol.IGMP):
        return "another protocol" if protocol is Protocol.OTHER else str(protocol)
    return f"{number}/{protocol}"


def towards(direction: Direction) -> str:
    """Where the peer stands."""
    return "from" if direction is Direction.INGRESS else "to"


def passed(finding: Finding, direction: Direction, peer: str, to_port: str) -> str:
    """What the flow did, told by what sets it apart from the rule."""
    inward = direction is Direction.INGRESS
    match finding.why:
        case Why.PORT | Why.PROTOCOL:
            return f"this {_port_clause(finding.why, to_port)}"
        case Why.PEER_AND_PORT if to_port:
            told = f"this was {to_port} {towards(direction)} {peer}"
        case Why.PEER_AND_PORT:
            told = f"this {'came from' if inward else 'went to'} {peer}, and for another port"
        case _ if peer == finding.peers:
            told = "this came from there" if inward else "this went there"
        case _:
            told = f"this {'came from' if inward else 'went to'} {peer}"
    if finding.miss and finding.why in (Why.PEER, Why.PEER_AND_PORT):
        told += f", {finding.miss}"
    return told


def _port_clause(why: Why, to_port: str) -> str:
    if not to_port:
        return f"went to another {'port' if why is Why.PORT else 'protocol'}"
    return f"went to {to_port}" if "/" in to_port else f"was {to_port}"


def _scope(ports: str, direction: Direction, peers: str) -> str:
    """What a rule is about: its ports and its peers, as its owner wrote them."""
    return f"{ports or 'any traffic'} {towards(direction)} {peers or 'anyone'}"


def _few(text: str, between: str, conjunction: str) -> str:
    """The beginning of a long list, and how much more there is."""
    parts = text.split(between)
    if len(parts) <= _LISTED + 1:
        return text
    return f"{between.join(parts[:_LISTED])} {conjunction} {len(parts) - _LISTED} more"


def sentence(
    finding: Finding, direction: Direction, *, peer: str, to_port: str = "", request: str = ""
) -> str:
    """What one rule has to do with the flow, and what the flow did.

    `request`: what was asked for, where it may be told.
    """
    template = _SENTENCES.get(finding.why, _ALLOWS)
    if finding.why is Why.NOTHING and finding.miss:
        template = _ALLOWS_UNKNOWN
    return template.format_map(
        {
            "name": finding.policy.short,
            "scope": _scope(
                _few(finding.ports, ", ", "and"), direction, _few(finding.peers, " or ", "or")
            ),
            "only": _only(_few(finding.requests, ", ", "and")),
            "passed": passed(finding, direction, peer, to_port),
            "miss": finding.miss or "was for something else",
            "request": f": {request}" if request else "",
            "direction": direction.value,
        }
    )


def _only(requests: str) -> str:
    return f" for {requests} only" if requests else ""


_ALLOWS: Final = "{name} allows {scope}; {passed}"
_ALLOWS_UNKNOWN: Final = "{name} allows {scope}, {miss}; {passed}"
_SENTENCES: Final = {
    Why.ALLOWS: "{name} allows {scope}{only}",
    Why.DENIES: "{name} denies {scope}; {passed}",
    Why.L7: "{name} allows {scope}{only}; this request {miss}{request}",
    Why.AUTH: "{name} allows {scope} with authentication only; {passed} without",
    Why.NOTHING: "{name} allows no {direction} at all; {passed}",
}


def others(policies: Sequence[PolicyRef], told: PolicyRef, *, denied: bool, l7: bool) -> str:
    """What the policies beside the one that the sentence is about have to do with it."""
    rest = [ref.short for ref in policies if ref != told]
    if not rest:
        return ""
    if len(rest) > _NAMED + 1:
        names = f"{', '.join(rest[:_NAMED])} and {len(rest) - _NAMED} more"
    else:
        names = f"{', '.join(rest[:-1])} and {rest[-1]}" if rest[1:] else rest[0]
    if denied:
        return f"; {names} {'deny' if rest[1:] else 'denies'} it too"
    verb = "do" if rest[1:] else "does"
    return f"; nor {verb} {names} allow {'this request' if l7 else 'it'}"


def line(finding: Finding, direction: Direction) -> str:
    """What one rule has to do with the flow, in a list of rules."""
    what = _scope(finding.ports, direction, finding.peers) + _only(finding.requests)
    miss = f" ({finding.miss})" if finding.miss else ""
    match finding.why:
        case Why.DENIES:
            return f"denies {what}"
        case Why.ALLOWS:
            return f"allows {what}"
        case Why.NOTHING if not finding.miss:
            return f"allows no {direction.value} at all"
        case Why.NOTHING:
            return f"allows {what}, {finding.miss}"
        case _:
            return f"allows {what}: {_MISSES[finding.why]}{miss}"
