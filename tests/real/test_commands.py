"""The commands that a user begins with, on a real cluster: `picket up`, and `picket doctor`."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from schemas.hubble import flow_pb2
from tests.cli import stand
from tests.contracts.hubble.reading import Client
from tests.journeys import pipeline
from tests.parts.cilium.cluster import Cluster
from tests.parts.cilium.standard import Cast
from tests.real.journeys import live
from tests.waiting import until

pytestmark = [
    *(pytest.mark.cilium, pytest.mark.kubernetes, pytest.mark.journey),
    *(pytest.mark.xdist_group("cilium"), pytest.mark.timeout(200)),
]

NOBODY = {"toEndpoints": [{"matchLabels": {"app": "nobody"}}]}
# Outwards, as no other test stops it: what is in the rings already is not this policy's.
POLICY = live.a_policy("shop", "kept-in", {"app": "bare"}, egress=[NOBODY])
KEPT_IN = live.alert("shop/kept-in", "shop/bare", "shop/db", direction="egress")


@pytest.fixture(scope="module")
def place(cilium_cluster: Cluster) -> tuple[str, ...]:
    """Return where the cluster is, as flags."""
    relay, kubeconfig = cilium_cluster.relay.address, str(cilium_cluster.kubeconfig)
    return ("--relay", relay, "--kubeconfig", kubeconfig)


@pytest.fixture(scope="module")
def up(
    cilium_cluster: Cluster, place: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[stand.Up]:
    """A `picket up` that watches the cluster."""
    state = tmp_path_factory.mktemp("state")
    with (
        cilium_cluster.enforced([POLICY]),
        stand.running(state, *place, policies=None) as running,
    ):
        running.ready()
        until(lambda: running.states() == ["live"], what="flows of the cluster")
        yield running


def test_a_stopped_call_is_an_alert_at_the_terminal_and_in_the_list(
    cilium_cluster: Cluster, cilium_cast: Cast, up: stand.Up
) -> None:
    """With a relay and a kubeconfig, and nothing else; it is printed once and counted once."""
    assert f"Watching {cilium_cluster.relay.address}" in up.text
    made = cilium_cast.bare.connect(cilium_cast.db.ip, 5432, timeout=live.ONE_PACKET)
    assert made.error == "timed out"
    (alert,) = until(up.alerts, what="the alert")
    until(lambda: alert["title"] in up.text.partition(stand.READY)[2], what="the alert printed")
    cilium_cluster.nudge()
    assert [(pipeline.counted(each), each["events"]) for each in up.alerts()] == [(KEPT_IN, 1)]
    printed = re.findall(
        rf"^[\d:]{{8}}  medium  {re.escape(alert['title'])}$", up.text, re.MULTILINE
    )
    assert len(printed) == 1


def test_the_doctor_finds_a_cluster_well(place: tuple[str, ...], up: stand.Up) -> None:
    """All that is needed is there; whatever is not fine says what to do next."""
    done = stand.picket("doctor", *place, "--output", "json", state=up.state)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert all(each["next"] for each in found if each["state"] != "fine")
    said = {each["about"]: (each["state"], each["what"]) for each in found}
    assert said["nodes"] == ("fine", "all 2 are connected")
    assert said["policy verdicts"] == ("fine", "they are among the flows")
    needed = ("relay", "API server", "rights", "policies", "log", "lag", "database")
    assert {said[about][0] for about in needed} == {"fine"}


def test_the_doctor_finds_verdicts_switched_off(
    cilium_cluster: Cluster, cilium_cast: Cast, place: tuple[str, ...], tmp_path: Path
) -> None:
    """A packet is stopped, and no event of the kind that alerts are made of tells of it."""

    def told() -> bool:
        made = cilium_cast.bare.connect(cilium_cast.db.ip, 5432, timeout=live.ONE_PACKET)
        assert made.error == "timed out"
        cilium_cluster.nudge()
        with cilium_cluster.relay.channel() as channel:
            seen = Client(channel).flows(number=100)
        return any(flow.verdict == flow_pb2.DROPPED for flow in seen)

    policy = live.a_policy("shop", "untold", {"app": "bare"}, egress=[NOBODY])
    silent = {"bpf-events-policy-verdict-enabled": "false"}
    with started_anew(cilium_cluster, silent), cilium_cluster.enforced([policy]):
        until(told, what="a stopped packet", every=0.5)
        done = stand.picket("doctor", *place, "--output", "json", state=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    found = {each["about"]: each for each in json.loads(done.stdout)}["policy verdicts"]
    assert found["state"] == "problem"
    assert "policy-verdict-notification" in found["next"]


@contextlib.contextmanager
def started_anew(cluster: Cluster, options: Mapping[str, str]) -> Iterator[None]:
    """Have the agents of all nodes run with other options; their rings are empty then."""
    usual = {name: node.options for name, node in cluster.nodes.items()}
    for node in cluster.nodes.values():
        node.options = {**node.options, **options}
    try:
        restart(cluster)
        yield
    finally:
        for name, node in cluster.nodes.items():
            node.options = usual[name]
        restart(cluster)


def restart(cluster: Cluster) -> None:
    """Start all agents again, and wait until relay has them."""
    for name in cluster.nodes:
        cluster.stop_agent(name)
    for name in cluster.nodes:
        cluster.start_agent(name)
    cluster.restart_relay()
