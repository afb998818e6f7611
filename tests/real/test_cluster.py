"""What the cluster does when parts of it go, come back, change or are flooded."""

import time

import pytest

from schemas.hubble import flow_pb2
from tests import waiting
from tests.contracts.hubble.reading import Client, moment, only_lost
from tests.parts.cilium import standard
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.hosts import Call
from tests.parts.cilium.pods import Pod
from tests.parts.cilium.standard import Cast
from tests.real.watching import Watch, of_call, watching

pytestmark = [pytest.mark.cilium, pytest.mark.xdist_group("cilium"), pytest.mark.timeout(180)]

ONE_PACKET = 0.3
VERDICT = 5
BACKEND, DATABASE, AUDITED = "backend-ingress", "db-deny-attacker", "audited-ingress"


def policy(name: str) -> dict:
    """Return one of the standard policies."""
    return next(each for each in standard.policies() if each["metadata"]["name"] == name)


def call(caller: Pod, called: Pod):
    """Call once, with one packet where it is stopped."""
    return caller.connect(called.ip, 8080, timeout=ONE_PACKET)


def verdict(watch: Watch, made) -> int:
    """Wait for what was decided on a call."""
    found = watch.until(
        lambda flow: of_call(flow, made) and flow.event_type.type == VERDICT, f"a verdict on {made}"
    )
    return found[0].verdict


def test_a_pod_is_what_its_labels_say(cilium_cluster: Cluster):
    """With other labels it has another identity, and is allowed what that one is."""
    pod = cilium_cluster.pod("shop", "stray", "n2", {"app": "stray"}, workload="Job/stray")
    backend = cilium_cluster.pods["shop/backend"]
    with cilium_cluster.enforced([policy(BACKEND)]):
        assert call(pod, backend).error == "timed out"
        before = pod.identity
        pod.relabel({"app": "frontend"})
        assert pod.identity != before
        waiting.until(lambda: call(pod, backend).ok, what="the call of the relabelled pod")
        pod.relabel({"app": "stray"})
        waiting.until(lambda: not call(pod, backend).ok, what="the old labels again")
    cilium_cluster.remove(pod)
    assert cilium_cluster.control.get("v1", "Pod", "stray", "shop") is None
    with pytest.raises(OSError, match="404"):
        pod.node.endpoint(pod.ip)


def test_a_policy_that_changes_decides_anew(cilium_cluster: Cluster, cilium_cast: Cast):
    """In force is the newest version, to and fro, and nothing once it is withdrawn."""
    wider = policy(BACKEND)
    del wider["spec"]["ingress"][0]["fromEndpoints"]
    caller, called = cilium_cast.bare, cilium_cast.backend
    for version, answered in ((policy(BACKEND), False), (wider, True), (policy(BACKEND), False)):
        cilium_cluster.enforce(version)
        assert call(caller, called).ok is answered
    cilium_cluster.withdraw(wider)
    assert call(caller, called).ok


def test_a_node_without_its_agent_enforces_and_tells_nothing(
    cilium_cluster: Cluster, cilium_cast: Cast
):
    """Who asks anew gets its flows once the agent is back; what was before is lost.

    Not in a stream that was there before: relay does not always go on with a node of which it had
    flows already. The collector opens its stream anew for that.
    """
    since = moment(time.time_ns())
    with (
        cilium_cluster.enforced([policy(AUDITED)]),
        watching(cilium_cluster) as watch,
        cilium_cluster.relay.channel() as channel,
    ):
        cilium_cast.audited.audit()
        audited = call(cilium_cast.bare, cilium_cast.audited)
        assert audited.ok
        assert verdict(watch, audited) == flow_pb2.AUDIT
        cilium_cluster.stop_agent("n2", kill=True)
        untold = call(cilium_cast.bare, cilium_cast.audited)
        assert untold.ok
        cilium_cluster.start_agent("n2")
        # Audit mode of an endpoint does not outlive the agent. Nobody hears of what was stopped
        # between its programs' loading and its listening to them.
        stopped: list[Call] = []
        flows: list[flow_pb2.Flow] = []

        def told() -> set[int]:
            made = call(cilium_cast.bare, cilium_cast.audited)
            stopped.extend([] if made.ok else [made])
            cilium_cluster.nudge()
            flows[:] = Client(channel).flows(since=since)
            return {
                flow.verdict
                for flow in flows
                if flow.event_type.type == VERDICT and any(of_call(flow, made) for made in stopped)
            }

        found = waiting.until(told, what="a verdict on a stopped call", every=0.5, seconds=120)
        assert found == {flow_pb2.DROPPED}
        assert not [flow for flow in flows if of_call(flow, untold)]


def test_relay_and_the_api_server_come_back(cilium_cluster: Cluster, cilium_cast: Cast):
    """At their addresses, and the agents with them."""
    address = cilium_cluster.relay.address
    cilium_cluster.restart_relay()
    assert cilium_cluster.relay.address == address
    cilium_cluster.restart_api_server(kill=True)
    with cilium_cluster.enforced([policy(BACKEND)]), watching(cilium_cluster) as watch:
        made = call(cilium_cast.bare, cilium_cast.backend)
        assert made.error == "timed out"
        assert verdict(watch, made) == flow_pb2.DROPPED


def test_a_flood_loses_events_and_says_how_many(cilium_cluster: Cluster, cilium_cast: Cast):
    """Before the ring and in it: what a node could not keep up with, and what relay could not."""
    with cilium_cluster.enforced([policy(BACKEND)]), watching(cilium_cluster) as watch:
        made = cilium_cast.coredns.flood(cilium_cast.backend.ip, 9999, 60_000)
        cilium_cluster.nudge()
        verdicts = watch.until(lambda flow: of_call(flow, made), "the flood")
        assert {flow.verdict for flow in verdicts} == {flow_pb2.DROPPED}
        watch.stream.until(only_lost, "a lost event")
        lost = only_lost(list(watch.stream.answers))
        assert {each.source for each in lost} <= {
            flow_pb2.PERF_EVENT_RING_BUFFER,
            flow_pb2.OBSERVER_EVENTS_QUEUE,
            flow_pb2.HUBBLE_RING_BUFFER,
        }
        assert all(each.num_events_lost > 0 for each in lost)
