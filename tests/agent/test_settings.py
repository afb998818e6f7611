"""What the agent can be told."""

import pytest

from agent.settings import AgentSettings
from runtime.errors import UserError


def load(**flags):
    return AgentSettings.load("agent", flags=flags, environment={})


def test_any_one_source_will_do(tmp_path):
    """A folder, a kubeconfig, or the cluster that the agent is in."""
    file = tmp_path / "kubeconfig"
    file.touch()
    assert load(policies=tmp_path).policies == tmp_path
    assert load(kubeconfig=file, kube_context="one").kubeconfig == file
    assert load(in_cluster=True).in_cluster


@pytest.mark.parametrize("flags", [{}, {"policies": "/", "in_cluster": True}])
def test_none_or_two_sources_are_a_mistake(flags):
    """The line names all three."""
    with pytest.raises(UserError, match="exactly one of --policies, --kubeconfig and --in-cluster"):
        load(**flags)


def test_a_context_needs_its_kubeconfig():
    """Elsewhere it means nothing."""
    with pytest.raises(UserError, match="--kube-context"):
        load(in_cluster=True, kube_context="one")
