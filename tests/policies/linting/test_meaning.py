"""What is accepted and surely not meant; and what only looks like it."""

import pytest

from policies import addresses
from policies.linting.findings import text
from policies.linting.linter import Linter
from tests.policies.builders import (
    a_clusterwide_policy,
    a_network_policy,
    a_policy,
    from_app,
    ports,
    to_app,
)
from tests.policies.linting.linted import findings, rules, told

ALERT = {"app.gitlab.com/alert": "true"}
PROJECT = {"app.gitlab.com/proj": "42"}
WEB = [{"fromEndpoints": [{"matchLabels": {"app": "web"}}]}]


def a_range(low, high):
    return {"toPorts": [{"ports": [{"port": str(low), "endPort": high, "protocol": "TCP"}]}]}


def a_subject(*expressions, **labels):
    found = {"matchLabels": labels} if labels else {}
    made = [dict(zip(("key", "operator", "values"), one, strict=False)) for one in expressions]
    return {**found, "matchExpressions": made}


@pytest.mark.parametrize(
    "sections",
    [
        {"ingress": [{}]},
        {"egress": [{}]},
        {"ingress": [{}], "ingressDeny": [{"fromEntities": ["world"]}]},
        {"ingress": [{"toPorts": []}]},
        {"ingress": [{"fromEndpoints": [{}]}]},
        {"ingress": [{"fromEntities": ["none"]}]},
        {"ingress": [{"icmps": [{"fields": [{"type": 8}]}]}]},
        {"enableDefaultDeny": {"egress": False}, "egress": [to_app("a")]},
    ],
)
def test_usual_idioms_are_left_alone(sections):
    """A linter that warns of good policies is switched off."""
    assert rules(a_policy(**sections)) == []


@pytest.mark.parametrize(
    ("path", "sections"),
    [
        ("spec.ingress[0].fromEndpoints", {"ingress": [{"fromEndpoints": []}]}),
        ("spec.ingress[0].fromEndpoints", {"ingress": [{"fromEndpoints": [], "toPorts": ports("80/TCP")}]}),
        ("spec.ingress[0].toPorts[1]", {"ingress": [{"toPorts": [*ports("80/TCP"), {}]}]}),
        ("spec.ingressDeny[0]", {"ingressDeny": [{}]}),
        ("spec.ingress[0]", {"ingress": [{}, from_app("a")]}),
        ("spec.egress[0].icmps[0]", {"egress": [{"icmps": [{}]}]}),
    ],
)  # fmt: skip
def test_a_rule_that_matches_nothing_is_found_at_what_is_empty(path, sections):
    """Be it peers, ports or ICMP types."""
    found = [where for rule, where in told(a_policy(**sections)) if rule == "matches-nothing"]
    assert found == [path]


@pytest.mark.parametrize(
    ("subject", "impossible"),
    [
        (a_subject(("app", "NotIn", ["web"]), app="web"), True),
        (a_subject(("app", "In", ["a"]), ("app", "In", ["b"])), True),
        (a_subject(("app", "DoesNotExist"), app="web"), True),
        (a_subject(("app", "Exists"), ("app", "DoesNotExist")), True),
        (a_subject(("app", "In", ["a", "b"]), ("app", "NotIn", ["a"])), False),
        (a_subject(("app", "NotIn", ["a"]), ("app", "DoesNotExist")), False),
        (a_subject(("k8s:app", "In", ["a"]), ("any:app", "In", ["b"])), False),
        (a_subject(("app", "Exists"), app="web"), False),
    ],
)
def test_conditions_that_no_labels_meet_are_found(subject, impossible):
    """In the policy's own selector and in a peer's."""
    expected = ["impossible-selector"] if impossible else []
    assert rules(a_policy(subject=subject, ingress=WEB)) == expected
    assert rules(a_policy(ingress=[{"fromEndpoints": [subject]}])) == expected


@pytest.mark.parametrize(
    ("key", "value", "warned"),
    [
        ("k8s:io.kubernetes.pod.namespace", "payments", True),
        ("io.kubernetes.pod.namespace", "payments", True),
        ("k8s:io.kubernetes.pod.namespace", "shop", False),
        ("io.kubernetes.pod.namespace", "shop", False),
    ],
)
def test_a_foreign_namespace_in_the_subject_is_found(key, value, warned):
    """A policy's own namespace may be written down."""
    expected = ["foreign-namespace-in-subject"] if warned else []
    assert rules(a_policy(subject={"matchLabels": {key: value}}, ingress=WEB)) == expected
    said = {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}
    assert rules(a_policy(subject=said, ingress=WEB)) == expected


def test_a_clusterwide_policy_chooses_namespaces_as_it_likes():
    """It has none of its own."""
    subject = {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "payments"}}
    assert rules(a_clusterwide_policy(subject=subject, ingress=[{}])) == []


def test_namespaces_are_found_by_their_labels():
    """A NetworkPolicy that selects namespaces, of which none fits."""
    shop = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"team": "a"}},
    }

    def asking(**labels):
        peer = {"namespaceSelector": {"matchLabels": labels}}
        return a_network_policy(ingress=[{"from": [peer]}])

    assert rules(shop, asking(team="a")) == []
    assert rules(shop, asking(team="b")) == ["unknown-namespace"]
    assert rules(shop, asking(**{"kubernetes.io/metadata.name": "kube-system"})) == []
    assert rules(shop, a_network_policy(namespace="shoop")) == ["unknown-namespace"]


@pytest.mark.parametrize(
    ("covered", "other", "shadowed"),
    [
        (from_app("a", "80/TCP"), from_app("a"), True),
        (from_app("a", "80/TCP"), from_app("a", "80/ANY"), True),
        (from_app("a", "80/TCP"), {"fromEntities": ["all"]}, True),
        (from_app("a", "80/TCP"), {"toPorts": ports("80/TCP")}, True),
        ({"fromCIDR": ["10.1.0.0/16"]}, {"fromCIDR": ["10.0.0.0/8"]}, True),
        ({"fromCIDR": ["192.0.2.0/24"]}, {"fromEntities": ["world"]}, True),
        ({"fromEntities": ["host"]}, {"fromEntities": ["cluster"]}, True),
        (from_app("a", "80/TCP"), from_app("b"), False),
        (from_app("a"), from_app("a", "80/TCP"), False),
        (from_app("a", "80/UDP"), from_app("a", "80/TCP"), False),
        ({"fromCIDR": ["10.0.0.0/8"]}, {"fromCIDR": ["10.1.0.0/16"]}, False),
        (
            {"fromCIDR": ["10.1.0.0/16"]},
            {"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.2.0/24"]}]},
            False,
        ),
        (a_range(80, 90), a_range(80, 85), False),
        (a_range(80, 85), a_range(70, 90), True),
        ({"fromEntities": ["world"]}, {"fromEntities": ["cluster"]}, False),
        ({"fromEntities": ["kube-apiserver"]}, {"fromEntities": ["cluster"]}, False),
        (from_app("a", "http/TCP"), from_app("a", "80/TCP"), False),
        (
            {**from_app("a"), "toPorts": [{**ports("80/TCP")[0], "rules": {"http": [{"method": "GET"}]}}]},
            from_app("a"),
            False,
        ),
        ({**from_app("a"), "authentication": {"mode": "required"}}, {"fromEntities": ["all"]}, False),
    ],
)  # fmt: skip
def test_a_rule_is_shadowed_by_one_that_surely_covers_it(covered, other, shadowed):
    """Whichever stands first; and the same holds among deny rules."""
    for entries in ([covered, other], [other, covered]):
        place = f"spec.ingress[{entries.index(covered)}]"
        assert (("shadowed-rule", place) in told(a_policy(ingress=entries))) is shadowed


def test_of_two_equal_rules_the_later_one_is_told():
    """Once."""
    found = told(a_policy(ingress=[from_app("a"), from_app("a")]))
    assert found == [("shadowed-rule", "spec.ingress[1]")]


def test_an_allow_that_a_deny_covers_is_found():
    """Deny wins however specific the allow is."""
    manifest = a_policy(
        egress=[to_app("a", "80/TCP"), to_app("b")],
        egressDeny=[{"toEndpoints": [{"matchLabels": {"app": "a"}}]}],
    )
    found = findings(manifest)
    assert [(one.rule.id, text(one.path)) for one in found] == [
        ("allow-under-deny", "spec.egress[0]")
    ]
    assert found[0].elsewhere.path == ("spec", "egressDeny", 0)


@pytest.mark.parametrize(
    ("labels", "annotations", "expected"),
    [
        ({}, {}, []),
        (PROJECT, ALERT, []),
        ({}, ALERT, ["alert-without-project"]),
        (PROJECT, {"app.gitlab.com/alert": "TRUE"}, []),
        (PROJECT, {"app.gitlab.com/alert": "yes please"}, ["alert-not-true"]),
        ({"app.gitlab.com/project": "42"}, ALERT, ["alert-key-misspelled"]),
        (PROJECT, {"app.gitlab.com/alerts": "true"}, ["alert-key-misspelled"]),
        (PROJECT, {"apps.gitlab.com/alert": "true"}, ["alert-key-misspelled"]),
        ({**PROJECT, "app.gitlab.com/alert": "true"}, {}, ["alert-key-misspelled"]),
        (PROJECT, {"app.gitlab.com/app": "a", "app.gitlab.com/env": "b", **ALERT}, []),
        (PROJECT, {"app.gitlab.com/app": "a", "app.gitlab.com/env": "b"}, []),
        (PROJECT, {"example.com/alert": "true", **ALERT}, []),
        ({"app.gitlab.com/proj": "shop"}, ALERT, ["project-not-a-number"]),
        (PROJECT, {**ALERT, "picket.dev/severity": "worst"}, ["bad-alert-setting"]),
        (PROJECT, {**ALERT, "picket.dev/serverity": "high"}, ["bad-alert-setting"]),
        (PROJECT, {"picket.dev/severity": "high"}, ["bad-alert-setting"]),
        (PROJECT, {**ALERT, "picket.dev/severity": "high"}, []),
    ],
)
def test_labels_and_annotations_that_will_not_be_heard_are_found(labels, annotations, expected):
    """A typing error is not an alert."""
    assert rules(a_policy(labels=labels, annotations=annotations, ingress=WEB)) == expected


@pytest.mark.parametrize(
    ("sections", "effect"),
    [
        ({"ingress": WEB}, True),
        ({"ingress": WEB, "enableDefaultDeny": {"ingress": False}}, False),
        ({"ingressDeny": WEB, "enableDefaultDeny": {"ingress": False}}, True),
        ({"ingressDeny": [{}], "enableDefaultDeny": {"ingress": False}}, False),
        (
            {
                "ingress": [{"toPorts": [{**ports("80/TCP")[0], "rules": {"http": [{"path": "/"}]}}]}],
                "enableDefaultDeny": {"ingress": False},
            },
            True,
        ),
    ],
)  # fmt: skip
def test_a_policy_that_stops_nothing_and_asks_for_alerts_is_found(sections, effect):
    """By a deny rule, by default, or by L7 rules it would stop something."""
    found = rules(a_policy(labels=PROJECT, annotations=ALERT, **sections))
    assert ("alert-without-effect" in found) is not effect


def test_names_need_dns_rules_of_some_policy_of_the_namespace():
    """A clusterwide one counts for all."""
    asking = a_policy(egress=[{"toFQDNs": [{"matchPattern": "*.example.com"}]}])

    def allowing(pattern):
        rules_ = {"dns": [{"matchPattern": pattern}]}
        return {"egress": [{"toPorts": [{**ports("53/ANY")[0], "rules": rules_}]}]}

    assert rules(asking) == ["fqdn-without-dns"]
    assert rules(a_policy("dns", **allowing("*")), asking) == []
    assert rules(a_clusterwide_policy("dns", **allowing("*.example.com")), asking) == []
    assert rules(a_policy("dns", namespace="other", **allowing("*")), asking) == [
        "fqdn-without-dns"
    ]
    assert rules(a_policy("dns", **allowing("*.example.org")), asking) == ["fqdn-without-dns"]


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        ({"path": "/api/.*", "method": "GET", "host": "api.example.com"}, []),
        ({"path": "^/api/[0-9]+$", "method": "GET|POST", "host": ".*[.]example[.]com"}, []),
        ({"path": ".*", "method": ".*"}, []),
        ({"path": "(/a|/b)"}, []),
        ({"path": "a?/b"}, []),
        ({"path": "none|/b"}, []),
        ({"path": "/api/*"}, ["glob-in-expression"]),
        ({"path": "api/.*"}, ["request-never-matches"]),
        ({"method": "get"}, ["request-never-matches"]),
        ({"host": "*.example.com"}, ["bad-expression"]),
        ({"path": r"/\pL{1000}"}, ["bad-expression"]),
        ({"path": "*"}, ["refused-by-cilium"]),
    ],
)
def test_expressions_that_match_no_request_are_found(http, expected):
    """Those that match one are left alone, be they written with anchors or without."""
    entry = {**ports("80/TCP")[0], "rules": {"http": [http]}}
    assert rules(a_policy(ingress=[{"toPorts": [entry]}])) == expected


def test_addresses_of_pods_are_found_where_they_are_known():
    """A wider prefix has other addresses, too."""
    cluster = (addresses.parse_prefix("10.244.0.0/16"),)

    def to(cidr):
        return a_network_policy(egress=[{"to": [{"ipBlock": {"cidr": cidr}}]}])

    assert rules(to("10.244.3.0/24"), cluster_cidrs=cluster) == ["cidr-within-cluster"]
    assert rules(to("10.0.0.0/8"), cluster_cidrs=cluster) == []
    first = (addresses.parse_prefix("10.0.0.0/16"),)
    assert rules(to("10.0.0.0/8"), cluster_cidrs=first) == []
    assert rules(to("10.244.3.0/24")) == []


def test_objects_and_contents_that_stand_twice_are_found():
    """The later one is told, with the place of the first."""
    first = a_policy("a", ingress=WEB)
    assert rules(first, a_policy("a", ingress=[{}])) == ["duplicate-object"]
    assert rules(first, a_policy("b", ingress=WEB)) == ["duplicate-policy"]
    assert rules(first, a_policy("b", namespace="other", ingress=WEB)) == []
    assert rules(first, a_policy("b", labels=PROJECT, annotations=ALERT, ingress=WEB)) == []
    assert findings(first, a_policy("a", ingress=[{}]))[0].elsewhere.object == 0


def test_policies_of_two_folders_may_say_the_same():
    """Each folder may be for a cluster of its own."""
    linter = Linter()
    manifests = [a_policy(name, ingress=WEB) for name in ("a", "b", "c")]
    for number, manifest in enumerate(manifests):
        linter.gather(number, manifest)
    found = [
        [one.rule.id for one in linter.check(number, manifest, folder)]
        for number, (manifest, folder) in enumerate(
            zip(manifests, ("dev", "prod", "dev"), strict=True)
        )
    ]
    assert found == [[], [], ["duplicate-policy"]]


def test_a_name_is_looked_up_where_it_is_written():
    """Of the ports of one rule."""
    known = {
        "apiVersion": "picket.dev/v1",
        "kind": "NamedPorts",
        "metadata": {"name": "all"},
        "spec": {"pods": [{"namespace": "shop", "ports": [{"name": "http", "port": 80}]}]},
    }
    found = told(known, a_policy(ingress=[{"toPorts": ports("80/TCP", "htttp/TCP", "HTTP/TCP")}]))
    assert found == [("unknown-port-name", "spec.ingress[0].toPorts[0].ports[1].port")]
