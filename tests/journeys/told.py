"""What GitLab must be told of the synthetic mix: words by hand, counts that Hubble recorded.

The words follow from tests/data/mix/policies, the counts from the flows that relay gave Hubble's
own client; nothing here is asked of Picket but the ids of its alerts.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from schemas.hubble import flow_pb2, observer_pb2
from tests.journeys import pipeline
from tests.journeys.pipeline import Counted
from tests.parts import gitlab
from tests.parts.synthetic import kinds, mix

Findings = tuple[tuple[str, str, str], ...]
"""Policy, path and why, the alert's own policy first."""

BACKEND = "CiliumNetworkPolicy/shop/backend-ingress"
FRONTEND = "CiliumNetworkPolicy/shop/frontend-egress"
DB = "CiliumNetworkPolicy/shop/db-ingress"
AUDITED = "CiliumNetworkPolicy/shop/audited-ingress"
LEDGER = "NetworkPolicy/pay/ledger-ingress"
SCRAPING = "CiliumNetworkPolicy/pay/ledger-scraping"
GATEWAY = "CiliumNetworkPolicy/pay/gateway-egress"
MEDIA = "CiliumClusterwideNetworkPolicy//media-egress"

ONLY_FRONTEND = "shop/backend-ingress allows 8080/TCP from app=frontend; this "
ONLY_GATEWAY = "pay/ledger-ingress allows 9090/TCP from app=gateway; this "
ONLY_PROMETHEUS = (
    "pay/ledger-scraping allows 9100/TCP from app=prometheus, namespace=monitoring; this "
)
ONLY_NOBODY = "shop/audited-ingress allows any traffic from app=nobody"
NAMES_ONLY = "allows 53/ANY to k8s-app=kube-dns, namespace=kube-system for DNS *.example.com only"
NEITHER = "neither this peer nor this port"
LEDGER_TCP = (
    (LEDGER, "spec.ingress[0].ports[0]", "allows 9090/TCP from app=gateway: not this peer"),
)
LEDGER_UDP = ((LEDGER, "spec.ingress[0]", f"allows 9090/TCP from app=gateway: {NEITHER}"),)
SCRAPED = (
    (
        SCRAPING,
        "spec.ingress[0]",
        f"allows 9100/TCP from app=prometheus, namespace=monitoring: {NEITHER}",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is said of an alert. Where its flows go to two ports, the newest ones have the word."""

    project: str
    title: str
    sentences: tuple[str, ...]
    findings: tuple[Findings, ...]


TOLD: Mapping[Counted, Told] = {
    Counted(
        policy=BACKEND,
        direction="ingress",
        reason="no-rule-allowed",
        subject="workload/shop/backend",
        peer="workload/media/player",
    ): Told(
        project="101",
        title="shop/backend-ingress: media/player → shop/backend not allowed by any rule",
        sentences=(
            ONLY_FRONTEND + "came from media/player",
            ONLY_FRONTEND + "was ICMP type 8 (echo request) from media/player",
            ONLY_FRONTEND + "came from media/player, and for another port",
        ),
        findings=(
            (
                (
                    BACKEND,
                    "spec.ingress[0].toPorts[0]",
                    "allows 8080/TCP from app=frontend: not this peer",
                ),
            ),
            ((BACKEND, "spec.ingress[0]", f"allows 8080/TCP from app=frontend: {NEITHER}"),),
        ),
    ),
    Counted(
        policy=BACKEND,
        direction="ingress",
        reason="no-rule-allowed",
        subject="workload/shop/backend",
        peer="world//world",
    ): Told(
        project="101",
        title="shop/backend-ingress: world → shop/backend not allowed by any rule",
        sentences=(ONLY_FRONTEND + "came from world",),
        findings=(
            (
                (
                    BACKEND,
                    "spec.ingress[0].toPorts[0]",
                    "allows 8080/TCP from app=frontend: not this peer",
                ),
            ),
        ),
    ),
    Counted(
        policy=FRONTEND,
        direction="egress",
        reason="no-rule-allowed",
        subject="workload/shop/frontend",
        peer="workload/shop/backend",
    ): Told(
        project="101",
        title="shop/frontend-egress: shop/frontend → shop/backend not allowed by any rule",
        sentences=("shop/frontend-egress allows 8080/TCP to app=backend; this went to 9999/TCP",),
        findings=(
            (
                (
                    FRONTEND,
                    "spec.egress[0].toPorts[0]",
                    "allows 8080/TCP to app=backend: not this port",
                ),
                (
                    FRONTEND,
                    "spec.egress[1]",
                    "allows 53/ANY to k8s-app=kube-dns, namespace=kube-system: " + NEITHER,
                ),
            ),
        ),
    ),
    Counted(
        policy=FRONTEND,
        direction="egress",
        reason="denied-by",
        subject="workload/shop/frontend",
        peer="cidr//203.0.113.0/24",
    ): Told(
        project="101",
        title="shop/frontend-egress: shop/frontend → 203.0.113.0/24 denied by rule",
        sentences=("shop/frontend-egress denies any traffic to 203.0.113.0/24; this went there",),
        findings=(((FRONTEND, "spec.egressDeny[0]", "denies any traffic to 203.0.113.0/24"),),),
    ),
    Counted(
        policy=FRONTEND,
        direction="egress",
        reason="l7-denied",
        subject="workload/shop/frontend",
        peer="workload/kube-system/kube-dns",
    ): Told(
        project="101",
        title="shop/frontend-egress: shop/frontend → kube-system/kube-dns denied at layer 7",
        sentences=(f"shop/frontend-egress {NAMES_ONLY}; this request asked for another name",),
        findings=(
            (
                (
                    FRONTEND,
                    "spec.egress[1].toPorts[0]",
                    f"{NAMES_ONLY}: not this request (asked for another name)",
                ),
            ),
        ),
    ),
    Counted(
        policy=DB,
        direction="ingress",
        reason="denied-by",
        subject="workload/shop/db",
        peer="workload/media/encoder",
    ): Told(
        project="102",
        title="shop/db-ingress: media/encoder → shop/db denied by rule",
        sentences=(
            "shop/db-ingress denies any traffic from namespace=media; this came from media/encoder",
        ),
        findings=(((DB, "spec.ingressDeny[0]", "denies any traffic from namespace=media"),),),
    ),
    Counted(
        policy=AUDITED,
        direction="ingress",
        reason="audit",
        subject="workload/shop/audited",
        peer="workload/shop/backend",
    ): Told(
        project="101",
        title="shop/audited-ingress: shop/backend → shop/audited would be denied (audit mode)",
        sentences=(f"audit mode let it through: {ONLY_NOBODY}; this came from shop/backend",),
        findings=(
            ((AUDITED, "spec.ingress[0]", "allows any traffic from app=nobody: not this peer"),),
        ),
    ),
    Counted(
        policy=LEDGER,
        direction="ingress",
        reason="no-rule-allowed",
        subject="workload/pay/ledger",
        peer="workload/shop/backend",
    ): Told(
        project="102",
        title="pay/ledger-ingress: shop/backend → pay/ledger not allowed by any rule",
        sentences=tuple(
            f"{ONLY_GATEWAY}{passed}; nor does pay/ledger-scraping allow it"
            for passed in (
                "came from shop/backend",
                "was 9090/UDP from shop/backend",
                "came from shop/backend, and for another port",
            )
        ),
        findings=(LEDGER_TCP + SCRAPED, LEDGER_UDP + SCRAPED),
    ),
    Counted(
        policy=SCRAPING,
        direction="ingress",
        reason="no-rule-allowed",
        subject="workload/pay/ledger",
        peer="workload/shop/backend",
    ): Told(
        project="103",
        title="pay/ledger-scraping: shop/backend → pay/ledger not allowed by any rule",
        sentences=tuple(
            f"{ONLY_PROMETHEUS}{passed}; nor does pay/ledger-ingress allow it"
            for passed in (
                "was 9090/TCP from shop/backend",
                "was 9090/UDP from shop/backend",
                "came from shop/backend, and for another port",
            )
        ),
        findings=(SCRAPED + LEDGER_TCP, SCRAPED + LEDGER_UDP),
    ),
    Counted(
        policy=GATEWAY,
        direction="egress",
        reason="no-rule-allowed",
        subject="workload/pay/gateway",
        peer="cidr//192.0.2.0/24",
    ): Told(
        project="103",
        title="pay/gateway-egress: pay/gateway → 192.0.2.0/24 not allowed by any rule",
        sentences=("pay/gateway-egress allows 443/TCP to 192.0.2.0/24; this went to 80/TCP",),
        findings=(
            (
                (
                    GATEWAY,
                    "spec.egress[0].toPorts[0]",
                    "allows 443/TCP to 192.0.2.0/24: not this port",
                ),
                (GATEWAY, "spec.egress[1]", f"allows 9090/TCP to app=ledger: {NEITHER}"),
            ),
        ),
    ),
    Counted(
        policy=MEDIA,
        direction="egress",
        reason="no-rule-allowed",
        subject="workload/media/encoder",
        peer="world//world",
    ): Told(
        project="103",
        title="media-egress: media/encoder → world not allowed by any rule",
        sentences=("media-egress allows any traffic to cluster; this went to world",),
        findings=(((MEDIA, "spec.egress[0]", "allows any traffic to cluster: not this peer"),),),
    ),
}


@dataclass(slots=True)
class Seen:
    """What was recorded of one alert's flows."""

    times: list[datetime] = field(default_factory=list)
    ports: Counter[str] = field(default_factory=Counter)
    peers: Counter[str] = field(default_factory=Counter)


def recorded(capture: Path) -> dict[Counted, Seen]:
    """Return what a capture of the mix holds of each alert."""
    raises: dict[tuple[Any, ...], tuple[mix.Alert, ...]] = {
        _kind(step.flow): step.alerts
        for scenario in mix.Cast(["demo/n1"]).scenarios.values()
        for step in scenario.steps
        if step.alerts
    }
    found: dict[Counted, Seen] = {}
    for line in capture.read_bytes().splitlines():
        flow = json_format.Parse(line, observer_pb2.GetFlowsResponse()).flow
        for alert in raises.get(_kind(flow), ()):
            seen = found.setdefault(pipeline.counted(dataclasses.asdict(alert)), Seen())
            # Picket keeps microseconds.
            micros = flow.time.ToNanoseconds() // 1000
            seconds, rest = divmod(micros, 1_000_000)
            seen.times.append(datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest))
            seen.ports[_port(flow)] += 1
            seen.peers[_peer(flow)] += 1
    return found


def assert_opened(
    server: gitlab.GitLab, alerts: Sequence[Mapping[str, Any]], seen: Mapping[Counted, Seen]
) -> None:
    """GitLab got exactly one POST an alert: what it counts is of that moment, all else exact."""
    assert alerts, "nothing to compare"
    posts = _posts(server, alerts, resolved=False)
    for alert in alerts:
        about = pipeline.counted(alert)
        payload, known = _apart(posts[alert["id"]], about)
        assert payload == _fixed(about, alert["id"], seen[about])
        # Counts go on after the POST: it tells what was known then.
        assert 1 <= known["events"] <= len(seen[about].times)
        assert datetime.fromisoformat(known["last_seen"]) in seen[about].times
        for name, whole in (("ports", seen[about].ports), ("peers", seen[about].peers)):
            assert known["events"] == Counter(known[name]).total()
            assert Counter(known[name]) <= whole


def assert_resolved(
    server: gitlab.GitLab, details: Sequence[Mapping[str, Any]], seen: Mapping[Counted, Seen]
) -> None:
    """GitLab got exactly one more POST an alert, which ends it and tells all, to the last flow."""
    posts = _posts(server, details, resolved=True)
    for alert in details:
        about = pipeline.counted(alert)
        payload, known = _apart(posts[alert["id"]], about)
        ended = datetime.fromisoformat(payload.pop("end_time"))
        assert ended == datetime.fromisoformat(alert["resolved_at"])
        assert payload == _fixed(about, alert["id"], seen[about])
        assert known == {
            "events": len(seen[about].times),
            "last_seen": max(seen[about].times).isoformat(),
            "ports": seen[about].ports,
            "peers": seen[about].peers,
            "description": alert["sentence"],
            "findings": alert["findings"],
        }
    held = server.held()["alerts"]
    assert Counter(alert["status"] for alert in held) == {"resolved": len(details)}


def _posts(
    server: gitlab.GitLab, alerts: Sequence[Mapping[str, Any]], *, resolved: bool
) -> dict[str, dict[str, Any]]:
    """Return the payloads by alert; each came once, to its project, and GitLab liked it."""
    requests = [
        request
        for request in server.held()["requests"]
        if ("end_time" in request["payload"]) is resolved
    ]
    came = Counter((request["payload"]["fingerprint"], request["project"]) for request in requests)
    assert came == {
        (f"picket-{alert['id']}", TOLD[pipeline.counted(alert)].project): 1 for alert in alerts
    }
    assert {(request["status"], *request["complaints"]) for request in requests} == {(200,)}
    return {request["payload"]["picket"]["alert"]: request["payload"] for request in requests}


def _apart(payload: Mapping[str, Any], about: Counted) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a payload says anyway, and what it says of the flows so far."""
    rest, details = dict(payload), dict(payload["picket"])
    known = {name: details.pop(name) for name in ("events", "last_seen", "ports", "peers")}
    known["description"] = rest.pop("description")
    known["findings"] = details.pop("findings")
    assert known["description"] in TOLD[about].sentences
    assert known["findings"] in [
        [{"policy": _named(policy), "path": path, "why": why} for policy, path, why in findings]
        for findings in TOLD[about].findings
    ]
    return {**rest, "picket": details}, known


def _fixed(about: Counted, alert: str, seen: Seen) -> dict[str, Any]:
    policy, subject, peer = map(_named, (about.policy, about.subject, about.peer))
    return {
        "title": TOLD[about].title,
        "fingerprint": f"picket-{alert}",
        "severity": "medium",
        "start_time": min(seen.times).isoformat(),
        "service": _text(policy),
        "hosts": [_text(subject)],
        "monitoring_tool": "Picket",
        "gitlab_environment_name": "production",
        "picket": {
            "alert": alert,
            "cluster": "demo",
            "policy": policy,
            "direction": about.direction,
            "reason": about.reason,
            "subject": {**subject, "text": _text(subject)},
            "peer": {**peer, "text": _text(peer)},
        },
    }


def _named(joined: str) -> dict[str, str]:
    return dict(zip(("kind", "namespace", "name"), joined.split("/", 2), strict=True))


def _text(named: Mapping[str, str]) -> str:
    return f"{named['namespace']}/{named['name']}" if named["namespace"] else named["name"]


def _kind(flow: flow_pb2.Flow) -> tuple[Any, ...]:
    """Return what sets the flows of one step of a scenario apart from all others."""
    ends = (flow.IP.source, flow.IP.destination, _port(flow))
    return (flow.event_type.type, flow.verdict, flow.traffic_direction, *ends, flow.l7.dns.query)


def _port(flow: flow_pb2.Flow) -> str:
    protocol = flow.l4.WhichOneof("protocol")
    if protocol == "ICMPv4":
        return f"ICMP/{flow.l4.ICMPv4.type}"
    if protocol in {"TCP", "UDP"}:
        return f"{protocol}/{getattr(flow.l4, protocol).destination_port}"
    return ""


def _peer(flow: flow_pb2.Flow) -> str:
    inward = flow.traffic_direction == kinds.INGRESS
    end = flow.source if inward else flow.destination
    address = flow.IP.source if inward else flow.IP.destination
    return f"{address} {end.namespace}/{end.pod_name}" if end.pod_name else address
