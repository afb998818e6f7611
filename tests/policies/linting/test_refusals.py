"""What is refused is told once, completely, and at the right place."""

import pytest

from tests.policies.builders import a_clusterwide_policy, a_network_policy, a_policy, ports
from tests.policies.linting.linted import findings, told

GOOD = {"ingress": [{"fromEntities": ["cluster"]}]}


def refusals(manifest):
    return [(path, rule) for rule, path in told(manifest)]


def test_every_fault_of_the_engine_is_found_not_only_the_first():
    """In one entry, in several, and in the other direction."""
    manifest = a_policy(
        ingress=[
            {"fromCIDR": ["10.0.0.0/33", "192.0.2.0/24", "nonsense"]},
            {"fromEntities": ["worl"], "toPorts": ports("70000/TCP")},
        ],
        egress=[{"toPorts": [{**ports("0/TCP")[0], "rules": {"http": [{}]}}]}],
    )
    assert [path for _, path in told(manifest)] == [
        "spec.ingress[0].fromCIDR[0]",
        "spec.ingress[0].fromCIDR[2]",
        "spec.ingress[1].fromEntities[0]",
        "spec.ingress[1].toPorts[0].ports[0].port",
        "spec.egress[0].toPorts[0].ports[0].port",
    ]


def test_all_that_a_spec_lacks_is_found():
    """Two faults at one place, and a third beyond them."""
    manifest = a_policy(**GOOD)
    manifest["spec"] = {"description": 5}
    messages = [finding.message for finding in findings(manifest)]
    assert len(messages) == 3
    assert "must have one of ingress, ingressDeny, egress and egressDeny" in messages
    assert "must have endpointSelector or nodeSelector" in messages


def test_a_bad_label_of_a_selector_is_named_by_its_key():
    """The engine speaks of the selector as a whole."""
    manifest = a_policy(subject={"matchLabels": {"app": "web", "tier": "a/b"}}, **GOOD)
    assert refusals(manifest) == [("spec.endpointSelector.matchLabels.tier", "refused-by-cilium")]


def test_a_value_that_both_refuse_is_told_once():
    """The schema and the engine agree about it."""
    manifest = a_policy(ingress=[{"fromCIDR": ["10.0.0.0/99"]}])
    assert refusals(manifest) == [("spec.ingress[0].fromCIDR[0]", "refused-by-cilium")]


def test_what_only_the_schema_refuses_is_told():
    """The engine takes lower-case protocols."""
    manifest = a_policy(ingress=[{"toPorts": ports("80/tcp")}])
    found = findings(manifest)
    assert [finding.rule.id for finding in found] == ["refused-by-schema"]
    assert found[0].hint == "did you mean TCP?"


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("fromEndpoint", "did you mean fromEndpoints?"),
        ("toPort", "did you mean toPorts?"),
        ("from", "did you mean fromEndpoints?"),
        ("fromFQDNs", "names are for egress only: toFQDNs"),
        ("zebra", ""),
    ],
)
def test_an_unknown_field_is_told_with_what_may_have_been_meant(field, hint):
    """At the field itself."""
    manifest = a_policy(ingress=[{"fromEntities": ["all"], field: []}])
    found = findings(manifest)
    assert [(finding.rule.id, finding.path[-1]) for finding in found] == [("unknown-field", field)]
    assert found[0].hint == hint


def test_a_clusterwide_policy_may_select_nodes_and_a_namespaced_one_may_not():
    """One fault, told once."""
    spec = {"nodeSelector": {"matchLabels": {"a": "b"}}, **GOOD}
    clusterwide, namespaced = a_clusterwide_policy(), a_policy()
    clusterwide["spec"] = namespaced["spec"] = spec
    assert told(clusterwide) == []
    assert told(namespaced) == [("refused-by-cilium", "spec.nodeSelector")]


def test_node_selectors_are_taken_where_cilium_runs_with_them():
    """An option of the agent."""
    manifest = a_clusterwide_policy(ingress=[{"fromNodes": [{"matchLabels": {"a": "b"}}]}])
    assert told(manifest) == [("refused-by-cilium", "spec.ingress[0].fromNodes[0]")]
    assert told(manifest, node_selector_labels=True) == []


@pytest.mark.parametrize(
    ("path", "spec"),
    [
        ("spec.policyTypes[0]", {"policyTypes": ["ingress"]}),
        ("spec.policyTypes", {"policyTypes": ["Ingress", "Egress", "Ingress"]}),
        ("spec.endpointSelector", {"endpointSelector": {}}),
        ("spec.ingress[0].from[0]", {"ingress": [{"from": [{}]}]}),
        ("spec.ingress[0].from[0].podSelector.matchLabel", {"ingress": [{"from": [{"podSelector": {"matchLabel": {}}}]}]}),
        ("spec.ingress[0].ports[0].port", {"ingress": [{"ports": [{"port": "80"}]}]}),
        ("spec.ingress[0].ports[0].port", {"ingress": [{"ports": [{"port": 0}]}]}),
        ("spec.ingress[0].ports[0].port", {"ingress": [{"ports": [{"port": "HTTP"}]}]}),
        ("spec.ingress[0].ports[0].endPort", {"ingress": [{"ports": [{"port": "http", "endPort": 9}]}]}),
        ("spec.ingress[0].ports[0].endPort", {"ingress": [{"ports": [{"endPort": 9}]}]}),
        ("spec.ingress[0].ports[0].protocol", {"ingress": [{"ports": [{"protocol": "tcp"}]}]}),
        (
            "spec.egress[0].to[0].ipBlock.except[0]",
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}]},
        ),
        ("spec.egress[0].to[0].ipBlock.cidr", {"egress": [{"to": [{"ipBlock": {}}]}]}),
        (
            "spec.egress[0].to[0].ipBlock",
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]},
        ),
        ("spec.ingress[0].ports", {"ingress": [{"ports": {"port": 80}}]}),
        ("spec.podSelector.matchLabels.tier", {"podSelector": {"matchLabels": {"tier": 1}}}),
        ("spec.ingress[0].ports[0].port", {"ingress": [{"ports": [{"port": 70_000}]}]}),
        ("spec.podSelector.matchLabels.tier", {"podSelector": {"matchLabels": {"tier": "a b"}}}),
        ('spec.podSelector.matchLabels["k8s:tier"]', {"podSelector": {"matchLabels": {"k8s:tier": "a"}}}),
        (
            "spec.podSelector.matchExpressions[0].values",
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        ),
        (
            "spec.ingress[0].from[0].podSelector.matchExpressions[0].values",
            {"ingress": [{"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}]}]},
        ),
        (
            "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].values[0]",
            {"ingress": [{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b c"]}]}}]}]},
        ),
        (
            "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].operator",
            {"ingress": [{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "in"}]}}]}]},
        ),
        (
            "spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].key",
            {"ingress": [{"from": [{"namespaceSelector": {"matchExpressions": [{"key": "-a", "operator": "Exists"}]}}]}]},
        ),
    ],
)  # fmt: skip
def test_the_api_server_refuses_network_policies(path, spec):
    """By its own validation; Cilium takes most of these, and makes of them what it can."""
    assert path in [found for _, found in told(a_network_policy(**spec))]


@pytest.mark.parametrize(
    ("path", "metadata"),
    [
        ("metadata", {}),
        ("metadata.name", {"name": "Web"}),
        ("metadata.name", {"name": "a" * 254}),
        ("metadata.name", {"name": 5}),
        ("metadata.namespace", {"name": "web", "namespace": "a.b"}),
        ('metadata.labels["a b"]', {"name": "web", "labels": {"a b": "c"}}),
        ('metadata.labels["A/b"]', {"name": "web", "labels": {"A/b": "c"}}),
        ("metadata.labels.a", {"name": "web", "labels": {"a": "b c"}}),
        ("metadata.labels.a", {"name": "web", "labels": {"a": True}}),
        ("metadata.annotations.a", {"name": "web", "annotations": {"a": 5}}),
        ("metadata.annotations", {"name": "web", "annotations": {"a": "x" * 300_000}}),
        ("metadata.labels", {"name": "web", "labels": ["a"]}),
    ],
)
def test_the_api_server_refuses_metadata(path, metadata):
    """Told once, though the engine or the schema may refuse it as well."""
    manifest = a_network_policy() | {"metadata": metadata}
    assert told(manifest) == [("bad-metadata", path)]
    manifest = a_policy(**GOOD) | {"metadata": metadata}
    assert [found for found in told(manifest) if found[1].startswith(path)] == [
        ("bad-metadata", path)
    ]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"apiVersion": "cilium.io/v1"}, "unknown-kind"),
        ({"apiVersion": "extensions/v1beta1", "kind": "NetworkPolicy"}, "unknown-kind"),
        ({"kind": "CiliumNetworkPolicies"}, "unknown-kind"),
        ({"kind": "Ciliumnetworkpolicy"}, "unknown-kind"),
        ({"apiVersion": "cilum.io/v2"}, "unknown-kind"),
        ({"apiVersion": None}, "unknown-kind"),
        ({"kind": None}, "unknown-kind"),
        ({"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy"}, None),
        ({"apiVersion": "cilium.io/v2", "kind": "CiliumNode"}, None),
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, None),
    ],
)
def test_what_was_to_be_a_policy_is_told_apart_from_what_is_none(changes, rule):
    """Objects of other kinds stand beside policies."""
    manifest = {**a_policy(**GOOD), **changes}
    assert [found for found, _ in told(manifest)] == ([rule] if rule else [])


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"kind": "CiliumNetworkPolicy", "apiVersion": "cilium.io/v2"},
        {"kind": "CiliumNetworkPolicy", "apiVersion": "cilium.io/v2", "metadata": [], "spec": []},
        {"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1", "metadata": {}, "spec": 5},
        {"kind": ["x"], "apiVersion": {"a": 1}, "spec": {"endpointSelector": None}},
        a_policy() | {"spec": None, "specs": [None, 5, {"ingress": [None, 5]}]},
        a_policy(ingress={"a": 1}, egress=[[[]]], enableDefaultDeny=[]),
        a_policy(ingress=[{"toPorts": [{"ports": [5, None]}], "fromCIDRSet": [{"except": 5}]}]),
        a_network_policy(ingress=[None, {"from": [None], "ports": [None]}], policyTypes={"a": 1}),
    ],
)
def test_nonsense_ends_in_findings(manifest):
    """Never in a fault of the linter."""
    for path in (found.path for found in findings(manifest)):
        assert isinstance(path, tuple)
