"""What a real Cilium said, through the real log: exactly the counts of an independent script."""

from tests.enricher import builders, harness

TRUTH = {
    "db-deny-attacker ingress evil/attacker denied-by": 73,
    "backend-ingress ingress shop/bare no-rule-allowed": 32,
    "backend-ingress ingress world no-rule-allowed": 9,
    "frontend-egress egress shop/backend no-rule-allowed": 8,
    "audited-ingress ingress shop/backend audit": 8,
    "frontend-egress egress 203.0.113.20/32 denied-by": 4,
    "frontend-egress egress kube-system/kube-dns l7-denied": 2,
}


def shop(stage: harness.Stage, *, at_once: int) -> None:
    """Write the capture and its policies to the log."""
    responses = builders.shop_responses()
    stage.write(
        *(builders.a_policy_record(manifest) for manifest in builders.shop_policies()),
        builders.a_marker(),
        *(
            builders.a_batch(responses[start : start + at_once])
            for start in range(0, len(responses), at_once)
        ),
    )


def test_the_recorded_denials_are_counted_exactly(stage: harness.Stage) -> None:
    """Each denial of the capture is counted once, for the policies that asked for alerts."""
    stage.hand.seconds = builders.CAPTURE_END + 86_400
    shop(stage, at_once=100)
    stage.run()
    assert harness.counted(stage.matches()) == TRUTH
    assert stage.notices() == {("unexplained", "l7-no-rule"): 7}
    assert stage.letters() == []


def test_what_is_seen_live_is_counted_the_same(stage: harness.Stage) -> None:
    """Young unexplained flows take the way through both retry topics, and the sums are the same."""
    stage.hand.seconds = builders.CAPTURE_END
    shop(stage, at_once=7)
    stage.run()
    stage.hand.seconds += 6
    stage.run()
    stage.hand.seconds += 61
    stage.run()
    assert harness.counted(stage.matches()) == TRUTH
    assert stage.notices() == {("unexplained", "l7-no-rule"): 7}


def test_all_but_denials_is_counted_as_not_stopped(stage: harness.Stage) -> None:
    """What was let through, and drop events beside policy verdicts, count for nothing."""
    stage.hand.seconds = builders.CAPTURE_END + 86_400
    shop(stage, at_once=100)
    stage.run()
    explained = stage.registry.get_sample_value(
        "picket_enricher_flows_explained_total", {"cluster": "demo"}
    )
    others = stage.registry.get_sample_value(
        "picket_enricher_flows_not_stopped_total", {"cluster": "demo"}
    )
    assert (explained, others) == (136, len(builders.shop_responses()) - 143)
    assert sum(progress.flows for progress in stage.progress()) == 136
