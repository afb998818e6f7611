import pytest

from policies import parsing
from policies.flows import Protocol
from policies.parsing import PolicyRejected
from tests.policies.builders import a_clusterwide_policy, a_network_policy, a_policy, ports

HTTP = {"http": [{"method": "GET"}]}


def rejection(manifest: dict) -> PolicyRejected:
    """How a manifest is refused."""
    with pytest.raises(PolicyRejected) as caught:
        parsing.parse(manifest)
    return caught.value


@pytest.mark.parametrize(
    ("path", "sections"),
    [
        ("spec", {}),
        ("spec", {"ingress": []}),
        ("spec.ingress", {"ingress": {}}),
        ("spec.ingress[0]", {"ingress": ["x"]}),
        ("spec.ingress[0]", {"ingress": [{"fromEndpoints": [{}], "fromEntities": ["all"]}]}),
        ("spec.ingress[0].fromEndpoints", {"ingress": [{"fromEndpoints": {}}]}),
        ("spec.ingress[0].fromEntities[0]", {"ingress": [{"fromEntities": ["nodes"]}]}),
        ("spec.ingress[1].fromCIDR[0]", {"ingress": [{}, {"fromCIDR": ["10.0.0.0/33"]}]}),
        ("spec.ingress[0].fromCIDR[0]", {"ingress": [{"fromCIDR": ["010.0.0.0/8"]}]}),
        (
            "spec.ingress[0].fromCIDRSet[0].cidr",
            {"ingress": [{"fromCIDRSet": [{"cidr": "10.1.2.3"}]}]},
        ),
        (
            "spec.ingress[0].fromCIDRSet[0].except[0]",
            {"ingress": [{"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]}]},
        ),
        (
            "spec.ingress[0].fromCIDRSet[0]",
            {"ingress": [{"fromCIDRSet": [{"cidr": "10.0.0.0/8", "cidrGroupRef": "g"}]}]},
        ),
        ("spec.ingress[0].fromNodes[0]", {"ingress": [{"fromNodes": [{}]}]}),
        ("spec.ingress[0].icmps", {"ingress": [{"icmps": [{}], "toPorts": [{}]}]}),
        (
            "spec.ingress[0].icmps[0].fields[0].type",
            {"ingress": [{"icmps": [{"fields": [{"type": "NeighborSolicitation"}]}]}]},
        ),
        (
            "spec.ingress[0].icmps[0].fields[0].family",
            {"ingress": [{"icmps": [{"fields": [{"type": 8, "family": "ipv4"}]}]}]},
        ),
        (
            "spec.ingress[0].toPorts[0].ports[0].port",
            {"ingress": [{"toPorts": ports("70000/TCP")}]},
        ),
        ("spec.ingress[0].toPorts[0].ports[0].port", {"ingress": [{"toPorts": ports("080/TCP")}]}),
        ("spec.ingress[0].toPorts[0].ports[0].port", {"ingress": [{"toPorts": ports("/TCP")}]}),
        (
            "spec.ingress[0].toPorts[0].ports[0].protocol",
            {"ingress": [{"toPorts": ports("80/ICMP")}]},
        ),
        ("spec.ingress[0].toPorts[0].ports[0].port", {"ingress": [{"toPorts": ports("112/IGMP")}]}),
        ("spec.ingress[0].toPorts[0].ports", {"ingress": [{"toPorts": ports(*["80/TCP"] * 41)}]}),
        (
            "spec.ingress[0].toPorts[0].ports[0].protocol",
            {"ingress": [{"toPorts": [{**ports("80/UDP")[0], "rules": HTTP}]}]},
        ),
        (
            "spec.ingress[0].toPorts[0].ports[0].port",
            {"ingress": [{"toPorts": [{**ports("0/TCP")[0], "rules": HTTP}]}]},
        ),
        (
            "spec.ingress[0].toPorts[0].rules.dns",
            {"ingress": [{"toPorts": [{**ports("53/UDP")[0], "rules": {"dns": [{}]}}]}]},
        ),
        (
            "spec.egress[0].toPorts[0].rules",
            {"egress": [{"toPorts": [{**ports("80/TCP")[0], "rules": {**HTTP, "dns": [{}]}}]}]},
        ),
        (
            "spec.egress[0].toPorts[0].rules.http[0].path",
            {"egress": [{"toPorts": [{**ports("80/TCP")[0], "rules": {"http": [{"path": "("}]}}]}]},
        ),
        (
            "spec.egress[0].toFQDNs[0].matchPattern",
            {"egress": [{"toFQDNs": [{"matchPattern": "{a,b}.example.com"}]}]},
        ),
        (
            "spec.egress[0].toFQDNs[0]",
            {"egress": [{"toFQDNs": [{"matchPattern": "*", "matchName": "a"}]}]},
        ),
        (
            "spec.egress[0].toPorts[0]",
            {"egress": [{"toPorts": [{"rules": {"dns": [{"matchPattern": "*"}]}}]}]},
        ),
        (
            "spec.egress[0].toPorts[0].ports[0].endPort",
            {
                "egress": [
                    {
                        "toPorts": [
                            {
                                "ports": [{"port": "53", "endPort": 54}],
                                "rules": {"dns": [{"matchPattern": "*"}]},
                            }
                        ]
                    }
                ]
            },
        ),
        (
            "spec.egress[0].toPorts[0].rules.l7",
            {"egress": [{"toPorts": [{**ports("80/TCP")[0], "rules": {"l7": [{"a": "b"}]}}]}]},
        ),
        (
            "spec.ingress[0].toPorts[0].listener",
            {"ingress": [{"toPorts": [{**ports("80/TCP")[0], "listener": {"name": "l"}}]}]},
        ),
        (
            "spec.egress[0].toPorts[0].listener",
            {"egress": [{"toPorts": [{**ports("80/TCP")[0], "listener": {}, "rules": HTTP}]}]},
        ),
        (
            "spec.egress[0].toPorts[0].serverNames",
            {
                "egress": [
                    {"toPorts": [{**ports("80/TCP")[0], "serverNames": ["a"], "rules": HTTP}]}
                ]
            },
        ),
        (
            "spec.egress[0].toPorts[0].serverNames[0]",
            {"egress": [{"toPorts": [{**ports("80/TCP")[0], "serverNames": [""]}]}]},
        ),
        *(
            (
                f"spec.egress[0].toPorts[0].rules.{path}",
                {"egress": [{"toPorts": [{**ports("80/TCP")[0], "rules": rules}]}]},
            )
            for path, rules in [
                ("kafka[0].role", {"kafka": [{"role": "own"}]}),
                ("kafka[0]", {"kafka": [{"role": "produce", "apiKey": "fetch"}]}),
                ("kafka[0].topic", {"kafka": [{"topic": "x" * 256}]}),
                ("http[0].headerMatches[0].name", {"http": [{"headerMatches": [{"value": "x"}]}]}),
                ("l7[0]", {"l7proto": "x", "l7": [{"": "x"}]}),
            ]
        ),
        (
            "spec.egress[0].toFQDNs[0].matchName",
            {"egress": [{"toFQDNs": [{"matchName": "https://example.com"}]}]},
        ),
        (
            "spec.ingress[0].icmps[0].fields",
            {"ingress": [{"icmps": [{"fields": [{"type": 8}] * 41}]}]},
        ),
        (
            "spec.ingress[0].icmps[0].fields[0].type",
            {"ingress": [{"icmps": [{"fields": [{"type": "Ping"}]}]}]},
        ),
        ("spec.enableDefaultDeny", {"ingress": [{}], "enableDefaultDeny": "no"}),
    ],
)
def test_what_the_engine_refuses_is_refused_with_its_path(path, sections):
    """The path leads to the place in the manifest."""
    assert rejection(a_policy(**sections)).path == path


def test_l7_rules_take_tcp_in_any_spelling():
    """Only the CRD's schema insists on capitals."""
    entry = {**ports("80/tcp")[0], "rules": {"http": [{"method": "GET"}]}}
    policy = parsing.parse(a_policy(ingress=[{"toPorts": [entry]}]))
    assert policy.rules[0].ingress.allow[0].ports[0].l7


def test_an_empty_list_does_not_hide_what_stands_beside_it():
    """Everything is checked, even where the rule selects nobody anyway."""
    rule = {"fromEndpoints": [], "fromEntities": ["nodes"]}
    assert rejection(a_policy(ingress=[rule])).path == "spec.ingress[0].fromEntities[0]"


def test_a_policy_needs_a_name_and_a_spec():
    """What the API server guarantees is checked all the same: policies come from folders too."""
    assert rejection(a_policy("", ingress=[{}])).path == "metadata.name"
    assert rejection({"kind": "CiliumNetworkPolicy", "metadata": {"name": "p"}}).path == "spec"
    assert rejection({"kind": "Pod", "metadata": {"name": "p"}}).path == "kind"


def test_node_selectors_are_for_clusterwide_policies():
    """And never together with an endpoint selector."""
    manifest = a_clusterwide_policy(ingress=[{}])
    manifest["spec"]["nodeSelector"] = {}
    assert rejection(manifest).path == "spec.nodeSelector"
    del manifest["spec"]["endpointSelector"]
    assert parsing.parse(manifest).rules[0].selects_nodes
    manifest["kind"] = "CiliumNetworkPolicy"
    assert rejection(manifest).path == "spec.nodeSelector"


def test_spec_and_specs_both_count():
    """Each is a rule with its own path."""
    manifest = a_policy(ingress=[{}])
    manifest["specs"] = [manifest["spec"]]
    assert [rule.path for rule in parsing.parse(manifest).rules] == ["spec", "specs[0]"]


@pytest.mark.parametrize(("text", "number"), [("010", 8), ("8_0", 80), ("00", 0), ("443", 443)])
def test_port_numbers_are_read_as_go_reads_them(text, number):
    """A leading zero means octal, and underscores may part digits."""
    found = parsing.parse(a_policy(ingress=[{"toPorts": ports(f"{text}/TCP")}]))
    assert found.rules[0].ingress.allow[0].ports[0].low == number


def test_port_names_are_lower_cased():
    """Also those that look like hexadecimal numbers."""
    found = parsing.parse(a_policy(ingress=[{"toPorts": ports("HTTP/TCP", "0x10/TCP")}]))
    assert [port.name for port in found.rules[0].ingress.allow[0].ports] == ["http", "0x10"]


def test_host_policies_take_dns_rules_only():
    """And those on egress only."""
    dns = {"toPorts": [{**ports("53/UDP")[0], "rules": {"dns": [{"matchPattern": "*"}]}}]}
    http = {"toPorts": [{**ports("80/TCP")[0], "rules": HTTP}]}
    manifest = a_clusterwide_policy()
    manifest["spec"] = {"nodeSelector": {}, "egress": [dns]}
    assert parsing.parse(manifest).rules[0].egress.allow[0].ports[0].l7.dns
    manifest["spec"] = {"nodeSelector": {}, "egress": [http]}
    assert rejection(manifest).path == "spec.egress[0].toPorts[0].rules"
    manifest["spec"] = {"nodeSelector": {}, "ingress": [http]}
    assert rejection(manifest).path == "spec.ingress[0].toPorts[0].rules"


def test_header_conditions():
    """One with an action for a mismatch is none, and a secret value is not compared."""
    http = {
        "headers": ["X-Team: shop", "X-Id"],
        "headerMatches": [
            {"name": "X-A", "value": "1"},
            {"name": "X-B", "value": "1", "mismatch": "LOG"},
            {"name": "X-C", "secret": {"name": "s"}},
        ],
    }
    entry = {**ports("80/TCP")[0], "rules": {"http": [http]}}
    policy = parsing.parse(a_policy(ingress=[{"toPorts": [entry]}]))
    (rule,) = policy.rules[0].ingress.allow[0].ports[0].l7.http
    assert [(header.name, header.value) for header in rule.headers] == [
        ("X-Team", "shop"),
        ("X-Id", None),
        ("X-A", "1"),
        ("X-C", None),
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"listener": {"name": "l"}},
        {"rules": {"l7proto": "x", "l7": [{"a": "b"}]}},
    ],
)
def test_what_a_proxy_decides_otherwise_is_marked_as_not_evaluated(more):
    """So its denials are unexplained rather than misunderstood."""
    policy = parsing.parse(a_policy(egress=[{"toPorts": [{**ports("443/TCP")[0], **more}]}]))
    assert policy.rules[0].egress.allow[0].ports[0].l7.unevaluated


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("from[0].ipBlock.cidr", {"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}),
        ("from[0].podSelector", {"from": [{"ipBlock": {"cidr": "::/0"}, "podSelector": 1}]}),
        (
            "from[0].podSelector.matchExpressions[1].key",
            {"from": [{"podSelector": {"matchExpressions": [{"operator": "Gt"}, {"key": 1}]}}]},
        ),
        ("ports[0].protocol", {"ports": [{"protocol": "ICMP"}]}),
        ("ports[0].port", {"ports": [{"port": 2**31}]}),
    ],
)
def test_a_network_policy_is_refused_only_where_it_cannot_be_read(path, rule):
    """Cilium leaves the rest to the API server."""
    assert rejection(a_network_policy(ingress=[rule])).path == f"spec.ingress[0].{path}"


@pytest.mark.parametrize(
    ("more", "tcp", "udp"),
    [
        ({"rules": {"l7proto": "x"}}, "l7proto", None),
        ({"rules": {"l7proto": "x"}, "serverNames": ["a.b"]}, "l7proto", ""),
        ({"terminatingTLS": {"secret": {"name": "s"}}}, "TLS", "TLS"),
        ({"listener": {"name": "l"}}, "listener", "listener"),
    ],
)
def test_what_is_not_tcp_has_no_parser_but_that_of_dns(more, tcp, udp):
    """Whatever hands a port to Envoy by itself holds for every protocol."""
    entry = {"ports": [{"port": "443", "protocol": "ANY"}], **more}
    found = parsing.parse(a_policy(egress=[{"toPorts": [entry]}])).rules[0].egress.allow[0].ports
    kinds = {match.protocol: match.l7 and match.l7.unevaluated for match in found}
    assert (kinds[Protocol.TCP], kinds[Protocol.UDP]) == (tcp, udp)


@pytest.mark.parametrize(("longest", "selector"), [(59, "toEndpoints"), (53, "cidrGroupSelector")])
def test_a_key_is_checked_with_what_cilium_puts_before_it(longest, selector):
    """So a key that is short enough for Kubernetes may be too long."""

    def a_rule(length):
        labels = {
            "matchLabels": {
                "k8s:" + "a" * length if selector == "toEndpoints" else "a" * length: "b"
            }
        }
        if selector == "toEndpoints":
            return a_policy(egress=[{"toEndpoints": [labels]}])
        return a_policy(egress=[{"toCIDRSet": [{"cidrGroupSelector": labels}]}])

    assert parsing.parse(a_rule(longest))
    assert "invalid label key" in rejection(a_rule(longest + 1)).message


def test_a_policy_without_a_namespace_is_in_the_default_one():
    """As with kubectl."""
    manifest = a_policy(ingress=[{}])
    del manifest["metadata"]["namespace"]
    assert parsing.parse(manifest).ref.namespace == "default"


def test_null_is_absence():
    """As in the API server's JSON."""
    manifest = a_policy(ingress=[{"fromEndpoints": None, "toPorts": None}], egress=None)
    rule = parsing.parse(manifest).rules[0]
    assert rule.ingress.allow[0].peers == ()
    assert not rule.egress.default_deny
