"""The synthetic flows are such as the policies of the mix bring about, and raise what they should."""

import pytest
from google.protobuf import json_format
from ruamel.yaml import YAML

from policies.evaluating import Outcome, decide
from policies.explaining import explain
from policies.flows import Verdict
from policies.naming import party
from policies.repository import Repository
from tests.parts.synthetic import kinds, mix
from tests.policies import captures

CAST = mix.Cast(["demo/n1", "demo/n2", "demo/n3"])
STEPS = [
    pytest.param(step, id=f"{scenario.name}-{index}")
    for scenario in (*CAST.scenarios.values(), CAST.stranger("caller"))
    for index, step in enumerate(scenario.steps)
    if step.flow.event_type.type in (kinds.VERDICT, kinds.L7)
]


@pytest.fixture(scope="module")
def repository() -> Repository:
    repository = Repository()
    for path in sorted(mix.POLICIES.glob("*.yaml")):
        repository.apply(path.stem, YAML(typ="safe").load(path.read_text()), since=None)
    return repository


@pytest.mark.parametrize("step", STEPS)
def test_a_flow_agrees_with_the_policies(repository: Repository, step: mix.Step):
    """What is stopped is explained by exactly the expected policies; the rest they allow."""
    as_json = json_format.MessageToDict(step.flow, preserving_proto_field_name=True)
    flow = captures._recorded(as_json)
    subject = repository.subject(flow.subject).newest
    if flow.observed.verdict not in (Verdict.DROPPED, Verdict.AUDIT):
        assert decide(subject, flow.query).decision is Outcome.ALLOWED
        assert step.alerts == ()
        return
    found = explain(subject, flow.query, flow.observed)
    assert found.unexplained is None
    assert found.disagreement == ()
    raised = set()
    for ref in found.policies:
        policy = subject.policy(ref)
        if policy.alerting is not None:
            own, peer = party(flow.subject), party(flow.query.peer, [policy], flow.query.peer_ip)
            raised.add(
                mix.Alert(
                    policy=mix.Policy(ref.kind, ref.namespace, ref.name),
                    direction=found.direction.value,
                    reason=found.reason.value,
                    subject=mix.Party(own.kind.value, own.namespace, own.app),
                    peer=mix.Party(peer.kind.value, peer.namespace, peer.app),
                )
            )
            assert policy.alerting.project == mix.PROJECTS[mix.Policy(*_names(ref))]
    assert raised == set(step.alerts)


def test_every_alerting_policy_of_the_mix_raises_something():
    """And the mix spans three namespaces, both directions and every reason but authentication."""
    alerts = {
        alert for scenario in CAST.scenarios.values() for s in scenario.steps for alert in s.alerts
    }
    assert {alert.policy for alert in alerts} == set(mix.PROJECTS)
    assert {alert.direction for alert in alerts} == {"ingress", "egress"}
    assert {alert.subject.namespace for alert in alerts} == {"shop", "pay", "media"}
    assert {alert.reason for alert in alerts} == {
        *("denied-by", "no-rule-allowed", "l7-denied", "audit"),
    }


def _names(ref):
    return ref.kind, ref.namespace, ref.name
