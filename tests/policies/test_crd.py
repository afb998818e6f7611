"""What the CRD side refuses, without Cilium or Kubernetes: paths, words and stages."""

import copy
from typing import Any

import pytest

from policies import crd
from policies.model import CCNP
from tests.policies.builders import a_clusterwide_policy, a_network_policy, a_policy, ports

PORTS = ports("80/TCP")[0]
PROTOCOLS = "must be one of TCP, UDP, SCTP, VRRP, IGMP, ANY"
NAME = "must match ^([-a-zA-Z0-9_]+[.]?)+$"
INIT = {"matchLabels": {"reserved:init": ""}}


def found(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.stage.value, str(each)) for each in crd.check(manifest)]


def test_a_valid_policy_is_taken():
    """Of either kind, and with every section."""
    sections = {"ingress": [{"fromEndpoints": [{}], "toPorts": [PORTS]}], "egressDeny": [{}]}
    for manifest in (a_policy(**sections), a_clusterwide_policy(**sections)):
        assert crd.check(manifest) == ()
        assert not crd.refuses(manifest)


def test_kinds_without_a_crd_are_left_alone():
    """A NetworkPolicy is the API server's own business, and so is whatever has no kind."""
    for manifest in (a_network_policy(nonsense=1), {"kind": "Pod", "spec": 1}, {}):
        assert crd.check(manifest) == ()
        assert not crd.refuses(manifest)


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        (
            f"spec.ingress[0].toPorts[0].ports[0].protocol: {PROTOCOLS}, not 'tcp'",
            {"ingress": [{"toPorts": ports("80/tcp")}]},
        ),
        (
            "spec: must have at least one of ingress, ingressDeny, egress and egressDeny",
            {"description": "x"},
        ),
        (
            "spec: must have exactly one of endpointSelector and nodeSelector",
            {"ingress": [{}], "nodeSelector": {}},
        ),
        (
            "spec.egress[0].toCIDR[0]: must be a CIDR such as 10.0.0.0/8, not '10.0.0.1'",
            {"egress": [{"toCIDR": ["10.0.0.1"]}]},
        ),
        (
            "spec.ingress[0].fromEntities: must be a list, not a string",
            {"ingress": [{"fromEntities": "all"}]},
        ),
        (
            "spec.ingress[0].icmps[0].fields: must have at most 40 entries",
            {"ingress": [{"icmps": [{"fields": [{"type": 8}] * 41}]}]},
        ),
        (
            "spec.ingress[0].icmps[0].fields[0]: must have type",
            {"ingress": [{"icmps": [{"fields": [{"family": "IPv4"}]}]}]},
        ),
        (
            "spec.ingress[0].toPorts[0].ports[0].endPort: must be at most 65535",
            {"ingress": [{"toPorts": [{"ports": [{"port": "80", "endPort": 65536}]}]}]},
        ),
        (
            "spec.egress[0].toPorts[0].serverNames: must not list anything twice",
            {"egress": [{"toPorts": [{**PORTS, "serverNames": ["a", "a"]}]}]},
        ),
        (
            "spec.ingress[0].fromCIDR[0]: must be a string, not null",
            {"ingress": [{"fromCIDR": [None]}]},
        ),
        (
            f"spec.egress[0].toFQDNs[0].matchName: {NAME}, but is 'example.com\\n'",
            {"egress": [{"toFQDNs": [{"matchName": "example.com\n"}]}]},
        ),
        (
            "spec.enableDefaultDeny.ingress: must be true or false, not a string",
            {"ingress": [{}], "enableDefaultDeny": {"ingress": "no"}},
        ),
    ],
)
def test_the_schema_says_where_and_what(text, sections):
    """One finding, at the value that is wrong."""
    manifest = a_policy(**sections)
    assert found(manifest) == [("schema", text)]


def test_uniqueness_is_the_api_servers_alone():
    """Cilium's own check of stored policies does not look at it."""
    manifest = a_policy(egress=[{"toPorts": [{**PORTS, "serverNames": ["a", "a"]}]}])
    assert not crd.refuses(manifest)


def test_each_spec_of_specs_is_checked():
    """And the path says which."""
    manifest = a_policy(ingress=[{}])
    manifest["specs"] = [manifest.pop("spec"), {"endpointSelector": {}}]
    assert [text.partition(":")[0] for _, text in found(manifest)] == ["specs[1]"]


@pytest.mark.parametrize(
    ("path", "sections"),
    [
        ("spec.policyTypes", {"ingress": [{}], "policyTypes": ["Ingress"]}),
        ("spec.ingress[0].toPort", {"ingress": [{"toPort": [PORTS]}]}),
        ("spec.ingress[0].toFQDNs", {"ingress": [{"toFQDNs": [{"matchName": "a"}]}]}),
        ("spec.egressDeny[0].toPorts[0].rules", {"egressDeny": [{"toPorts": [{"rules": {}}]}]}),
        (
            "spec.ingress[0].fromEndpoints[0].matchExpressions[0].value",
            {
                "ingress": [
                    {
                        "fromEndpoints": [
                            {"matchExpressions": [{"key": "a", "operator": "Exists", "value": 1}]}
                        ]
                    }
                ]
            },
        ),
    ],
)
def test_a_field_that_the_schema_does_not_know_is_told(path, sections):
    """The API server would drop it, and what its author meant with it."""
    text = f"{path}: is not a field that the API server knows"
    assert found(a_policy(**sections)) == [("unknown-field", text)]


def test_labels_may_have_any_key():
    """Where the user makes the keys, none is unknown."""
    manifest = a_policy(
        subject={"matchLabels": {"k8s:a/b": "c"}},
        ingress=[{}],
        labels={"team": "x"},
        annotations={"a": "b"},
    )
    assert crd.check(manifest) == ()


def test_an_unknown_field_without_a_value_is_told_to_people_only():
    """Cilium's own check compares values by their paths, so it misses an empty one."""
    manifest = a_policy(ingress=[{"foo": {"bar": []}}])
    assert [stage for stage, _ in found(manifest)] == ["unknown-field"]
    assert not crd.refuses(manifest)


@pytest.mark.parametrize(
    "sections",
    [
        {"ingress": [{"toPorts": [{"ports": [{"port": "80", "endPort": 0}]}]}]},
        {"ingress": [{}], "description": ""},
        {
            "egress": [
                {"toPorts": [{**PORTS, "listener": {"name": "l", "envoyConfig": {"name": "e"}}}]}
            ]
        },
        {"ingress": [{"fromGroups": [{"aws": {"region": ""}}]}]},
    ],
)
def test_what_gos_types_write_otherwise_is_refused_by_ciliums_check_alone(sections):
    """A zero that is left out, or a field that is added: the API server does not mind."""
    manifest = a_policy(**sections)
    assert crd.check(manifest) == ()
    assert crd.refuses(manifest)


def test_a_null_is_absence_to_the_api_server_alone():
    """So a policy with one is stored, and one that has nothing else is not."""
    manifest = a_policy(ingress=[{"fromEndpoints": None}], egress=None)
    assert crd.check(manifest) == ()
    assert crd.refuses(manifest)
    manifest["spec"]["ingress"] = None
    assert [text.partition(":")[0] for _, text in found(manifest)] == ["spec"]


def test_a_false_default_deny_is_kept():
    """It is a pointer in Go: false is not absence."""
    assert not crd.refuses(a_policy(ingress=[{}], enableDefaultDeny={"ingress": False}))


def test_a_policy_as_the_cluster_has_it_is_taken():
    """With what the API server and Cilium's operator add to it."""
    manifest = a_policy(ingress=[{}])
    manifest["metadata"] |= {
        "uid": "1",
        "resourceVersion": "2",
        "generation": 1,
        "creationTimestamp": None,
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {".": {}}}}],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1"}],
    }
    manifest["status"] = {
        "conditions": [
            {"type": "Valid", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ]
    }
    assert crd.check(manifest) == ()
    assert not crd.refuses(manifest)


def test_only_a_clusterwide_policy_may_select_init():
    """By label or by expression; the API server takes both kinds."""
    by_key = {"matchExpressions": [{"key": "reserved.init", "operator": "Exists"}]}
    for subject in (INIT, by_key):
        assert found(a_policy(subject=subject, ingress=[{}])) == [
            (
                "preflight",
                f"spec.endpointSelector: only a {CCNP} may select reserved:init",
            )
        ]
        assert crd.check(a_clusterwide_policy(subject=subject, ingress=[{}])) == ()


def test_an_icmp_name_of_the_other_family_is_found_before_the_engine_does():
    """The schema has one list of names for both families."""
    fields = [{"type": "NeighborSolicitation"}]
    manifest = a_policy(ingress=[{"icmps": [{"fields": fields}]}])
    assert [stage for stage, _ in found(manifest)] == ["preflight"]
    fields[0]["family"] = "IPv6"
    assert crd.check(manifest) == ()


@pytest.mark.parametrize(
    "prefix", ["10.0.0.0/08", "010.0.0.0/8", "::/0", "::ffff:10.0.0.0/104", "10.1.2.3/8"]
)
def test_a_cidr_is_read_as_kubernetes_does(prefix):
    """Which takes leading zeros, unlike Cilium's engine."""
    assert crd.check(a_policy(egress=[{"toCIDR": [prefix]}])) == ()


@pytest.mark.parametrize(
    "prefix", ["", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "fe80::1%eth0/64", "10.0.0/8", "٣/8"]
)
def test_what_is_no_cidr_is_refused(prefix):
    """Without a prefix length, with a zone, out of range."""
    assert [stage for stage, _ in found(a_policy(egress=[{"toCIDR": [prefix]}]))] == ["schema"]


def test_checking_changes_nothing():
    """The manifest is the caller's."""
    manifest = a_policy(ingress=[{"foo": 1}], subject=INIT)
    before = copy.deepcopy(manifest)
    crd.check(manifest)
    crd.refuses(manifest)
    assert manifest == before
