"""Recordings of a real Cilium: what it stopped is explained, and as it reported it."""

from collections import Counter

import pytest

from policies.allowing import allow
from policies.evaluating import Outcome, decide, evaluate
from policies.explaining import explain
from policies.explanation import Reason
from policies.flows import Event, HttpRequest, Verdict
from policies.naming import party
from tests.policies import captures

STOPPED = (Verdict.DROPPED, Verdict.AUDIT)
RECORDINGS = [
    "shop.jsonl.gz",
    "all.jsonl.gz",
    "flood.jsonl.gz",
    "node-down-up.jsonl",
    *(f"classes/{path.name}" for path in sorted((captures.CAPTURES / "classes").iterdir())),
]
STAND_INS = 7 + 1 + 1
"""HTTP requests that were refused without an HTTP rule in force, in shop, all and their class."""


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
    assert alerts == captures.TRUTH
    assert unexplained == {"l7-no-rule": 7}
    assert silent == {}


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_denial_agrees_with_what_cilium_reported(name):
    """Only the requests that were refused without an HTTP rule in force are unexplained."""
    repository = captures.policies()
    for flow in captures.recorded(name):
        if flow.observed.verdict not in STOPPED:
            continue
        found = explain(repository.subject(flow.subject).newest, flow.query, flow.observed)
        assert found.disagreement == ()
        if found.reason is Reason.UNEXPLAINED:
            assert (found.unexplained, flow.observed.event) == ("l7-no-rule", Event.L7)
            assert isinstance(flow.query.l7, HttpRequest)
        else:
            assert found.policies
            assert found.findings
        if flow.observed.denied_by:
            assert set(found.policies) == set(flow.observed.denied_by)


def test_nothing_but_the_stand_ins_is_unexplained():
    """And there is something to explain."""
    repository = captures.policies()
    explained: Counter[bool] = Counter()
    for name in RECORDINGS:
        for flow in captures.recorded(name):
            if flow.observed.verdict in STOPPED:
                subject = repository.subject(flow.subject).newest
                found = explain(subject, flow.query, flow.observed)
                explained[found.unexplained is None] += 1
    assert explained[False] == STAND_INS
    assert explained[True] > 10_000


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_allowed_verdict_is_allowed_and_by_the_policy_that_cilium_names(name):
    """So a stopped flow is not called allowed for want of understanding."""
    repository = captures.policies()
    for flow in captures.recorded(name):
        if flow.observed.event is not Event.VERDICT or flow.observed.verdict in STOPPED:
            continue
        subject = repository.subject(flow.subject).newest
        found = decide(subject, flow.query)
        assert found.decision is Outcome.ALLOWED, flow
        assert set(flow.allowed_by) <= set(found.origin), flow
        assert found.l7 is (flow.observed.verdict is Verdict.REDIRECTED), flow
        told = allow(subject, flow.query, flow.observed, flow.allowed_by)
        assert (told.unexplained, told.disagreement) == (None, ()), flow


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_rules_that_decide_compare_what_cilium_says_that_it_compared(name):
    """Peer and port, one of them, or neither; a default deny compares nothing."""
    repository = captures.policies()
    for flow in captures.recorded(name):
        if flow.observed.event is not Event.VERDICT:
            continue
        found = evaluate(repository.subject(flow.subject).newest, flow.query)
        hits = found.denying or found.allowing
        shapes = {(not hit.rule.is_about_anyone(), bool(hit.spans)) for hit in hits}
        compared = {(True, False): 1, (True, True): 2, (False, True): 3, (False, False): 4}
        if found.side.enforced:
            assert flow.match_type in ({compared[shape] for shape in shapes} or {0}), flow


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
