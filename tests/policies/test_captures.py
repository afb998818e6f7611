"""Recordings of a real Cilium: what it stopped is explained, and as it reported it."""

from collections import Counter

import pytest

from policies.evaluating import Outcome, decide
from policies.explaining import explain
from policies.explanation import Reason
from policies.flows import Event, Verdict
from policies.naming import party
from tests.policies import captures

STOPPED = (Verdict.DROPPED, Verdict.AUDIT)


def test_the_example_comes_to_exactly_its_known_counts():
    """Counted by an independent script when the recording was made."""
    repository = captures.policies()
    alerts: Counter[tuple[str, str, str, str, str]] = Counter()
    silent: Counter[str] = Counter()
    unexplained: Counter[str] = Counter()
    for flow in captures.recorded("shop.jsonl.gz"):
        if flow.observed.verdict not in STOPPED:
            continue
        subject = repository.subject(flow.subject).newest
        found = explain(subject, flow.query, flow.observed)
        if found.unexplained is not None:
            unexplained[found.unexplained] += 1
        for ref in found.policies:
            policy = subject.policy(ref)
            if policy.alerting is None:
                silent[ref.name] += 1
                continue
            peer = party(flow.query.peer, [policy], flow.query.peer_ip)
            own = party(flow.subject)
            alerts[ref.name, found.direction, found.reason, own.text, peer.text] += 1
    assert alerts == {
        ("db-deny-attacker", "ingress", "denied-by", "shop/db", "evil/attacker"): 73,
        ("backend-ingress", "ingress", "no-rule-allowed", "shop/backend", "shop/bare"): 32,
        ("backend-ingress", "ingress", "no-rule-allowed", "shop/backend", "world"): 9,
        ("frontend-egress", "egress", "no-rule-allowed", "shop/frontend", "shop/backend"): 8,
        ("audited-ingress", "ingress", "audit", "shop/audited", "shop/backend"): 8,
        ("frontend-egress", "egress", "denied-by", "shop/frontend", "203.0.113.20/32"): 4,
        ("frontend-egress", "egress", "l7-denied", "shop/frontend", "kube-system/kube-dns"): 2,
    }
    assert unexplained == {"l7-no-rule": 7}
    assert silent == {}


@pytest.mark.parametrize("name", ["shop.jsonl.gz", "all.jsonl.gz"])
def test_every_denial_agrees_with_what_cilium_reported(name):
    """Only the requests that were refused without an HTTP rule in force are unexplained."""
    repository = captures.policies()
    denials = 0
    for flow in captures.recorded(name):
        if flow.observed.verdict not in STOPPED:
            continue
        denials += 1
        found = explain(repository.subject(flow.subject).newest, flow.query, flow.observed)
        assert found.disagreement == ()
        if found.reason is Reason.UNEXPLAINED:
            assert (found.unexplained, flow.observed.event) == ("l7-no-rule", Event.L7)
        if flow.observed.denied_by:
            assert set(found.policies) == set(flow.observed.denied_by)
    assert denials > 20


@pytest.mark.parametrize("name", ["shop.jsonl.gz", "all.jsonl.gz"])
def test_every_allowed_verdict_is_allowed_and_by_the_policy_that_cilium_names(name):
    """So a stopped flow is not called allowed for want of understanding."""
    repository = captures.policies()
    verdicts = 0
    for flow in captures.recorded(name):
        if flow.observed.event is not Event.VERDICT or flow.observed.verdict in STOPPED:
            continue
        verdicts += 1
        found = decide(repository.subject(flow.subject).newest, flow.query)
        assert found.decision is Outcome.ALLOWED, flow
        assert set(flow.allowed_by) <= set(found.origin), flow
        assert found.l7 is (flow.observed.verdict is Verdict.REDIRECTED), flow
    assert verdicts > 10


def test_a_policy_without_the_annotation_is_silent():
    """Its denials are explained, and nobody asked for an alert."""
    repository = captures.policies()
    for flow in captures.recorded("all.jsonl.gz"):
        subject = repository.subject(flow.subject).newest
        found = explain(subject, flow.query, flow.observed)
        if any(ref.name == "bare-no-alert" for ref in found.policies):
            assert all(subject.policy(ref).alerting is None for ref in found.policies)
            return
    pytest.fail("the recording has a denial of bare-no-alert")


def test_policies_as_written_are_those_that_the_api_server_held():
    """Whether they come from a folder or from the cluster makes no difference."""
    assert captures.policies("policies-in-force.yaml").policies() == captures.policies().policies()
