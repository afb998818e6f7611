"""Parts of the cluster go and come back, and a flood overruns the ring: nothing is silent."""

from pathlib import Path

import pytest

from tests import waiting
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.standard import Cast
from tests.real.journeys import live
from tests.real.journeys.live import ONE_PACKET, alert

pytestmark = [
    *(pytest.mark.cilium, pytest.mark.kubernetes, pytest.mark.journey),
    *(pytest.mark.xdist_group("cilium"), pytest.mark.timeout(400)),
]

POLICY = live.a_policy("shop", "closed", {"app": "backend"}, ingress=[live.nobody()])
LATER = live.a_policy("shop", "later", {"app": "bare"}, ingress=[live.nobody()])
CLOSED = alert("shop/closed", "shop/backend", "shop/bare")


def test_relay_and_the_api_server_are_restarted(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """Packets that were stopped meanwhile are counted, policies made afterwards are known."""
    cast = cilium_cast

    def call():
        return cast.bare.connect(cast.backend.ip, 8080, timeout=ONE_PACKET)

    with cilium_cluster.enforced([POLICY]), live.running(cilium_cluster, tmp_path) as at:
        at.stopped(call(), CLOSED)
        cilium_cluster.relay.stop()
        at.stopped(call(), CLOSED)
        cilium_cluster.relay.start(nodes=2)
        at.stopped(call(), CLOSED)
        at.audit()
        cilium_cluster.restart_api_server(kill=True)
        at.stopped(call(), CLOSED)
        with cilium_cluster.enforced([LATER]):
            at.stopped(
                cast.backend.connect(cast.bare.ip, 8080, timeout=ONE_PACKET),
                alert("shop/later", "shop/bare", "shop/backend"),
            )
            # An API server that starts has no past: what was gone by now, nobody could read there.
            at.audit()


def test_a_node_whose_agent_was_away_is_a_gap(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """Its ring is lost with it: what was stopped meanwhile is told as a gap of that node."""
    cast = cilium_cast

    def call():
        return cast.bare.connect(cast.backend.ip, 8080, timeout=ONE_PACKET)

    with cilium_cluster.enforced([POLICY]), live.running(cilium_cluster, tmp_path) as at:
        at.stopped(call(), CLOSED)
        at.audit()
        cilium_cluster.stop_agent("n1", kill=True)
        assert call().error == "timed out"
        cilium_cluster.start_agent("n1")
        waiting.until(
            lambda: cilium_cluster.nudge() or at.notices("gap"), what="the gap", every=0.5
        )
        (gap, *_) = at.notices("gap")
        assert "n1" in str(gap)
        live.until(call, ok=False)
        before = at.stages.counts()[CLOSED]
        assert at.stopped(call())
        waiting.until(
            lambda: cilium_cluster.nudge() or at.stages.counts()[CLOSED] > before,
            what="flows of the node again",
        )


def test_a_flood_tells_what_was_lost(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """Lost events are told with their numbers; counted and lost are not more than was sent."""
    cast, sent = cilium_cast, 60_000
    flooded = alert("shop/closed", "shop/backend", "kube-system/kube-dns")
    with cilium_cluster.enforced([POLICY]), live.running(cilium_cluster, tmp_path) as at:
        cast.coredns.flood(cast.backend.ip, 9999, sent)
        waiting.until(
            lambda: cilium_cluster.nudge() or at.notices("lost-events"), what="lost events"
        )
        counted = waiting.until(lambda: at.stages.counts()[flooded], what="the flood's alert")
        assert 0 < counted <= sent
        assert at.unexplained() == []
