"""Every kind of traffic, from a packet to its alert.

HTTP rules are not among them: Cilium has Envoy enforce these, and Envoy is on no registry.
"""

from pathlib import Path

import pytest

from tests.parts.cilium import standard
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.hosts import Call
from tests.parts.cilium.pods import Pod
from tests.parts.cilium.standard import BLOCKED, KNOWN, Cast
from tests.real.journeys import live
from tests.real.journeys.live import ONE_PACKET, WORLD, Live, alert

pytestmark = [
    *(pytest.mark.cilium, pytest.mark.kubernetes, pytest.mark.journey),
    *(pytest.mark.xdist_group("cilium"), pytest.mark.timeout(400)),
]

STRANGER = "203.0.113.77"
LAST_SECONDS = 3.0
"""Within these the last packet before silence is an alert, or what was told by a later event."""
BACKEND = "shop/backend-ingress"
FRONTEND = "shop/frontend-egress"
OUT = "egress"
REFUSED = alert(
    *(FRONTEND, "shop/frontend", "kube-system/kube-dns"), direction=OUT, reason="l7-denied"
)
AUDITED = alert("shop/audited-ingress", "shop/audited", "shop/backend", reason="audit")


def connect(pod: Pod, ip: str, port: int) -> Call:
    return pod.connect(ip, port, timeout=ONE_PACKET)


def ask_in_vain(at: Live, cast: Cast) -> None:
    """Ask for a name that no rule allows, once."""
    assert cast.frontend.dns(standard.BLOCKED_NAME, cast.dns_service).code == 5
    at.books[REFUSED] += 1


def send_everything(at: Live, cast: Cast, *, known_as: str) -> None:
    """Send one of each kind; the books say which alerts it must come to.

    `known_as` is what the address of api.example.com is until its name is looked up.
    """
    backend, bare = cast.backend, cast.bare
    at.passed(cast.frontend.curl(backend.ip, 8080, "/ok"))
    at.passed(cast.frontend.curl(cast.backend_service, 80, "/service"))
    from_bare = alert(BACKEND, "shop/backend", "shop/bare")
    at.stopped(connect(bare, backend.ip, 8080), from_bare)
    at.stopped(bare.udp(backend.ip, 9999, timeout=ONE_PACKET), from_bare)
    at.stopped(bare.ping(backend.ip), from_bare)
    at.stopped(
        connect(cast.frontend, backend.ip, 9999),
        alert(FRONTEND, "shop/frontend", "shop/backend", direction=OUT),
    )
    at.stopped(
        connect(cast.attacker, cast.db.ip, 5432),
        alert("shop/db-deny-attacker", "shop/db", "evil/attacker", reason="denied-by"),
    )
    at.passed(cast.backend.connect(cast.db.ip, 5432))
    at.stopped(
        connect(cast.frontend, BLOCKED, 80),
        alert(
            *(FRONTEND, "shop/frontend", f"cidr//{BLOCKED}/32"),
            direction=OUT,
            reason="denied-by",
        ),
    )
    at.stopped(
        connect(cast.frontend, KNOWN, 8080),
        alert(FRONTEND, "shop/frontend", known_as, direction=OUT),
    )
    at.passed(cast.frontend.dns(standard.KNOWN_NAME, cast.dns_service))
    at.passed(cast.frontend.connect(KNOWN, 443))
    ask_in_vain(at, cast)
    at.stopped(
        at.cluster.world.connect(backend.ip, 8080, timeout=ONE_PACKET, source=STRANGER),
        alert(BACKEND, "shop/backend", WORLD),
    )
    # A policy that nobody listens to.
    at.stopped(connect(backend, bare.ip, 8080))
    at.stopped(at.cluster.world.connect(bare.ip, 8080, timeout=ONE_PACKET, source=BLOCKED))
    at.stopped(
        connect(cast.frontend, cast.audited.ip, 8080),
        alert(FRONTEND, "shop/frontend", "shop/audited", direction=OUT),
    )
    at.passed(backend.connect(cast.audited.ip, 8080), AUDITED)
    at.stopped(
        connect(cast.attacker, KNOWN, 80),
        alert("CiliumClusterwideNetworkPolicy:/evil-egress", "evil/attacker", WORLD, direction=OUT),
    )


def test_each_stopped_packet_is_in_the_right_alert(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """By policy, direction, reason, subject, peer and count; what was allowed is in none.

    Soon, too: a packet that a policy stopped by itself, audit and layer 7 by the node's next event.
    """
    cast = cilium_cast
    with cilium_cluster.enforced(standard.policies()):
        cast.audited.audit()
        with live.running(cilium_cluster, tmp_path) as at:
            for known_as in (WORLD, f"fqdn//{standard.KNOWN_NAME}"):
                send_everything(at, cast, known_as=known_as)
            at.audit()
            for act, what in (
                (
                    lambda: cast.bare.connect(cast.backend.ip, 8080, timeout=ONE_PACKET),
                    alert(BACKEND, "shop/backend", "shop/bare"),
                ),
                (
                    lambda: cast.attacker.connect(cast.db.ip, 5432, timeout=ONE_PACKET),
                    alert("shop/db-deny-attacker", "shop/db", "evil/attacker", reason="denied-by"),
                ),
            ):
                at.stopped(act(), what)
                assert at.seconds_until(what, at.books[what]) < LAST_SECONDS
            at.passed(cast.backend.connect(cast.audited.ip, 8080), AUDITED)
            at.tell(cast.audited)
            assert at.seconds_until(AUDITED, at.books[AUDITED]) < LAST_SECONDS
            ask_in_vain(at, cast)
            at.tell(cast.frontend)
            assert at.seconds_until(REFUSED, at.books[REFUSED]) < LAST_SECONDS
            at.audit()
        cast.audited.audit(False)
