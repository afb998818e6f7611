import pytest

from policies import parsing
from policies.decoding import PolicyRejected
from policies.explaining import explain
from policies.explanation import Reason
from policies.flows import (
    Direction,
    DnsRequest,
    HttpRequest,
    KafkaRequest,
    Request,
)
from policies.refusing import Passing, judge
from policies.requests import L7Rules
from tests.policies.builders import REFUSED, a_pod, a_policy, a_query, policy_of, ports

GET = HttpRequest(method="GET", path="/", host="web", headers=(("X-Key", "HUBBLE_REDACTED"),))


def rules(*, direction="ingress", **more) -> L7Rules:
    """What `rules` (or what else stands beside the ports) of a rule for 80/TCP come to."""
    policy = parsing.parse(a_policy(**{direction: [{"toPorts": [{**ports("80/TCP")[0], **more}]}]}))
    side = policy.rules[0].ingress if direction == "ingress" else policy.rules[0].egress
    return side.allow[0].ports[0].l7


def kafka(*entries) -> L7Rules:
    return rules(rules={"kafka": list(entries)})


def passing(l7: L7Rules, request: Request | None) -> Passing:
    return judge(l7, request).passing


def produce(topic="orders", key="produce", version=3) -> KafkaRequest:
    return KafkaRequest(key=key, version=version, topic=topic)


@pytest.mark.parametrize(
    ("rule", "request_", "expected"),
    [
        ({"topic": "orders"}, produce(), Passing.PASSES),
        ({"topic": "orders"}, produce("bills"), Passing.FAILS),
        ({"topic": "orders"}, produce("", "heartbeat"), Passing.PASSES),
        ({"role": "Produce"}, produce(), Passing.PASSES),
        ({"role": "produce"}, produce("", "apiversions"), Passing.PASSES),
        ({"role": "produce"}, produce(key="fetch"), Passing.FAILS),
        ({"role": "consume"}, produce("", "joingroup"), Passing.PASSES),
        ({"apiKey": "Fetch"}, produce(key="fetch"), Passing.PASSES),
        ({"apiKey": "fetch"}, produce(), Passing.FAILS),
        ({"apiVersion": "3"}, produce(), Passing.PASSES),
        ({"apiVersion": "2"}, produce(), Passing.FAILS),
        ({"clientID": "x"}, produce(), Passing.UNSEEN),
        ({"clientID": "x", "topic": "bills"}, produce(), Passing.FAILS),
        ({}, produce(), Passing.PASSES),
        ({}, GET, Passing.OTHER_KIND),
    ],
)
def test_kafka_rules_are_judged_by_what_a_flow_shows(rule, request_, expected):
    """Role, key, version and topic; the client is never seen, and so never taken for met."""
    assert passing(kafka(rule), request_) is expected


@pytest.mark.parametrize(
    "rule",
    [
        {"role": "eat"},
        {"role": "produce", "apiKey": "fetch"},
        {"apiKey": "sing"},
        {"apiVersion": "x"},
        {"apiVersion": "-1"},
        {"apiVersion": "32768"},
        {"topic": "a b"},
        {"topic": "a" * 256},
    ],
)
def test_kafka_rules_that_cilium_refuses_are_refused(rule):
    """As a whole, with the policy around them."""
    with pytest.raises(PolicyRejected):
        kafka(rule)


def test_a_denied_kafka_request_names_the_rules_that_it_failed():
    """The nearest of them first."""
    http = {**ports("80/TCP")[0], "rules": {"kafka": [{"topic": "a"}, {"role": "produce"}]}}
    query = a_query(a_pod("x"), l7=KafkaRequest(key="fetch", version=1, topic="b"))
    found = explain(
        policy_of(a_pod("web"), a_policy(ingress=[{"toPorts": [http]}])), query, REFUSED
    )
    assert found.reason is Reason.L7_DENIED
    assert found.sentence("shop/web", "shop/x", request=str(query.l7)) == (
        "shop/p allows 80/TCP from anyone for Kafka any request topic a, produce only; "
        "this request had another API key than produce: fetch b"
    )


def test_a_header_that_is_not_shown_is_neither_met_nor_missed():
    """Be it that its value is a secret of the policy or that Hubble redacts it."""
    secret = {"name": "X-Key", "secret": {"name": "s"}}
    for match in ({"headerMatches": [secret]}, {"headers": ["X-Key: a"]}):
        l7 = rules(rules={"http": [match]})
        assert passing(l7, GET) is Passing.UNSEEN
        assert passing(rules(rules={"http": [{**match, "method": "POST"}]}), GET) is Passing.FAILS
    assert passing(rules(rules={"http": [{"headers": ["X-Key"]}]}), GET) is Passing.PASSES


@pytest.mark.parametrize(
    "match",
    [{"name": ""}, {"name": "X", "mismatch": "SHOUT"}, {"name": "X", "secret": {"namespace": "n"}}],
)
def test_header_matches_that_cilium_refuses_are_refused(match):
    """A name, a known action, and a secret that has a name."""
    with pytest.raises(PolicyRejected):
        rules(rules={"http": [{"headerMatches": [match]}]})


def test_a_connection_refused_by_server_names_is_told_by_them():
    """A flow does not show which server was named; nothing else can have refused it there."""
    names = {**ports("443/TCP")[0], "serverNames": ["a.example.com", "*.example.org"]}
    policy = policy_of(a_pod("web"), a_policy(egress=[{"toPorts": [names]}]))
    query = a_query(a_pod("x"), direction=Direction.EGRESS, port=443)
    found = explain(policy, query, REFUSED)
    assert found.reason is Reason.L7_DENIED
    assert found.sentence("shop/web", "shop/x") == (
        "shop/p allows 443/TCP to anyone for TLS server name a.example.com, *.example.org only; "
        "this request named another server, or none"
    )


def test_a_name_and_a_pattern_in_one_dns_rule_are_two():
    """Unlike in toFQDNs, where Cilium refuses that."""
    both = {"matchName": "a.example.com", "matchPattern": "*.example.org"}
    l7 = rules(direction="egress", rules={"dns": [both]})
    assert passing(l7, DnsRequest("a.example.com.")) is Passing.PASSES
    assert passing(l7, DnsRequest("b.example.org.")) is Passing.PASSES
    assert passing(l7, DnsRequest("b.example.com.")) is Passing.FAILS
    with pytest.raises(PolicyRejected):
        parsing.parse(a_policy(egress=[{"toFQDNs": [both]}]))


def test_an_empty_dns_rule_lets_no_name_pass():
    """It is a rule all the same."""
    l7 = rules(direction="egress", rules={"dns": [{}]})
    assert passing(l7, DnsRequest("a.example.com.")) is Passing.FAILS
