import pytest

from policies.explaining import explain
from policies.explanation import Explanation, Reason, Unexplained
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
from policies.matching import Why
from tests.policies.builders import (
    AUDITED,
    DROPPED,
    HOST,
    REFUSED,
    WORLD,
    a_network_policy,
    a_pod,
    a_policy,
    a_query,
    from_app,
    policy_of,
    ports,
    ref,
    to_app,
)

WEB = a_pod("web")
API = a_pod("api")
BATCH = a_pod("batch")
DENIED = Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENY)
HTTP = {**ports("80/TCP")[0], "rules": {"http": [{"method": "GET", "path": "/api/.*"}]}}
GET_ADMIN = HttpRequest(method="GET", path="/admin", host="web")
GET_API = HttpRequest(method="GET", path="/api/x", host="web")


def explained(*manifests, peer=BATCH, observed=DROPPED, **query) -> Explanation:
    """Why a flow of app=web was stopped."""
    return explain(policy_of(WEB, *manifests), a_query(peer, **query), observed)


def unexplained(*manifests, **asked) -> Unexplained | None:
    """Why nothing explains it; None where something does."""
    found = explained(*manifests, **asked)
    assert (found.reason is Reason.UNEXPLAINED) is (found.unexplained is not None)
    return found.unexplained


def test_a_default_deny_drop_names_all_policies_that_deny_by_default():
    """Those without a word on the direction are left out, and so are others' policies."""
    found = explained(
        a_policy("a", ingress=[from_app("api")]),
        a_policy("b", ingress=[{}]),
        a_policy("c", egress=[{}]),
        a_policy("d", ingress=[from_app("api")], enableDefaultDeny={"ingress": False}),
        a_policy("e", namespace="other", ingress=[{}]),
    )
    assert found.reason is Reason.NO_RULE_ALLOWED
    assert found.policies == (ref("a"), ref("b"))


def test_findings_tell_each_rule_and_the_nearest_miss_comes_first():
    """A wrong port of the right peer is nearer than the wrong peer, and that than both."""
    found = explained(
        a_policy(
            "a",
            ingress=[
                from_app("nobody", "443/TCP"),
                from_app("nobody", "80/TCP"),
                from_app("batch", "53/UDP"),
                from_app("batch", "443/TCP"),
                {"fromEndpoints": []},
            ],
        ),
        a_network_policy("b", policyTypes=["Ingress"]),
    )
    assert [(finding.path, finding.why) for finding in found.findings] == [
        ("spec.ingress[3].toPorts[0]", Why.PORT),
        ("spec.ingress[2]", Why.PROTOCOL),
        ("spec.ingress[1].toPorts[0]", Why.PEER),
        ("spec.ingress[0]", Why.PEER_AND_PORT),
        ("spec.ingress[4]", Why.NOTHING),
        ("spec", Why.NOTHING),
    ]


def test_of_two_wrong_peers_the_one_with_fewer_wrong_labels_is_nearer():
    """So a typing error in one label stands out."""
    near = {"fromEndpoints": [{"matchLabels": {"app": "batch", "tier": "x"}}]}
    far = {"fromEndpoints": [{"matchLabels": {"app": "api", "tier": "x"}}]}
    found = explained(a_policy(ingress=[far, near]))
    assert [finding.path for finding in found.findings] == ["spec.ingress[1]", "spec.ingress[0]"]


def test_an_explicit_deny_is_that_of_the_policy_that_hubble_names():
    """And ours says by which rule."""
    named = Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENY, denied_by=(ref("b"),))
    deny = [{"fromEndpoints": [{}], "toPorts": ports("80/TCP")}]
    found = explained(
        a_policy("a", ingressDeny=deny), a_policy("b", ingressDeny=deny), observed=named
    )
    assert found.reason is Reason.DENIED_BY
    assert found.policies == (ref("b"),)
    assert found.findings[0].policy == ref("b")
    assert found.findings[0].path == "spec.ingressDeny[0].toPorts[0]"
    assert found.disagreement == ()


def test_where_hubble_names_none_evaluation_finds_the_denying_policies():
    """All of them."""
    deny = [from_app("batch")]
    found = explained(
        a_policy("a", ingressDeny=deny), a_policy("b", ingressDeny=deny), observed=DENIED
    )
    assert found.policies == (ref("a"), ref("b"))


def test_a_policy_that_hubble_names_and_whose_rules_do_not_deny_is_a_disagreement():
    """It is believed, and counted."""
    named = Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENY, denied_by=(ref("a"),))
    found = explained(a_policy("a", ingressDeny=[from_app("api")]), observed=named)
    assert (found.reason, found.disagreement) == (Reason.DENIED_BY, (ref("a"),))


def test_audit_is_explained_as_what_it_would_have_been():
    """By default deny or by an explicit one."""
    found = explained(a_policy(ingress=[from_app("api")]), observed=AUDITED)
    assert (found.reason, found.would_be) == (Reason.AUDIT, Reason.NO_RULE_ALLOWED)
    assert found.policies == (ref(),)
    denied = a_policy(ingressDeny=[from_app("batch")])
    assert explained(denied, observed=AUDITED).would_be is Reason.DENIED_BY
    newer = Observed(verdict=Verdict.AUDIT, denied_by=(ref(),))
    assert explained(denied, observed=newer).would_be is Reason.DENIED_BY
    assert unexplained(a_policy(ingress=[from_app("batch")]), observed=AUDITED)
    asking = a_policy(ingress=[{**from_app("batch"), "authentication": {"mode": "required"}}])
    assert explained(asking, observed=AUDITED).would_be is Reason.AUTH_REQUIRED
    groups = a_policy(ingress=[from_app("batch")], ingressDeny=[{"fromGroups": [{}]}])
    assert unexplained(groups, observed=AUDITED) == "not-evaluated:groups"
    unknown = Observed(verdict=Verdict.AUDIT, denied_by=(ref("gone"),))
    assert unexplained(denied, observed=unknown) == "denied-by-unknown-policy"


def test_a_refused_request_names_the_rules_that_it_failed():
    """With the path to them."""
    found = explained(
        a_policy(ingress=[{"fromEntities": ["all"], "toPorts": [HTTP]}]),
        observed=REFUSED,
        l7=GET_ADMIN,
    )
    assert found.reason is Reason.L7_DENIED
    assert [(f.path, f.why) for f in found.findings] == [("spec.ingress[0].toPorts[0]", Why.L7)]


def test_of_several_rule_sets_that_a_request_failed_the_nearest_comes_first():
    """The one with the right path, whatever the order of the policies."""
    other = {**ports("80/TCP")[0], "rules": {"http": [{"path": "/other"}]}}
    post = {**ports("80/TCP")[0], "rules": {"http": [{"method": "POST", "path": "/admin"}]}}
    found = explained(
        a_policy("a", ingress=[{"toPorts": [other]}]),
        a_policy("b", ingress=[{"toPorts": [post]}]),
        observed=REFUSED,
        l7=GET_ADMIN,
    )
    assert [(finding.policy, finding.miss) for finding in found.findings] == [
        (ref("b"), "had another method"),
        (ref("a"), "had another path"),
    ]
    assert found.sentence("web", "batch").endswith(
        "had another method; nor does shop/a allow this request"
    )


def test_a_refused_name_names_the_dns_rules():
    """On egress, at the client."""
    dns = {**ports("53/ANY")[0], "rules": {"dns": [{"matchPattern": "*.example.com"}]}}
    policy = a_policy(egress=[{**to_app("dns"), "toPorts": [dns]}])
    asked = {
        "peer": a_pod("dns"),
        "direction": Direction.EGRESS,
        "port": 53,
        "protocol": Protocol.UDP,
        "observed": REFUSED,
    }
    assert explained(policy, l7=DnsRequest("a.example.org."), **asked).policies == (ref(),)
    assert unexplained(policy, l7=DnsRequest("a.example.com."), **asked) == "l7-allowed-by-policy"


ALL_OF_UDP = [{"ports": [{"port": "1", "endPort": 65535, "protocol": "UDP"}]}]


@pytest.mark.parametrize(
    ("plain", "is_refused"),
    [
        ({"toEntities": ["cluster"]}, True),
        ({"toEntities": ["cluster"], "toPorts": ports("0/UDP")}, True),
        ({"toEntities": ["cluster"], "toPorts": ALL_OF_UDP}, True),
        ({"toEntities": ["cluster"], "toPorts": ports("53/UDP")}, False),
    ],
)
def test_a_plain_allow_beside_dns_rules_counts_only_where_it_names_their_port(plain, is_refused):
    """The proxy has the redirect in any case, and of its rules only those about its port."""
    dns = {**ports("53/UDP")[0], "rules": {"dns": [{"matchPattern": "*.example.com"}]}}
    policy = a_policy(egress=[{**to_app("dns"), "toPorts": [dns]}, plain])
    asked = {
        "peer": a_pod("dns"),
        "direction": Direction.EGRESS,
        "port": 53,
        "protocol": Protocol.UDP,
        "observed": REFUSED,
        "l7": DnsRequest("a.example.org."),
    }
    if is_refused:
        assert explained(policy, **asked).policies == (ref(),)
    else:
        assert unexplained(policy, **asked) == "allowed-by-policy"


def test_authentication_names_the_policies_that_ask_for_it():
    """Only such as allow the flow."""
    observed = Observed(verdict=Verdict.DROPPED, drop_reason=AUTH_REQUIRED)
    asking = a_policy(ingress=[{**from_app("batch"), "authentication": {"mode": "required"}}])
    assert explained(asking, observed=observed).reason is Reason.AUTH_REQUIRED
    assert unexplained(a_policy(ingress=[from_app("batch")]), observed=observed) == "auth-no-rule"


@pytest.mark.parametrize(
    ("code", "manifests", "asked"),
    [
        ("no-policy-selects", [], {}),
        ("allowed-by-default", [a_policy(egress=[{}])], {}),
        ("allowed-by-policy", [a_policy(ingress=[from_app("batch")])], {}),
        ("allowed-as-host", [a_policy(ingress=[{}])], {"peer": HOST}),
        ("deny-rule-unreported", [a_policy(ingressDeny=[from_app("batch")])], {}),
        ("deny-rule-not-found", [a_policy(ingress=[{}])], {"observed": DENIED}),
        (
            "not-evaluated:groups",
            [a_policy(ingressDeny=[{"fromGroups": [{"aws": {}}]}])],
            {"observed": DENIED},
        ),
        (
            "denied-by-unknown-policy",
            [a_policy(ingress=[{}])],
            {"observed": Observed(verdict=Verdict.DROPPED, denied_by=(ref("gone"),))},
        ),
        ("l7-no-rule", [], {"observed": REFUSED, "l7": GET_ADMIN}),
        ("l7-not-reached", [a_policy(ingress=[{}])], {"observed": REFUSED, "l7": GET_ADMIN}),
        (
            "l7-allowed-by-policy",
            [a_policy(ingress=[{"toPorts": [HTTP]}])],
            {"observed": REFUSED, "l7": GET_API},
        ),
        (
            "allowed-by-policy",
            [a_policy(ingress=[{"toPorts": [HTTP]}, from_app("batch")])],
            {"observed": REFUSED, "l7": GET_ADMIN},
        ),
        ("l7-no-request", [a_policy(ingress=[{"toPorts": [HTTP]}])], {"observed": REFUSED}),
        (
            "not-evaluated:l7",
            [
                a_policy(
                    ingress=[{"toPorts": [{**ports("80/TCP")[0], "rules": {"l7proto": "r2d2"}}]}]
                )
            ],
            {"observed": REFUSED},
        ),
        (
            "not-evaluated:listener",
            [a_policy(egress=[{"toPorts": [{**ports("80/TCP")[0], "listener": {"name": "l"}}]}])],
            {"observed": REFUSED, "direction": Direction.EGRESS},
        ),
        (
            "l7-no-request",
            [a_policy(ingress=[{"toPorts": [HTTP]}])],
            {"observed": REFUSED, "l7": DnsRequest("a.example.com")},
        ),
        ("other-drop-reason", [], {"observed": Observed(verdict=Verdict.DROPPED, drop_reason=139)}),
        ("not-stopped", [], {"observed": Observed(verdict=Verdict.FORWARDED)}),
    ],
)
def test_what_the_policies_do_not_lead_to_is_unexplained_with_its_reason(code, manifests, asked):
    """Never guessed; the reasons are stable, since they are counted by."""
    assert unexplained(*manifests, **asked) == code


@pytest.mark.parametrize(
    ("sentence", "manifest", "asked"),
    [
        (
            "shop/p allows 8080/TCP from app=api; this came from shop/batch, and for another port",
            a_policy(ingress=[from_app("api", "8080/TCP")]),
            {},
        ),
        (
            "shop/p allows 8080/TCP from app=api; this came from shop/batch",
            a_policy(ingress=[from_app("api", "8080/TCP")]),
            {"port": 8080},
        ),
        (
            "shop/p allows 8080-8090/TCP, dns/UDP from app=batch; this went to another port",
            a_policy(
                ingress=[
                    {
                        **from_app("batch"),
                        "toPorts": [
                            {"ports": [{"port": "8080", "endPort": 8090, "protocol": "TCP"}]},
                            *ports("dns/UDP"),
                        ],
                    }
                ]
            ),
            {},
        ),
        (
            "shop/p denies any traffic from app=batch; this came from shop/batch",
            a_policy(ingressDeny=[from_app("batch")]),
            {"observed": DENIED},
        ),
        (
            "shop/p allows no ingress at all; this came from shop/batch",
            a_policy(ingress=[{}]),
            {},
        ),
        (
            (
                "shop/p allows 80/TCP from anyone for HTTP GET /api/.* only; "
                "this request had another path"
            ),
            a_policy(ingress=[{"toPorts": [HTTP]}]),
            {"observed": REFUSED, "l7": GET_ADMIN},
        ),
        (
            (
                "audit mode let it through: shop/p allows any traffic from app=api; "
                "this came from shop/batch"
            ),
            a_policy(ingress=[from_app("api")]),
            {"observed": AUDITED},
        ),
        (
            "shop/p allows any traffic to 10.0.0.0/8 except 10.1.0.0/16; this went to shop/batch",
            a_policy(egress=[{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]}]),
            {"direction": Direction.EGRESS},
        ),
        ("unexplained: no known policy selects shop/web", None, {}),
    ],
)
def test_sentences(sentence, manifest, asked):
    """One readable sentence that starts with the nearest miss."""
    found = explained(*([] if manifest is None else [manifest]), **asked)
    assert found.sentence("shop/web", "shop/batch") == sentence


def test_a_sentence_tells_the_port_where_it_may():
    """The explanation itself does not know it, since it holds for a class of ports."""
    found = explained(a_policy(ingress=[from_app("batch", "443/TCP")]))
    assert found.sentence("web", "batch", port="80/TCP").endswith("this went to 80/TCP")


def test_a_named_deny_without_a_rule_is_told_all_the_same():
    """There is no finding to start from."""
    named = Observed(verdict=Verdict.DROPPED, denied_by=(ref(),))
    found = explained(a_policy(egress=[{}]), observed=named)
    assert found.sentence("shop/web", "batch") == "shop/p denies it; this came from batch"


def test_endpoints_without_policies_under_default_deny_are_told_so():
    """Initializing endpoints are denied by nobody's policy."""
    init = LabelSet.of(["reserved:init"])
    found = explain(policy_of(init), a_query(WORLD), DROPPED)
    assert (found.reason, found.policies) == (Reason.NO_RULE_ALLOWED, ())
    assert found.sentence("init", "world") == (
        "init is under default deny without any policy; this came from world"
    )
