import pytest

from policies.allowing import Basis, allow
from policies.flows import Event, HttpRequest, KafkaRequest, Observed, Verdict
from policies.labels import LabelSet
from policies.matching import Why
from tests.policies.builders import (
    HOST,
    a_pod,
    a_policy,
    a_query,
    from_app,
    policy_of,
    ports,
    ref,
)

WEB = a_pod("web")
BATCH = a_pod("batch")
PASSED = Observed(verdict=Verdict.FORWARDED)
ANSWERED = Observed(verdict=Verdict.FORWARDED, event=Event.L7)
L7 = {**ports("80/TCP")[0], "rules": {"http": [{"method": "GET"}]}}


def allowed(*manifests, peer=BATCH, observed=PASSED, named=(), **query):
    """Why a flow of app=web passed."""
    return allow(policy_of(WEB, *manifests), a_query(peer, **query), observed, named)


def test_a_flow_that_passed_is_told_by_the_rules_that_allow_it():
    """With their places, all of them, and the policies of all."""
    found = allowed(
        a_policy("a", ingress=[from_app("batch", "80/TCP")]),
        a_policy("b", ingress=[from_app("batch")]),
        a_policy("c", ingress=[from_app("api")]),
    )
    assert found.basis is Basis.ALLOWED_BY
    assert [(f.policy, f.path, f.why) for f in found.findings] == [
        (ref("a"), "spec.ingress[0].toPorts[0]", Why.ALLOWS),
        (ref("b"), "spec.ingress[0]", Why.ALLOWS),
    ]
    assert found.sentence("shop/web", "shop/batch") == (
        "shop/a allows 80/TCP from app=batch; 1 more policy allows it too"
    )


@pytest.mark.parametrize(
    ("basis", "sentence", "manifests", "asked"),
    [
        (Basis.NO_POLICY, "no policy selects shop/web; this came from x", [], {}),
        (
            Basis.NO_DEFAULT_DENY,
            "no policy restricts the ingress of shop/web; this came from x",
            [a_policy(egress=[{}])],
            {},
        ),
        (
            Basis.ALLOWED_AS_HOST,
            "the local host may reach shop/web whatever policies allow; this came from x",
            [a_policy(ingress=[{}])],
            {"peer": HOST},
        ),
    ],
)
def test_what_no_rule_allows_may_pass_all_the_same(basis, sentence, manifests, asked):
    """Where nothing restricts, and for the host."""
    found = allowed(*manifests, **asked)
    assert (found.basis, found.policies) == (basis, ())
    assert found.sentence("shop/web", "x") == sentence


@pytest.mark.parametrize(
    ("code", "rules", "asked"),
    [
        ("passed-though-denied", {"ingressDeny": [from_app("batch")]}, {}),
        ("passed-though-nothing-allows", {"ingress": [from_app("api")]}, {}),
        ("not-evaluated:groups", {"ingress": [{"fromGroups": [{"aws": {}}]}]}, {}),
        (
            "passed-though-l7-refuses",
            {"ingress": [{"toPorts": [L7]}]},
            {"observed": ANSWERED, "l7": HttpRequest(method="PUT", path="/", host="")},
        ),
        (
            "l7-no-request",
            {"ingress": [{"toPorts": [L7]}]},
            {"observed": ANSWERED, "l7": KafkaRequest(key="fetch", version=1, topic="")},
        ),
        (
            "l7-depends-on-unseen",
            {"ingress": [{"toPorts": [{**ports("80/TCP")[0], "serverNames": ["a"]}]}]},
            {"observed": ANSWERED},
        ),
        (
            "not-evaluated:l7",
            {"ingress": [{"toPorts": [{**ports("80/TCP")[0], "rules": {"l7proto": "x"}}]}]},
            {"observed": ANSWERED},
        ),
    ],
)
def test_a_flow_that_should_not_have_passed_is_unexplained(code, rules, asked):
    """By these policies: others were in force, or something here is not evaluated."""
    found = allowed(a_policy(**rules), **asked)
    assert (found.basis, found.unexplained) == (Basis.UNEXPLAINED, code)
    assert found.sentence("shop/web", "x").startswith("unexplained: ")


def test_l7_rules_bind_only_who_is_under_default_deny():
    """Beside a policy that denies nothing by default Cilium lets every other request pass."""
    lax = {"ingress": [{"toPorts": [L7]}], "enableDefaultDeny": {"ingress": False}}
    asked = {"observed": ANSWERED, "l7": HttpRequest(method="PUT", path="/", host="")}
    assert allowed(a_policy(**lax), **asked).unexplained is None
    strict = a_policy("strict", ingress=[from_app("api")])
    assert allowed(a_policy(**lax), strict, **asked).unexplained == "passed-though-l7-refuses"


def test_a_request_is_told_by_the_rule_that_takes_it():
    """Not by another one that allows the connection and refuses the request."""
    put = {**ports("80/TCP")[0], "rules": {"http": [{"method": "PUT"}]}}
    found = allowed(
        a_policy("a", ingress=[{"toPorts": [put]}]),
        a_policy("b", ingress=[{"toPorts": [L7]}]),
        observed=ANSWERED,
        l7=HttpRequest(method="GET", path="/", host=""),
    )
    assert found.policies == (ref("b"),)


def test_a_policy_that_cilium_names_and_whose_rules_allow_nothing_is_a_disagreement():
    """One of several that it does not name is none."""
    manifests = [a_policy("a", ingress=[from_app("batch")]), a_policy("b", ingress=[from_app("x")])]
    assert allowed(*manifests, named=(ref("b"),)).disagreement == (ref("b"),)
    assert allowed(*manifests, named=(ref("a"),)).disagreement == ()


def test_nodes_by_their_addresses_need_no_option():
    """With policy-cidr-match-mode=nodes Cilium labels nodes with prefixes, and else it does not."""
    cidr = a_policy(ingress=[{"fromCIDR": ["192.0.2.0/24"]}])
    labelled = LabelSet.of(["reserved:remote-node", "cidr:192.0.2.0/24"])
    assert allowed(cidr, peer=labelled, ip="192.0.2.7").basis is Basis.ALLOWED_BY
    plain = LabelSet.of(["reserved:remote-node"])
    assert allowed(cidr, peer=plain, ip="192.0.2.7").unexplained == "passed-though-nothing-allows"
