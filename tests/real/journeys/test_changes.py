"""While packets flow: policies come, change and go, pods are relabelled, namespaces deleted."""

from pathlib import Path

import pytest

from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.hosts import Call
from tests.parts.cilium.pods import Pod
from tests.parts.cilium.standard import Cast
from tests.real.journeys import live
from tests.real.journeys.live import ONE_PACKET, alert
from tests.real.watching import Flow, Watch, of_call, watching

pytestmark = [
    *(pytest.mark.cilium, pytest.mark.kubernetes, pytest.mark.journey),
    *(pytest.mark.xdist_group("cilium"), pytest.mark.timeout(400)),
]

SELECTED = {"app": "bare"}
CLOSED = live.a_policy("shop", "changing", SELECTED, ingress=[live.nobody()])
OPEN = live.a_policy("shop", "changing", SELECTED, ingress=[{"fromEndpoints": [{}]}])
CHANGING = alert("shop/changing", "shop/bare", "shop/backend")


def between(watch: Watch, source: Pod, destination: Pod) -> list[Flow]:
    """Return the flows from one pod to another."""
    return [
        flow
        for flow in watch.flows
        if (flow.IP.source, flow.IP.destination) == (source.ip, destination.ip)
    ]


def test_a_policy_that_comes_changes_and_goes(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """Each packet that was stopped counts, each that got through does not, however it went."""
    cast, control = cilium_cast, cilium_cluster.control

    def call() -> Call:
        return cast.backend.connect(cast.bare.ip, 8080, timeout=ONE_PACKET)

    with live.running(cilium_cluster, tmp_path) as at, watching(cilium_cluster) as watch:
        at.passed(call())
        for version, ok in ((CLOSED, False), (OPEN, True), (CLOSED, False)):
            control.apply(version)
            live.until(call, ok=ok)
            for _ in range(3):
                call()
        control.delete(CLOSED)
        live.until(call, ok=True)
        last = call()
        watch.until(lambda flow: of_call(flow, last), "the last call")
        assert at.watched(between(watch, cast.backend, cast.bare), CHANGING) >= 6
        at.audit()


def test_a_pod_with_new_labels_is_another_subject(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """Denied under one label, allowed under the next, and denied again."""
    backend = cilium_cast.backend
    allowed = {"fromEndpoints": [{"matchLabels": {"app": "friend"}}]}
    policy = live.a_policy("shop", "friends-only", {"app": "backend"}, ingress=[allowed])
    pod = cilium_cluster.pod("shop", "chameleon", "n2", {"app": "stranger"}, workload="Job/cham")
    stranger = alert("shop/friends-only", "shop/backend", "shop/stranger")

    def call() -> Call:
        return pod.connect(backend.ip, 8080, timeout=ONE_PACKET)

    with (
        cilium_cluster.enforced([policy]),
        live.running(cilium_cluster, tmp_path) as at,
        watching(cilium_cluster) as watch,
    ):
        assert not call().ok
        pod.relabel({"app": "friend"})
        live.until(call, ok=True)
        pod.relabel({"app": "stranger"})
        live.until(call, ok=False)
        last = call()
        watch.until(lambda flow: of_call(flow, last), "the last call")
        assert at.watched(between(watch, pod, backend), stranger) >= 3
        at.audit()
    cilium_cluster.remove(pod)


def test_a_namespace_that_is_deleted_takes_its_policies_along(
    cilium_cluster: Cluster, tmp_path: Path
) -> None:
    """What was stopped before is counted; the agent forgets what is gone."""
    pods = [
        cilium_cluster.pod("passing", name, node, {"app": name})
        for name, node in (("guest", "n1"), ("host", "n2"))
    ]
    guest, host = pods
    host.serve(8080)
    policy = live.a_policy("passing", "closed", {"app": "host"}, ingress=[live.nobody()])
    with live.running(cilium_cluster, tmp_path) as at:
        with cilium_cluster.enforced([policy]):
            closed = alert("passing/closed", "passing/host", "passing/guest")
            at.stopped(guest.connect(host.ip, 8080, timeout=ONE_PACKET), closed)
        for pod in pods:
            cilium_cluster.remove(pod)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "passing"}}
        cilium_cluster.control.delete(namespace)
        at.audit()


def test_audit_mode_on_and_off(cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path) -> None:
    """What audit mode lets through is told as audit; without it, as stopped."""
    cast = cilium_cast
    policy = live.a_policy("shop", "audited", {"app": "audited"}, ingress=[live.nobody()])

    def call() -> Call:
        return cast.bare.connect(cast.audited.ip, 8080, timeout=ONE_PACKET)

    stopped = alert("shop/audited", "shop/audited", "shop/bare")
    audited = alert("shop/audited", "shop/audited", "shop/bare", reason="audit")
    with cilium_cluster.enforced([policy]), live.running(cilium_cluster, tmp_path) as at:
        at.stopped(call(), stopped)
        cast.audited.audit(True)
        at.passed(call(), audited)
        cast.audited.audit(False)
        at.stopped(call(), stopped)
        at.audit()
