"""The edge cases of Cilium's rules, one by one, as its own engine answered them."""

import pytest

from policies.evaluating import decide
from policies.flows import Direction, Protocol
from policies.labels import LabelSet
from policies.options import Enforcement, Options
from tests.policies.builders import (
    HOST,
    INIT,
    REMOTE_NODE,
    WORLD,
    a_clusterwide_policy,
    a_network_policy,
    a_pod,
    a_policy,
    a_query,
    a_repository,
    from_app,
    policy_of,
    ports,
)

WEB = a_pod("web")
API = a_pod("api")
OTHER = a_pod("api", namespace="other")
FAR = a_pod("api", cluster="c2")
UPSTREAM = LabelSet.of(["cidr:10.1.2.3/32", "reserved:world"])
ALL = {"ingress": [{"fromEntities": ["all"]}]}


def ingress(peer, *manifests, options=None, subject=WEB, **query) -> str:
    """What becomes of a flow to app=web."""
    return str(
        decide(policy_of(subject, *manifests, options=options), a_query(peer, **query)).decision
    )


def egress(peer, *manifests, **query) -> str:
    """What becomes of a flow from app=web."""
    asked = a_query(peer, direction=Direction.EGRESS, **query)
    return str(decide(policy_of(WEB, *manifests), asked).decision)


def test_an_empty_ingress_rule_of_cilium_denies_all_and_of_kubernetes_allows_all():
    """The same words mean opposite things."""
    assert ingress(API, a_policy(ingress=[{}])) == "default-deny"
    assert ingress(WORLD, a_network_policy(ingress=[{}])) == "allowed"


@pytest.mark.parametrize("more", [{}, {"toPorts": ports("80/TCP")}, {"fromEntities": ["all"]}])
def test_an_empty_list_of_peers_selects_nobody(more):
    """With or without ports, and whatever stands beside it."""
    assert ingress(API, a_policy(ingress=[{"fromEndpoints": [], **more}])) == "default-deny"


def test_ports_without_peers_are_open_to_anyone():
    """Even to the world."""
    assert ingress(WORLD, a_policy(ingress=[{"toPorts": ports("80/TCP")}])) == "allowed"


def test_an_empty_selector_is_the_policys_namespace_or_any_pod_of_the_cluster():
    """In a clusterwide policy it leaves out what is no pod."""
    rule = [{"fromEndpoints": [{}]}]
    assert ingress(API, a_policy(ingress=rule)) == "allowed"
    assert ingress(OTHER, a_policy(ingress=rule)) == "default-deny"
    assert ingress(OTHER, a_clusterwide_policy(ingress=rule)) == "allowed"
    assert ingress(REMOTE_NODE, a_clusterwide_policy(ingress=rule)) == "default-deny"
    assert ingress(FAR, a_clusterwide_policy(ingress=rule)) == "default-deny"


def test_no_ports_are_no_limit_but_an_entry_without_ports_matches_nothing():
    """`toPorts: []` against `toPorts: [{}]`."""
    assert ingress(API, a_policy(ingress=[{**from_app("api"), "toPorts": []}])) == "allowed"
    assert ingress(API, a_policy(ingress=[{**from_app("api"), "toPorts": [{}]}])) == "default-deny"


def test_an_empty_deny_rule_denies_nothing():
    """It puts nobody in the position of being denied, but the subject under default deny."""
    assert ingress(API, a_policy(ingressDeny=[{}], **ALL)) == "allowed"


def test_deny_rules_alone_deny_by_default_unless_switched_off():
    """`enableDefaultDeny` leaves the explicit denies as they are."""
    deny = [from_app("batch")]
    assert ingress(API, a_policy(ingressDeny=deny)) == "default-deny"
    off = a_policy(ingressDeny=deny, enableDefaultDeny={"ingress": False})
    assert ingress(API, off) == "allowed"
    assert ingress(a_pod("batch"), off) == "denied"


def test_default_deny_without_rules_does_nothing():
    """A direction without rules is not enforced."""
    policy = a_policy(egress=[{}], enableDefaultDeny={"ingress": True})
    assert ingress(API, policy) == "allowed"


def test_a_deny_wins_whatever_its_specificity():
    """A narrow allow does not cut a hole into a broad deny."""
    policy = a_policy(ingressDeny=[{"fromEntities": ["all"]}], ingress=[from_app("api", "80/TCP")])
    assert ingress(API, policy) == "denied"


def test_a_rule_for_icmp_only_blocks_tcp_and_a_port_rule_blocks_icmp():
    """Port 0 of any protocol is TCP, UDP and SCTP; a rule without ports covers all."""
    icmp = a_policy(ingress=[{"icmps": [{"fields": [{"type": 8}]}]}])
    any_port = a_policy(ingress=[{"toPorts": ports("0/ANY")}])
    assert ingress(API, icmp) == "default-deny"
    assert ingress(API, icmp, protocol=Protocol.ICMP, port=8) == "allowed"
    assert ingress(API, any_port, protocol=Protocol.SCTP, port=7) == "allowed"
    assert ingress(API, any_port, protocol=Protocol.ICMP, port=8) == "default-deny"
    assert ingress(API, a_policy(ingress=[from_app("api")]), protocol=Protocol.ICMP) == "allowed"


def test_icmp_types_have_names_in_each_family():
    """EchoRequest is 8 in the one and 128 in the other."""
    fields = [{"type": "EchoRequest"}, {"type": "EchoRequest", "family": "IPv6"}]
    policy = a_policy(ingress=[{"icmps": [{"fields": fields}]}])
    assert ingress(API, policy, protocol=Protocol.ICMP, port=8) == "allowed"
    assert ingress(API, policy, protocol=Protocol.ICMPV6, port=128) == "allowed"
    assert ingress(API, policy, protocol=Protocol.ICMPV6, port=8) == "default-deny"


def test_entity_cluster_leaves_out_pods_of_other_clusters():
    """And takes in what belongs to the cluster without being a pod."""
    policy = a_policy(ingress=[{"fromEntities": ["cluster"]}])
    assert ingress(OTHER, policy) == "allowed"
    assert ingress(REMOTE_NODE, policy) == "allowed"
    assert ingress(FAR, policy) == "default-deny"
    assert ingress(WORLD, policy) == "default-deny"


def test_cidr_rules_are_about_unmanaged_addresses_only():
    """A pod's address is not one of them, though it lies within."""
    policy = a_policy(ingress=[{"fromCIDR": ["10.0.0.0/8"]}])
    assert ingress(UPSTREAM, policy, ip="10.1.2.3") == "allowed"
    assert ingress(UPSTREAM, policy, ip="192.0.2.1") == "default-deny"
    assert ingress(API, policy, ip="10.1.2.3") == "default-deny"


def test_exceptions_hit_their_own_entry_only():
    """A second entry lets in again what the first left out."""
    rule = {"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}
    assert ingress(UPSTREAM, a_policy(ingress=[rule]), ip="10.1.2.3") == "default-deny"
    more = {"fromCIDRSet": [*rule["fromCIDRSet"], {"cidr": "10.1.2.0/24"}]}
    assert ingress(UPSTREAM, a_policy(ingress=[more]), ip="10.1.2.3") == "allowed"


def test_cidr_groups_are_looked_up_by_name_and_by_label():
    """A group that is not there is nobody."""
    group = {
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": "g", "labels": {"role": "upstream"}},
        "spec": {"externalCIDRs": ["10.1.0.0/16"]},
    }
    by_name = a_policy(ingress=[{"fromCIDRSet": [{"cidrGroupRef": "g"}]}])
    chosen = {"cidrGroupSelector": {"matchLabels": {"role": "upstream"}}, "except": ["10.1.9.0/24"]}
    by_label = a_policy(ingress=[{"fromCIDRSet": [chosen]}])
    assert ingress(UPSTREAM, by_name, ip="10.1.2.3") == "default-deny"
    assert ingress(UPSTREAM, by_name, group, ip="10.1.2.3") == "allowed"
    assert ingress(UPSTREAM, by_label, group, ip="10.1.2.3") == "allowed"
    assert ingress(UPSTREAM, by_label, group, ip="10.1.9.3") == "default-deny"


@pytest.mark.parametrize(
    ("expressions", "selected"),
    [
        ([], {"both", "partner", "elsewhere", "pod"}),
        ([("tier", "In", ["cdn"])], {"both"}),
        ([("tier", "Exists", None)], {"both", "partner"}),
        ([("tier", "NotIn", ["cdn"])], {"partner", "elsewhere", "pod"}),
        ([("tier", "DoesNotExist", None)], {"elsewhere", "pod"}),
        ([("tier", "Exists", None), ("tier", "NotIn", ["cdn"])], {"partner"}),
        ([("tier", "In", ["cdn"]), ("area", "In", ["eu"])], {"both"}),
    ],
)
def test_an_address_has_the_labels_of_all_its_groups_and_a_pod_of_none(expressions, selected):
    """Cilium compares the selector with the labels of every peer, whatever it is."""
    groups = [
        {"kind": "CiliumCIDRGroup", "metadata": {"name": name, "labels": labels}, "spec": spec}
        for name, labels, spec in (
            ("partners", {"tier": "partner", "area": "eu"}, {"externalCIDRs": ["10.1.0.0/16"]}),
            ("cdn", {"tier": "cdn"}, {"externalCIDRs": ["10.1.2.0/24"]}),
        )
    ]
    written = [
        {"key": key, "operator": operator, **({"values": values} if values else {})}
        for key, operator, values in expressions
    ]
    block = {"cidrGroupSelector": {"matchExpressions": written}}
    policy = a_policy(ingress=[{"fromCIDRSet": [block]}])
    tried = {
        "both": (UPSTREAM, "10.1.2.3"),
        "partner": (UPSTREAM, "10.1.9.9"),
        "elsewhere": (WORLD, "192.0.2.1"),
        "pod": (API, "10.1.2.4"),
    }
    found = {
        name
        for name, (peer, ip) in tried.items()
        if ingress(peer, policy, *groups, ip=ip) == "allowed"
    }
    assert found == selected


def test_names_match_by_the_labels_of_the_identity():
    """Cilium decides by the patterns that it attached to the address, not by its names."""
    policy = a_policy(egress=[{"toFQDNs": [{"matchPattern": "*.Example.com"}]}])
    known = LabelSet.of(["fqdn:*.example.com", "reserved:world"])
    assert egress(known, policy, ip="198.51.100.1") == "allowed"
    assert egress(WORLD, policy, ip="198.51.100.1") == "default-deny"


def test_services_are_their_pods_or_else_their_addresses():
    """In the service's namespace and the local cluster."""
    with_pods = {
        "kind": "Service",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {"selector": {"app": "api"}},
    }
    without = {"kind": "Service", "metadata": {"name": "ext", "namespace": "shop"}, "spec": {}}
    slices = {
        "kind": "EndpointSlice",
        "metadata": {
            "name": "ext-1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "ext"},
        },
        "endpoints": [{"addresses": ["10.1.2.3"]}],
    }
    services = (with_pods, without, slices)
    to_api = a_policy(egress=[{"toServices": [{"k8sService": {"serviceName": "api"}}]}])
    to_ext = a_policy(
        egress=[{"toServices": [{"k8sService": {"serviceName": "ext", "namespace": "shop"}}]}]
    )
    assert egress(API, to_api, *services) == "allowed"
    assert egress(OTHER, to_api, *services) == "default-deny"
    assert egress(UPSTREAM, to_ext, *services, ip="10.1.2.3") == "allowed"
    assert egress(UPSTREAM, to_ext, *services, ip="10.1.2.4") == "default-deny"


def test_the_host_gets_through_unless_denied_or_switched_off():
    """`allow-localhost` as Kubernetes has it by default."""
    shut = a_policy(ingress=[{}])
    assert ingress(HOST, shut) == "allowed"
    strict = Options(cluster_name="c1", host_always_allowed=False)
    assert ingress(HOST, shut, options=strict) == "default-deny"
    assert ingress(HOST, a_policy(ingressDeny=[{"fromEntities": ["host"]}])) == "denied"


def test_named_ports_are_the_subjects_own_on_ingress_and_everybodys_on_egress():
    """A name with two numbers means neither of them."""

    def named(*numbers: int) -> dict:
        pods = [
            {"labels": {"app": f"a{number}"}, "ports": [{"name": "http", "port": number}]}
            for number in numbers
        ]
        return {"kind": "NamedPorts", "metadata": {"namespace": "shop"}, "spec": {"pods": pods}}

    own = {
        "kind": "NamedPorts",
        "spec": {
            "pods": [
                {
                    "namespace": "shop",
                    "labels": {"app": "web"},
                    "ports": [{"name": "http", "port": 8080}],
                }
            ]
        },
    }
    inward = a_policy(ingress=[{"toPorts": ports("HTTP/TCP")}])
    outward = a_policy(egress=[{"toPorts": ports("http/TCP")}])
    assert ingress(API, inward, own, port=8080) == "allowed"
    assert ingress(API, inward, named(8080), port=8080) == "default-deny"
    assert egress(API, outward, named(8080), port=8080) == "allowed"
    assert egress(API, outward, named(8080, 9090), port=8080) == "default-deny"


def test_a_peer_selector_with_a_reserved_key_is_bound_to_nothing():
    """Neither to the namespace nor to the cluster."""
    rule = [{"fromEndpoints": [{"matchLabels": {"reserved:remote-node": ""}}]}]
    assert ingress(REMOTE_NODE, a_policy(ingress=rule)) == "allowed"


def test_saying_anything_about_the_namespace_takes_the_default_away():
    """NotIn too; the cluster default stays."""
    key = "k8s:io.kubernetes.pod.namespace"
    expression = {"key": key, "operator": "NotIn", "values": ["shop"]}
    policy = a_policy(ingress=[{"fromEndpoints": [{"matchExpressions": [expression]}]}])
    assert ingress(OTHER, policy) == "allowed"
    assert ingress(API, policy) == "default-deny"
    assert ingress(a_pod("api", "other", cluster="c2"), policy) == "default-deny"


def test_naming_a_cluster_takes_the_cluster_default_away():
    """And the option does so for all selectors."""
    rule = {"matchLabels": {"io.cilium.k8s.policy.cluster": "c2"}}
    assert ingress(FAR, a_policy(ingress=[{"fromEndpoints": [rule]}])) == "allowed"
    anywhere = Options(cluster_name="c1", default_local_cluster=False)
    assert ingress(FAR, a_policy(ingress=[from_app("api")]), options=anywhere) == "allowed"
    assert ingress(FAR, a_policy(ingress=[from_app("api")])) == "default-deny"


def test_without_a_configured_name_the_cluster_is_that_of_the_subject():
    """Nobody has to know Cilium's cluster name beforehand."""
    unnamed = Options()
    policy = a_policy(ingress=[from_app("api")])
    assert ingress(API, policy, options=unnamed) == "allowed"
    assert ingress(FAR, policy, options=unnamed) == "default-deny"


def test_a_foreign_namespace_in_the_subject_is_overwritten_or_selects_nobody():
    """With `k8s:` the former, with `any:` the latter."""

    def subject(key: str) -> dict:
        return {"matchLabels": {"app": "web", key: "other"}}

    key = "io.kubernetes.pod.namespace"
    assert ingress(API, a_policy(subject=subject(f"k8s:{key}"), ingress=[{}])) == "default-deny"
    assert ingress(API, a_policy(subject=subject(f"any:{key}"), ingress=[{}])) == "allowed"


def test_a_foreign_namespace_in_an_expression_selects_nobody():
    """Cilium overwrites labels only; an expression stays, and contradicts."""

    def subject(*values: str) -> dict:
        key = "k8s:io.kubernetes.pod.namespace"
        return {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}

    assert ingress(API, a_policy(subject=subject("other"), ingress=[{}])) == "allowed"
    assert ingress(API, a_policy(subject=subject("shop"), ingress=[{}])) == "default-deny"
    assert ingress(API, a_policy(subject=subject("shop", "other"), ingress=[{}])) == "default-deny"


def test_a_namespace_among_a_network_policys_labels_is_overwritten():
    """In the subject, and in a peer without a namespaceSelector."""
    key = "io.kubernetes.pod.namespace"
    labelled = {"matchLabels": {key: "other"}}
    said = {"matchExpressions": [{"key": key, "operator": "In", "values": ["other"]}]}
    assert ingress(API, a_network_policy(podSelector=labelled, ingress=[])) == "default-deny"
    assert ingress(API, a_network_policy(podSelector=said, ingress=[])) == "allowed"
    assert ingress(API, a_network_policy(ingress=[{"from": [{"podSelector": labelled}]}])) == (
        "allowed"
    )
    anywhere = {"podSelector": labelled, "namespaceSelector": {}}
    assert ingress(API, a_network_policy(ingress=[{"from": [anywhere]}])) == "default-deny"


@pytest.mark.parametrize(
    ("empty", "expected"),
    [
        ("toFQDNs", "allowed"),
        ("toServices", "allowed"),
        ("toGroups", "allowed"),
        ("toCIDR", "default-deny"),
        ("toCIDRSet", "default-deny"),
        ("toEntities", "default-deny"),
        ("toNodes", "default-deny"),
    ],
)
def test_an_empty_list_beside_peers(empty, expected):
    """Of some kinds it selects nobody, of others it is passed over."""
    assert egress(API, a_policy(egress=[{"toEndpoints": [{}], empty: []}])) == expected


def test_a_service_by_neither_name_nor_labels_is_none():
    """And with both, the labels count."""
    service = {
        "kind": "Service",
        "metadata": {"name": "api", "namespace": "shop", "labels": {"tier": "back"}},
        "spec": {"selector": {"app": "api"}},
    }
    labelled = {"k8sServiceSelector": {"selector": {"matchLabels": {"tier": "back"}}}}
    by_name = {"k8sService": {"serviceName": "nobody", "namespace": "shop"}}
    assert egress(API, a_policy(egress=[{"toServices": [{}]}]), service) == "default-deny"
    both = a_policy(egress=[{"toServices": [by_name | labelled]}])
    assert egress(API, both, service) == "allowed"


def test_a_clusterwide_empty_selector_selects_health_but_not_the_host():
    """The host has policies of its own, by nodeSelector and with the host firewall."""
    policy = a_clusterwide_policy(subject={}, ingress=[{}])
    health = LabelSet.of(["reserved:health"])
    firewall = Options(cluster_name="c1", host_firewall=True)
    none = Options(cluster_name="c1", host_firewall=False)
    assert ingress(API, policy, subject=health) == "default-deny"
    assert ingress(WORLD, policy, subject=HOST, options=firewall) == "allowed"
    policy["spec"]["nodeSelector"] = policy["spec"].pop("endpointSelector")
    assert ingress(WORLD, policy, subject=HOST, options=firewall) == "default-deny"
    assert ingress(WORLD, policy, subject=HOST, options=none) == "allowed"
    assert ingress(API, policy, subject=health) == "allowed"


def test_initializing_endpoints_are_denied_by_default_without_any_policy():
    """They have no labels yet by which a policy could select them."""
    found = decide(policy_of(INIT), a_query(API))
    assert (found.decision, found.enforced) == ("default-deny", True)


def test_enforcement_modes():
    """`always` denies without any policy, `never` allows with one."""
    always = Options(cluster_name="c1", enforcement=Enforcement.ALWAYS)
    never = Options(cluster_name="c1", enforcement=Enforcement.NEVER)
    assert ingress(API, options=always) == "default-deny"
    assert ingress(API, a_policy(ingress=[{}]), options=never) == "allowed"


def test_network_policies_enforce_egress_rules_whatever_the_types_say():
    """Unlike Kubernetes has it; without types, ingress is denied as well."""
    to_api = [{"to": [{"podSelector": {"matchLabels": {"app": "api"}}}]}]
    named = a_network_policy(egress=to_api, policyTypes=["Ingress"])
    assert egress(a_pod("db"), named) == "default-deny"
    assert ingress(API, a_network_policy(egress=to_api)) == "default-deny"
    assert ingress(API, a_network_policy(egress=to_api, policyTypes=["Egress"])) == "allowed"


def test_network_policy_peers():
    """Entries are alternatives; the two selectors of one entry must both hold."""
    db = {"podSelector": {"matchLabels": {"app": "db"}}}
    both = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}, **db}
    policy = a_network_policy(ingress=[{"from": [both, {"ipBlock": {"cidr": "10.1.0.0/16"}}]}])
    assert ingress(a_pod("db", "other"), policy) == "allowed"
    assert ingress(a_pod("db"), policy) == "default-deny"
    assert ingress(OTHER, policy) == "default-deny"
    assert ingress(UPSTREAM, policy, ip="10.1.2.3") == "allowed"
    assert (
        ingress(OTHER, a_network_policy(ingress=[{"from": [{"namespaceSelector": {}}]}]))
        == "allowed"
    )


def test_a_network_policy_port_without_protocol_is_tcp():
    """And without a number every port."""
    policy = a_network_policy(ingress=[{"ports": [{"port": 80, "endPort": 90}]}])
    assert ingress(API, policy, port=85) == "allowed"
    assert ingress(API, policy, port=85, protocol=Protocol.UDP) == "default-deny"
    assert ingress(API, a_network_policy(ingress=[{"ports": [{}]}]), port=7) == "allowed"


BAD = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["not a value"]}]}


@pytest.mark.parametrize(
    ("among", "allowed"),
    [
        ({}, {"api"}),
        ({"podSelector": BAD}, {"api", "other", "upstream"}),
        ({"podSelector": BAD, "namespaceSelector": {}}, {"api", "other", "upstream"}),
        ({"podSelector": {}, "ipBlock": {"cidr": "10.1.2.3"}}, {"upstream"}),
    ],
)
def test_what_no_api_server_stores_any_more_means_what_cilium_makes_of_it(among, allowed):
    """No peer at all is the policy's namespace; a selector that is none is everybody."""
    policy = a_network_policy(ingress=[{"from": [among]}])
    peers = {"api": API, "other": OTHER, "upstream": UPSTREAM}
    found = {name for name in peers if ingress(peers[name], policy, ip="10.1.2.3") == "allowed"}
    assert found == allowed


def test_a_subject_that_is_no_selector_is_every_pod_of_the_namespace():
    """A rule is looked for by its namespace, whatever it selects."""
    policy = a_network_policy(podSelector=BAD, ingress=[])
    assert ingress(API, policy) == "default-deny"
    assert ingress(API, policy, subject=a_pod("db", namespace="other")) == "allowed"


@pytest.mark.parametrize(
    ("port", "open_ports"),
    [
        ({"port": 70_000}, {65_535}),
        ({"port": -1}, {1, 8, 8_080, 65_535}),
        ({"port": ""}, {1, 8, 8_080, 65_535}),
        ({"port": "010"}, {8}),
        ({"endPort": 8}, {1, 8}),
        ({"port": 8_000, "endPort": -1}, {8_080, 65_535}),
        ({"port": 8_000, "endPort": 65_536 + 8_080}, {8_080}),
    ],
)
def test_a_port_that_is_none_means_what_go_makes_of_it(port, open_ports):
    """Too large is the largest, no number is 0, and 16 bits of an end count."""
    policy = a_network_policy(ingress=[{"ports": [port]}])
    tried = (1, 8, 8_080, 65_535)
    found = {number for number in tried if ingress(API, policy, port=number) == "allowed"}
    assert found == open_ports


def test_a_range_may_begin_at_a_name():
    """At the port that the pod calls so."""
    policy = a_policy(ingress=[{"toPorts": [{"ports": [{"port": "web", "endPort": 8_090}]}]}])
    named = {"kind": "NamedPorts", "metadata": {"namespace": "shop"}, "spec": {"pods": [POD]}}
    assert ingress(API, policy, named, port=8_085) == "allowed"
    assert ingress(API, policy, named, port=8_079) == "default-deny"
    assert ingress(API, policy, named, port=8_091) == "default-deny"


POD = {"labels": {"app": "web"}, "ports": [{"name": "web", "port": 8_080}]}


def test_origin_names_every_policy_that_has_a_part():
    """Not only the one whose entry wins."""
    first = a_policy("first", ingress=[from_app("api", "80/TCP")])
    second = a_policy("second", ingress=[{"fromEntities": ["cluster"]}])
    found = decide(policy_of(WEB, first, second), a_query(API))
    assert {ref.name for ref in found.origin} == {"first", "second"}
    assert [str(ref) for ref in decide(policy_of(WEB), a_query(API)).origin] == [
        "reserved//allow-any-ingress"
    ]
    by_host = decide(policy_of(WEB, a_policy(ingress=[{}])), a_query(HOST))
    assert [str(ref) for ref in by_host.origin] == ["reserved//allow-localhost-ingress"]


def test_node_peers_need_their_option():
    """Without it Cilium refuses the whole policy."""
    policy = a_policy(ingress=[{"fromNodes": [{"matchLabels": {"zone": "a"}}]}])
    node = LabelSet.of(
        ["reserved:remote-node", "node:zone=a", "k8s:io.cilium.k8s.policy.cluster=c1"]
    )
    taken = Options(cluster_name="c1", node_selector_labels=True)
    assert ingress(node, policy, options=taken) == "allowed"
    assert ingress(API, policy, options=taken) == "default-deny"
    assert ingress(API, policy) == "allowed"
    assert list(a_repository(policy).rejected()) == ["0"]


def test_node_peers_are_other_nodes_of_the_cluster():
    """The node that the pod runs on is none of them, though its labels are the same."""
    taken = Options(cluster_name="c1", node_selector_labels=True)
    labels = ["node:zone=a", "k8s:io.cilium.k8s.policy.cluster=c1"]
    for selector in ({}, {"matchLabels": {"zone": "a"}}):
        policy = a_policy(egress=[{"toNodes": [selector]}], ingress=[{"fromNodes": [selector]}])
        subject = policy_of(WEB, policy, options=taken)
        decisions = [
            str(decide(subject, a_query(peer, direction=Direction.EGRESS)).decision)
            for peer in (
                LabelSet.of([*labels, "reserved:remote-node"]),
                LabelSet.of([*labels, "reserved:host"]),
                LabelSet.of(["node:zone=a", "k8s:io.cilium.k8s.policy.cluster=c2"]),
            )
        ]
        assert decisions == ["allowed", "default-deny", "default-deny"]


def test_a_redirect_to_the_proxy_wins_over_a_plain_allow():
    """However specific the plain one is, in port or in peer."""
    get = {**ports("80/TCP")[0], "rules": {"http": [{"method": "GET"}]}}
    for plain in (from_app("api"), from_app("api", "80/TCP"), {"fromEntities": ["cluster"]}):
        policies = (a_policy("l7", ingress=[{"toPorts": [get]}]), a_policy(ingress=[plain]))
        found = decide(policy_of(WEB, *policies), a_query(API, port=80))
        assert (str(found.decision), found.l7) == ("allowed", True)
