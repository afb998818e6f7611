"""What the doctor says of a real API server."""

import pytest

from agent.settings import AgentSettings
from cli.doctor import cluster
from cli.doctor.finding import State
from tests.cli.doctor.examined import about

pytestmark = pytest.mark.kubernetes

POLICY = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {
        "name": "doctored",
        "labels": {"app.gitlab.com/proj": "42"},
        "annotations": {"app.gitlab.com/alert": "true"},
    },
    "spec": {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}]}]},
}


def examined(kubeconfig):
    return list(cluster.examine(AgentSettings(cluster="demo", kubeconfig=kubeconfig)))


def test_an_administrator_may_all_and_sees_the_policies(control_plane, namespace):
    """The server answers, every right is there, and the alerting policies are counted."""
    control_plane.apply([{**POLICY, "metadata": {**POLICY["metadata"], "namespace": namespace}}])
    found = examined(control_plane.kubeconfig)
    assert about(found, "API server").state is State.FINE
    assert about(found, "rights").state is State.FINE
    assert "0 of them alert" not in about(found, "policies").what


def test_missing_rights_are_named_with_the_rule(control_plane, namespace):
    """As a service account without any."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    control_plane.apply([{**account, "metadata": {"name": "nobody", "namespace": namespace}}])
    token = control_plane.service_account_token(namespace, "nobody")
    found = examined(control_plane.kubeconfig_for(token, name="nobody"))
    rights = about(found, "rights")
    assert rights.state is State.PROBLEM
    assert "9 are missing" in rights.what
    assert "resources: [configmaps]" in rights.next
    assert "verbs: [list, watch]" in rights.next


def test_a_wrong_token_is_told(control_plane):
    """Once, with what to do."""
    (found,) = examined(control_plane.kubeconfig_for("no-such-token", name="stranger"))
    assert found.state is State.PROBLEM
    assert "credentials" in found.next
