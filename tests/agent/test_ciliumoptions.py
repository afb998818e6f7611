"""Cilium's ConfigMap as matching reads it."""

import pytest

from agent import ciliumoptions, shaping
from policies import options


def read(**data):
    config = shaping.Config(
        data={key.replace("_", "-"): value for key, value in data.items()},
        changed_at=None,
        created_at=None,
    )
    return options.parse(ciliumoptions.wanted("cilium-config", config)[1].manifest)


def test_what_is_not_said_is_as_cilium_has_it():
    """The host firewall is off unless the ConfigMap says otherwise."""
    assert read() == options.Options(host_firewall=False)


def test_all_options_are_read():
    """As the chart of Cilium writes them: text, whatever they mean."""
    assert read(
        cluster_name="Prod",
        enable_policy="Always",
        allow_localhost="policy",
        policy_default_local_cluster="false",
        enable_host_firewall="true",
        enable_node_selector_labels="true",
    ) == options.Options(
        cluster_name="Prod",
        enforcement=options.Enforcement.ALWAYS,
        host_always_allowed=False,
        default_local_cluster=False,
        host_firewall=True,
        node_selector_labels=True,
    )


@pytest.mark.parametrize("word", ["1", "t", "True", "TRUE"])
def test_words_for_true_are_those_of_go(word):
    """So that no spelling is a surprise."""
    assert read(enable_host_firewall=word).host_firewall


def test_a_word_that_is_none_is_passed_over_and_named():
    """The defaults hold then."""
    config = shaping.Config(
        data={"policy-default-local-cluster": "maybe"}, changed_at=None, created_at=None
    )
    assert ciliumoptions.unread(config) == ["policy-default-local-cluster"]
    assert read(policy_default_local_cluster="maybe").default_local_cluster
