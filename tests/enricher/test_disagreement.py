"""Where Cilium names another policy than evaluation does: believed, counted, and told."""

import prometheus_client

from enricher.metrics import PAIRS, Metrics
from enricher.outcomes import Disagreement
from schemas.hubble import flow_pb2
from tests.enricher import builders, harness

DENY_STRANGERS = {"ingressDeny": [{"fromEndpoints": [{"matchLabels": {"app": "stranger"}}]}]}
DENY_OTHERS = {"ingressDeny": [{"fromEndpoints": [{"matchLabels": {"app": "somebody"}}]}]}
COUNTED = "picket_enricher_flows_disagreeing_total"


def a_denial(name: str) -> bytes:
    """Return a flow of which Cilium says that this policy denied it."""
    flow = builders.a_flow(reason=flow_pb2.POLICY_DENY)
    flow.ingress_denied_by.add(name=name, namespace="shop", kind="CiliumNetworkPolicy")
    return builders.a_response(flow)


def run(stage: harness.Stage, *names: str) -> None:
    """Match denials by policies of these names; by their rules only `denying` denies."""
    stage.write(
        builders.a_policy_record(builders.a_policy("denying", **DENY_STRANGERS)),
        builders.a_policy_record(builders.a_policy("other", **DENY_OTHERS)),
        builders.a_marker(),
        builders.a_batch([a_denial(name) for name in names]),
    )
    stage.run()


def test_a_disagreement_is_counted_with_its_pair_and_told(stage: harness.Stage) -> None:
    """The alert goes to whom Cilium names; flows are counted one by one, the notice says whom."""
    run(stage, "other", "other", "denying")
    assert harness.counted(stage.matches()) == {
        "other ingress shop/stranger denied-by": 2,
        "denying ingress shop/stranger denied-by": 1,
    }
    reported, found = "CiliumNetworkPolicy/shop/other", "CiliumNetworkPolicy/shop/denying"
    labels = {"cluster": "demo", "reported": reported, "found": found}
    assert stage.registry.get_sample_value(COUNTED, labels) == 2
    assert stage.notices() == {("disagreement", reported): 2}
    (notice,) = (notice for told in stage.progress() for notice in told.notices)
    assert found in notice.detail


def test_agreement_is_not_worth_a_word(stage: harness.Stage) -> None:
    """Cilium names one of several that deny, and that is no disagreement."""
    run(stage, "denying")
    assert stage.notices() == {}
    assert COUNTED not in prometheus_client.generate_latest(stage.registry).decode().replace(
        f"# HELP {COUNTED}", ""
    ).replace(f"# TYPE {COUNTED}", "")


def test_pairs_without_end_do_not_become_series_without_end() -> None:
    """Whoever makes policies cannot fill the memory of whoever scrapes."""
    registry = prometheus_client.CollectorRegistry()
    metrics = Metrics(registry)
    firsts = [metrics.disagreed(Disagreement("demo", f"p{n}", "none"), 1) for n in range(500)]
    assert sum(firsts) == PAIRS
    assert not metrics.disagreed(Disagreement("demo", "p1", "none"), 3)
    labels = {"cluster": "demo", "reported": "p1", "found": "none"}
    assert registry.get_sample_value(COUNTED, labels) == 4
    others = {"cluster": "demo", "reported": "other", "found": "other"}
    assert registry.get_sample_value(COUNTED, others) == 500 - PAIRS
