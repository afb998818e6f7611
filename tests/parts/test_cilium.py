"""What can be said of the real cluster without one: who may have it, and its objects."""

import os

import pytest

from tests.parts import cache
from tests.parts.cilium import fixtures, leftovers, manifests, programs, standard


def test_whoever_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user's tests do not run, and say why."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(cache.Missing, match="need root: run the tests as root"):
        programs.programs()


def test_a_missing_tool_is_told_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be installed, the reason names what to install."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(cache.Missing, match="install clang-19, iproute2, ipset, iptables"):
        programs.require_tools()


def test_a_pod_of_a_deployment_is_two_owners_away_from_it() -> None:
    """As its controllers would have made it; Hubble tells the workload by these."""
    labels = {"app": "web"}
    deployment, replica_set = manifests.owners("Deployment/web", "shop", labels)
    pod = manifests.pod("shop", "web-1", node="n1", labels=labels, workload="Deployment/web")
    assert (deployment["kind"], replica_set["kind"]) == ("Deployment", "ReplicaSet")
    name = replica_set["metadata"]["name"]
    assert pod["metadata"]["generateName"] == f"{name}-"
    owner = {**replica_set, "metadata": {"name": name, "uid": "u"}}
    assert manifests.owned(pod, owner)["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": name,
            "uid": "u",
            "controller": True,
        }
    ]


def test_the_standard_policies_are_one_of_each_kind() -> None:
    """Two of them alert nobody."""
    kinds = {policy["kind"] for policy in standard.policies()}
    assert kinds == {"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy"}
    alerting = [each for each in standard.policies() if each["metadata"].get("annotations")]
    assert len(standard.policies()) - len(alerting) == 2


def test_names_of_interfaces_are_short_enough() -> None:
    """Linux takes 15 characters."""
    assert all(len(leftovers.veth(number)) <= 15 for number in leftovers.NUMBERS)


def test_tests_of_the_cluster_go_to_one_worker() -> None:
    """All others go to whichever is free."""
    for nodeid in ("tests/real/test_x.py::test_a", "tests/contracts/h/test_r.py::test_a[real]"):
        assert fixtures.group(nodeid) == "cilium"
    for nodeid in ("tests/bus/test_x.py::test_real", "tests/contracts/h/test_r.py::test_a[x-y]"):
        assert fixtures.group(nodeid) == nodeid
