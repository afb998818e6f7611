"""Recorded flows of a real Cilium, as questions to a policy."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from policies.flows import (
    Direction,
    DnsRequest,
    Event,
    HttpRequest,
    Observed,
    Protocol,
    Query,
    Request,
    Verdict,
)
from policies.labels import LabelSet
from policies.model import PolicyRef
from policies.repository import Repository

CAPTURES = Path(__file__).parents[1] / "data" / "captures"
TRUTH = {
    ("db-deny-attacker", "ingress", "denied-by", "shop/db", "evil/attacker"): 73,
    ("backend-ingress", "ingress", "no-rule-allowed", "shop/backend", "shop/bare"): 32,
    ("backend-ingress", "ingress", "no-rule-allowed", "shop/backend", "world"): 9,
    ("frontend-egress", "egress", "no-rule-allowed", "shop/frontend", "shop/backend"): 8,
    ("audited-ingress", "ingress", "audit", "shop/audited", "shop/backend"): 8,
    ("frontend-egress", "egress", "denied-by", "shop/frontend", "203.0.113.20/32"): 4,
    ("frontend-egress", "egress", "l7-denied", "shop/frontend", "kube-system/kube-dns"): 2,
}
"""As tests/data/captures/README.md has them."""
_PROTOCOLS = {
    "TCP": Protocol.TCP,
    "UDP": Protocol.UDP,
    "SCTP": Protocol.SCTP,
    "ICMPv4": Protocol.ICMP,
    "ICMPv6": Protocol.ICMPV6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One recorded verdict or request."""

    subject: LabelSet
    query: Query
    observed: Observed
    allowed_by: tuple[PolicyRef, ...]
    match_type: int
    """What Cilium's entry compared: 1 the peer, 2 peer and port, 3 the port, 4 neither; 0: none."""


def policies(name: str = "policies.yaml") -> Repository:
    """The policies under which the recordings were made."""
    repository = Repository()
    documents = YAML(typ="safe").load_all((CAPTURES / name).read_text())
    for number, document in enumerate(documents):
        for index, manifest in enumerate(document.get("items", [document])):
            repository.apply(f"{number}/{index}", manifest, since=None)
    return repository


def recorded(name: str) -> Iterator[Recorded]:
    """The policy-verdict and L7 events of a recording."""
    opened = gzip.open if name.endswith(".gz") else open
    with opened(CAPTURES / name, "rt", encoding="utf-8") as lines:
        for line in lines:
            flow = json.loads(line).get("flow")
            if flow and flow.get("event_type", {}).get("type") in tuple(Event):
                yield _recorded(flow)


def _recorded(flow: dict[str, Any]) -> Recorded:
    direction = Direction(flow["traffic_direction"].lower())
    own, other = "source", "destination"
    if (direction is Direction.INGRESS) is not bool(flow.get("is_reply")):
        own, other = other, own
    kind, layer = next(iter(flow.get("l4", {}).items()), ("", {}))
    query = Query(
        direction=direction,
        peer=LabelSet.of(flow[other].get("labels", ())),
        peer_ip=flow["IP"][other],
        peer_names=tuple(flow.get(f"{other}_names", ())),
        protocol=_PROTOCOLS.get(kind, Protocol.OTHER),
        port=layer.get("destination_port", layer.get("type", 0)),
        l7=_request(flow.get("l7", {})),
    )
    observed = Observed(
        verdict=Verdict[flow["verdict"]],
        event=Event(flow["event_type"]["type"]),
        drop_reason=int(flow.get("drop_reason", 0)),
        denied_by=_refs(flow.get(f"{direction}_denied_by", ())),
    )
    return Recorded(
        subject=LabelSet.of(flow[own].get("labels", ())),
        query=query,
        observed=observed,
        allowed_by=_refs(flow.get(f"{direction}_allowed_by", ())),
        match_type=flow.get("policy_match_type", 0),
    )


def _refs(entries: list[dict[str, Any]]) -> tuple[PolicyRef, ...]:
    return tuple(
        PolicyRef(entry["kind"], entry.get("namespace", ""), entry["name"])
        for entry in entries
        if entry.get("name")
    )


def _request(l7: dict[str, Any]) -> Request | None:
    if "dns" in l7:
        return DnsRequest(l7["dns"]["query"])
    if "http" in l7:
        return HttpRequest.of_url(l7["http"]["method"], l7["http"]["url"])
    return None
