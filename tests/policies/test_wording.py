"""Sentences as their readers get them: one for each kind of thing that can happen."""

import pytest

from policies import naming, wording
from policies.explaining import explain
from policies.flows import (
    AUTH_REQUIRED,
    POLICY_DENY,
    Direction,
    DnsRequest,
    HttpRequest,
    Observed,
    Protocol,
    Verdict,
)
from policies.labels import LabelSet
from tests.policies.builders import (
    AUDITED,
    DROPPED,
    HOST,
    REFUSED,
    REMOTE_NODE,
    WORLD,
    a_clusterwide_policy,
    a_network_policy,
    a_pod,
    a_policy,
    a_query,
    from_app,
    policy_of,
    ports,
    to_app,
)

WEB = a_pod("web")
BATCH = a_pod("batch")
DENIED = Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENY)
UNAUTHENTICATED = Observed(verdict=Verdict.DROPPED, drop_reason=AUTH_REQUIRED)
EGRESS = Direction.EGRESS
NODE = LabelSet.of(["reserved:remote-node", "reserved:kube-apiserver"])
KNOWN = LabelSet.of(["fqdn:www.example.com", "reserved:world"])
FRONTEND = from_app("frontend", "8080/TCP")


def http(*rules, port="80/TCP"):
    """An ingress rule that allows these HTTP requests."""
    return {"toPorts": [{**ports(port)[0], "rules": {"http": list(rules)}}]}


def said(*manifests, peer=BATCH, observed=DROPPED, ip="", told="", port=8080, **query) -> str:
    """The sentence about one flow of app=web; `told`: the request, where it may be told."""
    subject = policy_of(WEB, *manifests)
    asked = a_query(peer, ip=ip, port=port, **query)
    found = explain(subject, asked, observed)
    policies = [subject.policy(ref) for ref in found.policies]
    named = naming.party(peer, policies, ip).text
    to_port = wording.port(asked.protocol, asked.port)
    return found.sentence("shop/web", named, port=to_port, request=told)


@pytest.mark.parametrize(
    ("sentence", "manifest", "asked"),
    [
        (
            "shop/p allows 8080/TCP from app=frontend; this came from shop/batch",
            a_policy(ingress=[FRONTEND]),
            {},
        ),
        (
            "shop/p allows 8080/TCP from app=frontend; this went to 9090/TCP",
            a_policy(ingress=[FRONTEND]),
            {"peer": a_pod("frontend"), "port": 9090},
        ),
        (
            "shop/p allows 8080/TCP from app=frontend; this was 53/UDP from shop/batch",
            a_policy(ingress=[FRONTEND]),
            {"port": 53, "protocol": Protocol.UDP},
        ),
        (
            "shop/p allows 8080/TCP from app=frontend; this was ICMP type 8 (echo request)",
            a_policy(ingress=[FRONTEND]),
            {"peer": a_pod("frontend"), "port": 8, "protocol": Protocol.ICMP},
        ),
        (
            "shop/p allows ICMP type 8 from app=batch; this was ICMP type 13",
            a_policy(ingress=[{**from_app("batch"), "icmps": [{"fields": [{"type": 8}]}]}]),
            {"port": 13, "protocol": Protocol.ICMP},
        ),
        (
            "shop/p allows 8080/TCP from app=frontend; this came from world",
            a_policy(ingress=[FRONTEND]),
            {"peer": WORLD, "ip": "198.51.100.7"},
        ),
        (
            "shop/p allows any traffic from cluster; this came from world",
            a_policy(ingress=[{"fromEntities": ["cluster"]}]),
            {"peer": WORLD},
        ),
        (
            "shop/p allows 443/TCP to api.example.com; this went to world",
            a_policy(
                egress=[
                    to_app("db", "443/TCP"),
                    {"toFQDNs": [{"matchName": "api.example.com"}], "toPorts": ports("443/TCP")},
                ]
            ),
            {"peer": KNOWN, "ip": "198.51.100.7", "port": 443, "direction": EGRESS},
        ),
        (
            "shop/p allows any traffic to 10.0.0.0/8 except 10.1.0.0/16; this went to 10.1.0.0/16",
            a_policy(egress=[{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}]),
            {"peer": WORLD, "ip": "10.1.2.3", "direction": EGRESS},
        ),
        (
            "shop/p denies any traffic to 203.0.113.0/24; this went there",
            a_policy(egressDeny=[{"toCIDR": ["203.0.113.0/24"]}]),
            {"peer": WORLD, "ip": "203.0.113.9", "direction": EGRESS, "observed": DENIED},
        ),
        (
            "shop/p denies any traffic from host; this came from there",
            a_policy(ingressDeny=[{"fromEntities": ["host"]}]),
            {"peer": HOST, "observed": DENIED},
        ),
        (
            "shop/p allows any traffic from host; this came from remote-node",
            a_policy(ingress=[{"fromEntities": ["host"]}]),
            {"peer": REMOTE_NODE},
        ),
        (
            "shop/p allows any traffic from host; this came from kube-apiserver",
            a_policy(ingress=[{"fromEntities": ["host"]}]),
            {"peer": NODE},
        ),
        (
            "p allows any traffic from app=frontend; this came from shop/batch",
            a_clusterwide_policy(ingress=[from_app("frontend")]),
            {},
        ),
        (
            "shop/p allows 80/TCP from any pod in namespace shop; this came from other/batch",
            a_network_policy(
                ingress=[{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}],
            ),
            {"peer": a_pod("batch", "other"), "port": 80},
        ),
        (
            (
                "audit mode let it through: "
                "shop/p allows 8080/TCP from app=frontend; this came from shop/batch"
            ),
            a_policy(ingress=[FRONTEND]),
            {"observed": AUDITED},
        ),
        (
            (
                "shop/p allows any traffic from app=batch with authentication only; "
                "this came from shop/batch without"
            ),
            a_policy(ingress=[{**from_app("batch"), "authentication": {"mode": "required"}}]),
            {"observed": UNAUTHENTICATED},
        ),
    ],
)
def test_a_sentence_says_what_is_allowed_and_what_came(sentence, manifest, asked):
    """In the words of the policy, so that its owner finds the rule and sees what differs."""
    assert said(manifest, **asked) == sentence


@pytest.mark.parametrize(
    ("end", "selector", "peer"),
    [
        (
            "this came from other/frontend, not in namespace shop",
            {"app": "frontend"},
            a_pod("frontend", "other"),
        ),
        (
            "this came from shop/frontend, with tier=dev",
            {"app": "frontend", "tier": "prod"},
            a_pod("frontend", tier="dev"),
        ),
        (
            "this came from shop/frontend, without tier=prod",
            {"app": "frontend", "tier": "prod"},
            a_pod("frontend"),
        ),
        (
            "this came from evil/frontend, not namespace=shop",
            {"app": "frontend", "k8s:io.kubernetes.pod.namespace": "shop"},
            a_pod("frontend", "evil"),
        ),
        (
            "this came from shop/frontend, of another cluster",
            {"app": "frontend"},
            a_pod("frontend", cluster="c2"),
        ),
        ("this came from shop/batch", {"app": "frontend"}, BATCH),
    ],
)
def test_a_near_miss_says_what_is_wrong_with_the_peer(end, selector, peer):
    """A right name in a wrong namespace looks right at first sight."""
    policy = a_policy(ingress=[{"fromEndpoints": [{"matchLabels": selector}]}])
    assert said(policy, peer=peer).endswith(f"; {end}")


@pytest.mark.parametrize(
    ("end", "rules", "request_"),
    [
        ("had another method", [{"method": "GET", "path": "/api/.*"}], "POST /api/x"),
        ("had another path", [{"method": "GET", "path": "/api/.*"}], "GET /admin"),
        (
            "had another path and another method",
            [{"method": "GET", "path": "/api/.*"}],
            "POST /admin",
        ),
        (
            "had another method than GET /api/.*",
            [{"path": "/health"}, {"method": "GET", "path": "/api/.*"}],
            "POST /api/x",
        ),
        ("had another host", [{"host": "a"}], "GET /"),
        ("had other headers", [{"headers": ["X-Team"]}], "GET /"),
    ],
)
def test_a_refused_request_is_told_by_what_it_misses_of_the_nearest_rule(end, rules, request_):
    """The path that matched is no news; the method that did not is."""
    method, _, path = request_.partition(" ")
    asked = HttpRequest(method=method, path=path, host="web")
    policy = a_policy(ingress=[http(*rules)])
    text = said(policy, observed=REFUSED, l7=asked, port=80)
    assert text.endswith(f" only; this request {end}")
    told = said(policy, observed=REFUSED, l7=asked, port=80, told=str(asked))
    assert told == f"{text}: {method} web{path}"


def test_the_text_of_a_request_has_no_value_of_a_query():
    """They may be secret."""
    asked = HttpRequest(method="GET", path="/a?token=x", host="web")
    assert str(asked) == "GET web/a?…"


def test_a_refused_name_is_another_name():
    """The rules are told, and what they are about."""
    dns = {**ports("53/ANY")[0], "rules": {"dns": [{"matchPattern": "*.example.com"}]}}
    policy = a_policy(egress=[{**to_app("dns"), "toPorts": [dns]}])
    asked = {"direction": EGRESS, "port": 53, "protocol": Protocol.UDP, "observed": REFUSED}
    assert said(
        policy, peer=a_pod("dns"), l7=DnsRequest("evil.org."), told="evil.org.", **asked
    ) == (
        "shop/p allows 53/ANY to app=dns for DNS *.example.com only; "
        "this request asked for another name: evil.org."
    )


@pytest.mark.parametrize(
    ("names", "end"),
    [
        ("a", "; this came from shop/batch"),
        ("ab", "; this came from shop/batch; nor does shop/b allow it"),
        ("abc", "; this came from shop/batch; nor do shop/b and shop/c allow it"),
        ("abcd", "; this came from shop/batch; nor do shop/b, shop/c and shop/d allow it"),
        ("abcde", "; this came from shop/batch; nor do shop/b, shop/c and 2 more allow it"),
    ],
)
def test_the_other_policies_that_might_have_allowed_it_are_named(names, end):
    """Some, and then their number."""
    text = said(*(a_policy(name, ingress=[FRONTEND]) for name in names))
    assert text == f"shop/a allows 8080/TCP from app=frontend{end}"


def test_the_others_that_deny_it_too_are_named():
    """So nobody mends one of them and wonders."""
    deny = [from_app("batch")]
    text = said(*(a_policy(name, ingressDeny=deny) for name in "ab"), observed=DENIED)
    assert text == (
        "shop/a denies any traffic from app=batch; this came from shop/batch; shop/b denies it too"
    )


@pytest.mark.parametrize(
    ("sentence", "rule"),
    [
        ("shop/p allows no ingress at all", {"fromEndpoints": [], "toPorts": ports("80/TCP")}),
        (
            "shop/p allows any traffic from cloud provider groups, which is not looked up",
            {"fromGroups": [{"aws": {}}]},
        ),
        (
            "shop/p allows any traffic from CIDR group g, but nothing is known to stand behind that",
            {"fromCIDRSet": [{"cidrGroupRef": "g"}]},
        ),
        (
            "shop/p allows web/TCP from app=batch, but no port is known by that name",
            from_app("batch", "web/TCP"),
        ),
    ],
)
def test_a_rule_that_allows_nothing_says_why(sentence, rule):
    """What it names may exist nowhere."""
    assert said(a_policy(ingress=[rule])) == f"{sentence}; this came from shop/batch"


def test_ports_are_called_as_people_call_them():
    """Types of ICMP have names, and what no rule can name is another protocol."""
    assert wording.port(Protocol.TCP, 80) == "80/TCP"
    assert wording.port(Protocol.ICMPV6, 135) == "ICMPv6 type 135 (neighbour solicitation)"
    assert wording.port(Protocol.VRRP, 0) == "VRRP"
    assert wording.port(Protocol.OTHER, 0) == "another protocol"


def test_long_lists_are_cut_short_in_sentences():
    """A rule may name hundreds of addresses, and a finding names them all."""
    cidrs = [f"10.{number}.0.0/16" for number in range(100)]
    many = [f"{number}/TCP" for number in range(1, 31)]
    text = said(a_policy(ingress=[{"fromCIDR": cidrs, "toPorts": ports(*many)}]), port=7)
    assert text == (
        "shop/p allows 1/TCP, 2/TCP, 3/TCP, 4/TCP and 26 more from 10.0.0.0/16 or 10.1.0.0/16 or "
        "10.2.0.0/16 or 10.3.0.0/16 or 96 more; this came from shop/batch"
    )


def test_a_rule_is_one_line_in_a_list_of_rules():
    """What it allows or denies, and why that was not enough."""
    unknown = {**from_app("batch", "web/TCP")}
    manifests = [
        a_policy("a", ingress=[FRONTEND, from_app("batch", "9090/TCP"), unknown]),
        a_policy("b", ingress=[{}]),
    ]
    found = explain(policy_of(WEB, *manifests), a_query(BATCH, port=8080), DROPPED)
    assert [wording.line(finding, found.direction) for finding in found.findings] == [
        "allows 9090/TCP from app=batch: not this port",
        "allows 8080/TCP from app=frontend: not this peer",
        "allows no ingress at all",
        "allows no ingress at all",
    ]
    text = wording.line(
        explain(policy_of(WEB, a_policy(ingress=[unknown])), a_query(BATCH), DROPPED).findings[0],
        found.direction,
    )
    assert text == "allows web/TCP from app=batch, but no port is known by that name"
