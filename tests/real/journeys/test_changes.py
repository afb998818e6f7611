"""While packets flow: policies come, change and go, pods are relabelled, namespaces deleted."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import table
from bus import opening
from tests import waiting
from tests.parts.cilium import manifests
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.hosts import Call
from tests.parts.cilium.pods import Pod
from tests.parts.cilium.standard import Cast
from tests.parts.kubernetes import commands
from tests.parts.kubernetes.server import Server
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


def test_a_pod_with_new_labels_is_another_peer_and_another_subject(
    cilium_cluster: Cluster, cilium_cast: Cast, tmp_path: Path
) -> None:
    """Calling and called: denied under one label, allowed under the next, denied under a third."""
    backend = cilium_cast.backend
    friends = {"fromEndpoints": [{"matchLabels": {"app": "friend"}}]}
    policies = (
        live.a_policy("shop", "friends-only", {"app": "backend"}, ingress=[friends]),
        live.a_policy("shop", "shut", {"door": "shut"}, ingress=[live.nobody()]),
    )
    roles = (
        ({"app": "stranger", "door": "shut"}, False),
        ({"app": "friend"}, True),
        ({"app": "rival", "door": "shut"}, False),
    )
    pod = cilium_cluster.pod("shop", "chameleon", "n2", roles[0][0])
    pod.serve(8080)

    def call() -> Call:
        return pod.connect(backend.ip, 8080, timeout=ONE_PACKET)

    def be_called() -> Call:
        return backend.connect(pod.ip, 8080, timeout=ONE_PACKET)

    with (
        cilium_cluster.enforced(policies),
        live.running(cilium_cluster, tmp_path) as at,
        watching(cilium_cluster) as watch,
    ):
        for labels, ok in roles:
            pod.relabel(labels)
            live.until(call, ok=ok)
            live.until(be_called, ok=ok)
        for last in (call(), be_called()):
            watch.until(
                lambda flow, last=last: of_call(flow, last) and live.tells_of_a_stop(flow),
                "the last calls",
            )
        for app in ("stranger", "rival"):
            label = f"k8s:app={app}"
            calls = [each for each in between(watch, pod, backend) if label in each.source.labels]
            as_peer = alert("shop/friends-only", "shop/backend", f"shop/{app}")
            assert at.watched(calls, as_peer) >= 1
            called = [
                each for each in between(watch, backend, pod) if label in each.destination.labels
            ]
            as_subject = alert("shop/shut", f"shop/{app}", "shop/backend")
            assert at.watched(called, as_subject) >= 1
        at.audit()
    cilium_cluster.remove(pod)


@contextlib.contextmanager
def namespaces_go(cluster: Cluster) -> Iterator[None]:
    """Run the one controller that empties a namespace, and lets it go.

    Others would mend what tests made: nodes without a kubelet, deployments without pods.
    """
    control = cluster.control
    namespaces = Server(
        name="namespace-controller",
        folder=control.folder,
        command=lambda: [
            *commands.controllers(control.version, control.kubeconfig, control.files),
            "--controllers=namespace-controller",
        ],
        ready=lambda: True,
    )
    namespaces.start()
    try:
        yield
    finally:
        namespaces.stop()


def test_a_namespace_that_is_deleted_takes_its_policies_along(
    cilium_cluster: Cluster, tmp_path: Path
) -> None:
    """What its policy stopped to the end is counted; the agent forgets all that was in it."""
    control = cilium_cluster.control
    pods = [
        cilium_cluster.pod("passing", name, node, {"app": name})
        for name, node in (("guest", "n1"), ("host", "n2"))
    ]
    guest, host = pods
    host.serve(8080)
    policy = live.a_policy("passing", "closed", {"app": "host"}, ingress=[live.nobody()])
    closed = alert("passing/closed", "passing/host", "passing/guest")

    def call() -> Call:
        return guest.connect(host.ip, 8080, timeout=ONE_PACKET)

    with (
        cilium_cluster.enforced([policy]),
        live.running(cilium_cluster, tmp_path) as at,
        namespaces_go(cilium_cluster),
    ):
        at.stopped(call(), closed)
        at.audit()
        assert {("CiliumNetworkPolicy", "closed"), ("Namespace", "passing")} <= known(at, "passing")
        control.delete(manifests.namespace("passing"))
        # The controller lets some seconds pass, and then keeps all else until the pods are gone,
        # which is for their nodes' kubelets to see to.
        at.stopped(call(), closed)
        assert control.get("cilium.io/v2", policy["kind"], "closed", "passing") is not None
        for pod in pods:
            cilium_cluster.remove(pod)
        waiting.until(
            lambda: control.get("v1", "Namespace", "passing") is None, what="the namespace gone"
        )
        waiting.until(lambda: not known(at, "passing"), what="the agent without it", seconds=10)
        at.audit()


def known(at: live.Live, namespace: str) -> set[tuple[str, str]]:
    """Return kind and name of what the topic says of a namespace, the namespace among it."""
    with contextlib.closing(opening.open_log(opening.BusSettings(bus=at.stages.bus))) as log:
        found = table.read(log, at.cluster.name).objects
    return {
        (each.kind, each.name)
        for each in found
        if each.namespace == namespace or (each.kind, each.name) == ("Namespace", namespace)
    }


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
