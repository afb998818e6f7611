"""Each kind of traffic on real packets: what the caller sees, and what Hubble tells of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from schemas.hubble import flow_pb2
from tests.parts.cilium import standard
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.hosts import Call
from tests.parts.cilium.standard import Cast
from tests.real.watching import Flow, Watch, named, of_call, ports, watching

pytestmark = [pytest.mark.cilium, pytest.mark.xdist_group("cilium"), pytest.mark.timeout(120)]

ONE_PACKET = 0.3
"""Seconds of patience within which nothing is sent a second time."""
DROP, TRACE, VERDICT, L7 = 1, 4, 5, 129
NOT_ALLOWED, DENIED = flow_pb2.POLICY_DENIED, flow_pb2.POLICY_DENY
IN, OUT = flow_pb2.INGRESS, flow_pb2.EGRESS
STRANGER = "203.0.113.77"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a verdict says."""

    verdict: int
    direction: int
    source: str
    destination: str
    reason: int = flow_pb2.DROP_REASON_UNKNOWN
    by: str = ""
    """The one policy that it names."""

    def of(self, flow: Flow) -> bool:
        """Return whether a flow's verdict says so."""
        lists = (
            *(flow.ingress_allowed_by, flow.ingress_denied_by),
            *(flow.egress_allowed_by, flow.egress_denied_by),
        )
        return self == Told(
            verdict=flow.verdict,
            direction=flow.traffic_direction,
            source=named(flow.source),
            destination=named(flow.destination),
            reason=flow.drop_reason_desc,
            by=" ".join(policy.name for each in lists for policy in each),
        )


Act = Callable[[Cluster, Cast], Call]


def stopped(source: str, destination: str, direction: int, *, denied_by: str = "") -> Told:
    """Return the verdict on what no rule allowed, or what a policy denied."""
    return Told(
        verdict=flow_pb2.DROPPED,
        direction=direction,
        source=source,
        destination=destination,
        reason=DENIED if denied_by else NOT_ALLOWED,
        by=denied_by,
    )


def allowed(source: str, destination: str, direction: int, by: str) -> Told:
    """Return the verdict on what a policy allowed."""
    return Told(
        verdict=flow_pb2.FORWARDED,
        direction=direction,
        source=source,
        destination=destination,
        by=by,
    )


STOPPED: dict[str, tuple[Act, Told]] = {
    "default deny, ingress, from the other node": (
        lambda _, cast: cast.bare.connect(cast.backend.ip, 8080, timeout=ONE_PACKET),
        stopped("bare", "backend", IN),
    ),
    "default deny, egress, a wrong port": (
        lambda _, cast: cast.frontend.connect(cast.backend.ip, 9999, timeout=ONE_PACKET),
        stopped("frontend", "backend", OUT),
    ),
    "explicit deny, ingress": (
        lambda _, cast: cast.attacker.connect(cast.db.ip, 5432, timeout=ONE_PACKET),
        stopped("attacker", "db-0", IN, denied_by="db-deny-attacker"),
    ),
    "explicit deny, egress, an address": (
        lambda _, cast: cast.frontend.connect(standard.BLOCKED, 80, timeout=ONE_PACKET),
        stopped("frontend", "world", OUT, denied_by="frontend-egress"),
    ),
    "default deny, egress, the world": (
        lambda _, cast: cast.frontend.connect(standard.KNOWN, 8080, timeout=ONE_PACKET),
        stopped("frontend", "world", OUT),
    ),
    "default deny, ingress, from the world": (
        lambda cluster, cast: cluster.world.connect(
            cast.backend.ip, 8080, timeout=ONE_PACKET, source=STRANGER
        ),
        stopped("world", "backend", IN),
    ),
    "default deny of a policy that nobody listens to": (
        lambda _, cast: cast.backend.connect(cast.bare.ip, 8080, timeout=ONE_PACKET),
        stopped("backend", "bare", IN),
    ),
    "egress is stopped before audit mode at the other end sees it": (
        lambda _, cast: cast.frontend.connect(cast.audited.ip, 8080, timeout=ONE_PACKET),
        stopped("frontend", "audited", OUT),
    ),
    "default deny of a policy of the whole cluster": (
        lambda _, cast: cast.attacker.connect(standard.KNOWN, 80, timeout=ONE_PACKET),
        stopped("attacker", "world", OUT),
    ),
    "a datagram": (
        lambda _, cast: cast.bare.udp(cast.backend.ip, 9999, timeout=ONE_PACKET),
        stopped("bare", "backend", IN),
    ),
}

ALLOWED: dict[str, tuple[Act, list[Told]]] = {
    "both sides, same node": (
        lambda _, cast: cast.frontend.curl(cast.backend.ip, 8080),
        [
            allowed("frontend", "backend", OUT, "frontend-egress"),
            allowed("frontend", "backend", IN, "backend-ingress"),
        ],
    ),
    "through the service's address": (
        lambda _, cast: cast.frontend.curl(cast.backend_service, 80),
        [
            allowed("frontend", "backend", OUT, "frontend-egress"),
            allowed("frontend", "backend", IN, "backend-ingress"),
        ],
    ),
    "the other node": (
        lambda _, cast: cast.backend.curl(cast.db.ip, 5432),
        [allowed("backend", "db-0", IN, "db-deny-attacker")],
    ),
}


@pytest.fixture(scope="module")
def watch(cilium_cluster: Cluster, cilium_cast: Cast) -> Iterator[Watch]:
    """All flows while the standard policies are in force and one pod is in audit mode."""
    with cilium_cluster.enforced(standard.policies()):
        cilium_cast.audited.audit()
        try:
            with watching(cilium_cluster) as found:
                yield found
        finally:
            cilium_cast.audited.audit(on=False)


def verdicts(watch: Watch, call: Call, told: Told) -> list[Flow]:
    """Wait for the verdict on a call; return all verdicts on it."""
    watch.until(
        lambda flow: of_call(flow, call) and flow.event_type.type == VERDICT and told.of(flow),
        f"{told} on port {call.port}",
    )
    return [flow for flow in watch.flows if of_call(flow, call) and flow.event_type.type == VERDICT]


@pytest.mark.parametrize("kind", STOPPED)
def test_what_is_stopped_is_told_once_for_each_packet(watch: Watch, cilium_cast: Cast, kind: str):
    """The caller waits in vain; one verdict says why, and one drop event comes with it."""
    act, told = STOPPED[kind]
    call = act(watch.cluster, cilium_cast)
    assert call.error == "timed out"
    (verdict,) = [flow for flow in verdicts(watch, call, told) if flow.verdict == flow_pb2.DROPPED]
    drops = watch.until(
        lambda flow: of_call(flow, call) and flow.event_type.type == DROP, "the drop event"
    )
    assert [drop.drop_reason_desc for drop in drops] == [told.reason]
    assert drops[0].uuid != verdict.uuid


@pytest.mark.parametrize("kind", ALLOWED)
def test_what_is_allowed_names_the_policy_on_each_side(watch: Watch, cilium_cast: Cast, kind: str):
    """The caller is answered, and nothing of the call was stopped."""
    act, expected = ALLOWED[kind]
    call = act(watch.cluster, cilium_cast)
    assert call.status == 200
    for told in expected:
        found = verdicts(watch, call, told)
        assert {flow.verdict for flow in found} == {flow_pb2.FORWARDED}
        assert all(ports(flow)[1] in (8080, 5432) for flow in found)


def test_an_echo_request_is_stopped_too(watch: Watch, cilium_cast: Cast):
    call = cilium_cast.bare.ping(cilium_cast.backend.ip, timeout=ONE_PACKET)
    assert call.error == "timed out"
    told = stopped("bare", "backend", IN)
    (verdict,) = watch.until(
        lambda flow: flow.event_type.type == VERDICT and flow.l4.HasField("ICMPv4"), "the ping"
    )
    assert told.of(verdict)


def test_audit_mode_lets_pass_and_tells(watch: Watch, cilium_cast: Cast):
    """One verdict AUDIT without a reason or a policy, and no drop event."""
    call = cilium_cast.backend.curl(cilium_cast.audited.ip, 8080)
    assert call.status == 200
    told = Told(verdict=flow_pb2.AUDIT, direction=IN, source="backend", destination="audited")
    assert len(verdicts(watch, call, told)) == 1
    assert not [
        flow for flow in watch.flows if of_call(flow, call) and flow.event_type.type == DROP
    ]


def test_a_name_that_is_allowed_opens_its_address(watch: Watch, cilium_cast: Cast):
    """The question is redirected to the proxy, and told; then a call to the answer is allowed."""
    asked = cilium_cast.frontend.dns(standard.KNOWN_NAME, cilium_cast.dns_service)
    assert (asked.code, asked.addresses) == (0, (standard.KNOWN,))
    (redirected,) = verdicts(
        watch,
        asked,
        Told(
            verdict=flow_pb2.REDIRECTED,
            direction=OUT,
            source="frontend",
            destination="coredns",
            by="frontend-egress",
        ),
    )[:1]
    assert redirected.event_type.type == VERDICT
    (request,) = watch.until(
        lambda flow: of_call(flow, asked) and flow.event_type.type == L7, "the question"
    )
    assert request.verdict == flow_pb2.FORWARDED
    assert request.l7.dns.query == f"{standard.KNOWN_NAME}."
    call = cilium_cast.frontend.curl(standard.KNOWN, 443)
    assert call.status == 200
    told = allowed("frontend", "world", OUT, "frontend-egress")
    flow = verdicts(watch, call, told)[0]
    assert f"fqdn:{standard.KNOWN_NAME}" in flow.destination.labels


def test_a_name_that_is_not_allowed_is_refused(watch: Watch, cilium_cast: Cast):
    """Dropped at layer 7: no reason, no policy, and no drop event."""
    asked = cilium_cast.frontend.dns(standard.BLOCKED_NAME, cilium_cast.dns_service)
    assert asked.code == 5
    (flow,) = watch.until(
        lambda flow: of_call(flow, asked) and flow.event_type.type == L7, "the refusal"
    )
    told = Told(verdict=flow_pb2.DROPPED, direction=OUT, source="frontend", destination="coredns")
    assert told.of(flow)
    assert flow.l7.type == flow_pb2.REQUEST
    assert flow.l7.dns.query == f"{standard.BLOCKED_NAME}."


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("denied", (flow_pb2.DROPPED, flow_pb2.REQUEST, 0)),
        ("request", (flow_pb2.FORWARDED, flow_pb2.REQUEST, 0)),
        ("response", (flow_pb2.FORWARDED, flow_pb2.RESPONSE, 200)),
    ],
)
def test_a_request_of_http_is_told_as_envoy_says(
    watch: Watch, cilium_cast: Cast, kind: str, expected: tuple[int, int, int]
):
    path = f"/{kind}"
    watch.cluster.http_log(
        cilium_cast.frontend,
        cilium_cast.backend,
        kind=kind,
        method="DELETE",
        path=path,
        status=expected[2],
    )
    (flow,) = watch.until(lambda flow: flow.l7.http.url.endswith(path), path)
    assert (flow.verdict, flow.l7.type, flow.l7.http.code) == expected
    assert flow.l7.http.method == "DELETE"
    assert flow.event_type.type == L7
    assert flow.drop_reason_desc == flow_pb2.DROP_REASON_UNKNOWN
    ends = {named(flow.source), named(flow.destination)}
    assert ends == {"frontend", "backend"}
