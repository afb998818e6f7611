"""What becomes of one flow: explained, looked up again, put aside."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus import port
from enricher import explaining, reading
from enricher.aggregation import Sampling
from enricher.clusters import Cluster
from enricher.matching import Matching
from enricher.outcomes import Outcome
from enricher.work import Origin, Work
from schemas import topics
from schemas.hubble import flow_pb2
from schemas.picket.v1 import flows_pb2, views_pb2
from tests.enricher import builders

ORIGIN = Origin(partition=port.Partition(topics.FLOWS.name, 0), offset=7, cluster="demo")
NANOS = reading.NANOS


def a_cluster(*manifests: dict, since: float | None = None) -> Cluster:
    cluster = Cluster(builders.CLUSTER, synced=True)
    for manifest in manifests or (builders.a_policy(),):
        cluster.repository.apply(builders.policy_key(manifest), manifest, since=since)
    return cluster


def match(matching: Matching, *responses: bytes, now: float = builders.NOON) -> Work:
    """Match responses as one record; old enough not to be tried again."""
    work = Work(int((now + 1000) * NANOS), Sampling())
    value = flows_pb2.FlowBatch(cluster="demo", responses=responses).SerializeToString()
    matching.match(reading.batch(value), work, ORIGIN)
    return work


def counts(work: Work) -> list[int]:
    return [row.count for row in work.tally.rows()]


def test_a_denied_flow_is_counted_for_the_policy_that_alerts() -> None:
    """One flow, one row, with its port and its peer."""
    work = match(Matching(a_cluster()), builders.a_response())
    (row,) = work.tally.rows()
    assert row.count == 1
    assert row.addresses == {("10.0.0.1", "shop/stranger-1"): 1}
    assert [(str(t.protocol), t.port) for t in row.ports] == [("TCP", 9999)]


def test_without_the_annotation_nothing_is_counted_and_nothing_is_wrong() -> None:
    """A flow that is explained by a policy nobody wants alerts of leaves no trace."""
    work = match(Matching(a_cluster(builders.a_policy(alerts=False))), builders.a_response())
    assert counts(work) == []
    assert not work.unexplained_by_reason
    assert work.advances["demo", 0].flows == 1


def test_each_alerting_policy_gets_the_flow() -> None:
    """Two policies put the subject under default deny: both owners are told."""
    cluster = a_cluster(builders.a_policy("one"), builders.a_policy("two"))
    work = match(Matching(cluster), builders.a_response(), builders.a_response())
    assert counts(work) == [2, 2]


@pytest.mark.parametrize("verdict", [0, 1, 3, 5, 6, 7])
def test_what_was_not_stopped_is_left_alone(verdict: int) -> None:
    """Only DROPPED and AUDIT are somebody's business."""
    work = match(Matching(a_cluster()), builders.a_response(verdict=verdict))
    assert counts(work) == []
    assert work.others["demo"] == 1
    assert not work.letters


@pytest.mark.parametrize("event", [0, 1, 4, 130])
def test_only_verdicts_and_requests_count(event: int) -> None:
    """A drop event stands beside its verdict event: counting both would count twice."""
    work = match(Matching(a_cluster()), builders.a_response(event=event))
    assert counts(work) == []
    assert work.others["demo"] == 1


def test_audit_says_audit() -> None:
    """A flow that audit mode let through is counted, under a reason of its own."""
    response = builders.a_response(verdict=flow_pb2.AUDIT, reason=0)
    work = match(Matching(a_cluster()), response)
    (row,) = work.tally.rows()
    assert '"reason":"audit"' in row.route.terms.fixed


def test_a_reused_identity_number_means_nothing() -> None:
    """The same number with other labels is another peer, however close in time."""
    friend = builders.a_flow(source=builders.a_pod("one", identity=55))
    other = builders.a_flow(source=builders.a_pod("two", identity=55))
    work = match(
        Matching(a_cluster()), *(builders.a_response(flow) for flow in (friend, other, friend))
    )
    assert counts(work) == [2, 1]


def test_the_same_labels_under_other_numbers_are_one_alert() -> None:
    """An identity that was given anew goes on in the same row."""
    flows = [builders.a_flow(source=builders.a_pod("one", identity=n)) for n in (1, 2, 3)]
    work = match(Matching(a_cluster()), *map(builders.a_response, flows))
    assert counts(work) == [3]


def test_who_is_named_as_denying_is_part_of_the_key() -> None:
    """Two flows alike but for the policy that Cilium names concern two policies."""
    deny = {
        "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "frontend"}}]}],
        "ingressDeny": [{"fromEndpoints": [{"matchLabels": {"app": "stranger"}}]}],
    }
    cluster = a_cluster(builders.a_policy("one", **deny), builders.a_policy("two", **deny))
    responses = []
    for name in ("one", "two", "one"):
        flow = builders.a_flow(reason=flow_pb2.POLICY_DENY)
        flow.ingress_denied_by.add(name=name, namespace="shop", kind="CiliumNetworkPolicy")
        responses.append(builders.a_response(flow))
    work = match(Matching(cluster), *responses)
    assert {row.route.terms.policy: row.count for row in work.tally.rows()} == {
        "CiliumNetworkPolicy/shop/one": 2,
        "CiliumNetworkPolicy/shop/two": 1,
    }


def test_a_port_scan_is_a_handful_of_explanations() -> None:
    """All ports of all kinds come down to the classes that the policy cuts, and one row."""
    matching = Matching(a_cluster())
    responses = [
        builders.a_response(port=number, protocol=protocol)
        for protocol in ("TCP", "UDP")
        for number in range(1, 65536, 13)
        if number != 8080
    ]
    work = match(matching, *responses)
    assert counts(work) == [len(responses)]
    assert matching.take_misses() <= 4


def test_many_sources_are_a_handful_of_explanations() -> None:
    """Addresses come down to the prefixes that the policy names."""
    policy = builders.a_policy(ingress=[{"fromCIDR": ["198.51.100.0/24"]}])
    matching = Matching(a_cluster(policy))
    responses = [
        builders.a_response(source=builders.the_world(), source_ip=f"192.{n // 256}.{n % 256}.9")
        for n in range(5000)
    ]
    work = match(matching, *responses)
    (row,) = work.tally.rows()
    assert row.count == 5000
    assert matching.take_misses() == 1
    assert len(row.addresses) == 1024


def test_small_caches_change_nothing_but_speed() -> None:
    """Cells that were forgotten in the middle of a batch keep their counts."""
    responses = [builders.a_response(port=number % 50 + 1) for number in range(1000)]
    work = match(Matching(a_cluster(), cells=7), *responses)
    (row,) = work.tally.rows()
    assert row.count == 1000
    assert set(row.ports.values()) == {20}


def test_a_change_of_policies_is_seen_at_once() -> None:
    """What was remembered about a subject is forgotten when its policies change."""
    cluster = a_cluster()
    matching = Matching(cluster)
    assert counts(match(matching, builders.a_response())) == [1]
    wider = builders.a_policy(allow=("frontend", "stranger"), alerts=True)
    wider["spec"]["ingress"][0].pop("toPorts")
    cluster.repository.apply(builders.policy_key(wider), wider, since=None)
    cluster.epoch += 1
    work = match(matching, builders.a_response())
    assert counts(work) == []
    assert work.unexplained_by_reason == {"allowed-by-policy": 1}


def test_an_unrelated_change_keeps_what_is_remembered() -> None:
    """Explanations of other subjects are not found anew."""
    cluster = a_cluster()
    matching = Matching(cluster)
    assert counts(match(matching, builders.a_response())) == [1]
    matching.take_misses()
    other = builders.a_policy("other", app="other")
    cluster.repository.apply(builders.policy_key(other), other, since=None)
    cluster.epoch += 1
    assert counts(match(matching, builders.a_response())) == [1]
    assert matching.take_misses() == 0


def test_a_flow_is_explained_by_the_version_of_its_time() -> None:
    """A policy that came later does not explain what happened before it, nor after its end."""
    cluster = Cluster(builders.CLUSTER, synced=True)
    old = builders.a_policy()
    cluster.repository.apply("demo/key", old, since=builders.NOON - 500)
    cluster.repository.delete("demo/key", at=builders.NOON - 300)
    matching = Matching(cluster)
    ages = {600: "no-policy-selects", 400: "", 200: "no-policy-selects"}
    for age, reason in ages.items():
        work = match(matching, builders.a_response(at=builders.NOON - age))
        assert list(work.unexplained_by_reason) == ([reason] if reason else []), age


def test_five_seconds_around_a_change_either_version_will_do() -> None:
    """Clocks differ: the version counts that agrees with what was observed."""
    cluster = Cluster(builders.CLUSTER, synced=True)
    allowing = builders.a_policy(ingress=[{"fromEndpoints": [{}]}])
    cluster.repository.apply("demo/key", allowing, since=builders.NOON - 500)
    cluster.repository.apply("demo/key", builders.a_policy(), since=builders.NOON - 300)
    matching = Matching(cluster)
    explained = {306: False, 304: True, 300: True, 296: True}
    for age, expected in explained.items():
        work = match(matching, builders.a_response(at=builders.NOON - age))
        assert (not work.unexplained_by_reason) is expected, age


def test_a_change_within_a_minute_parts_the_minute() -> None:
    """Flows of before it are not counted with those of after it, though they look alike."""
    cluster = a_cluster(since=builders.NOON - 30)
    matching = Matching(cluster)
    ages = (20, 50, 20)
    work = match(matching, *(builders.a_response(at=builders.NOON - age) for age in ages))
    assert counts(work) == [2]
    assert work.unexplained_by_reason == {"no-policy-selects": 1}


def test_another_version_is_another_explanation() -> None:
    """Even one that cuts the same classes: its owner may not want alerts any more."""
    cluster = a_cluster()
    matching = Matching(cluster)
    assert counts(match(matching, builders.a_response())) == [1]
    silent = builders.a_policy(alerts=False)
    cluster.repository.apply(builders.policy_key(silent), silent, since=None)
    cluster.epoch += 1
    work = match(matching, builders.a_response())
    assert counts(work) == []
    assert not work.unexplained_by_reason


def test_subjects_of_one_rule_are_told_apart() -> None:
    """They share the policy and its classes, and each is an alert of its own."""
    policy = builders.a_policy()
    policy["spec"]["endpointSelector"] = {}
    flows = [builders.a_flow(destination=builders.a_pod(app)) for app in ("one", "two", "one")]
    work = match(Matching(a_cluster(policy)), *map(builders.a_response, flows))
    assert {row.route.subject.text: row.count for row in work.tally.rows()} == {
        "shop/one": 2,
        "shop/two": 1,
    }


def test_audit_and_drop_of_one_reason_are_told_apart() -> None:
    """Whatever a newer Cilium says as the reason of what audit mode let through."""
    verdicts = (flow_pb2.DROPPED, flow_pb2.AUDIT, flow_pb2.DROPPED)
    work = match(Matching(a_cluster()), *(builders.a_response(verdict=v) for v in verdicts))
    assert counts(work) == [2, 1]


@pytest.mark.parametrize(
    "missing",
    ["source", "destination", "IP", "l4", "traffic_direction", "time", "uuid", "event_type"],
)
def test_a_flow_with_a_part_missing_harms_nobody(missing: str) -> None:
    """It is explained, put aside or left alone, and the flows beside it are counted."""
    flow = builders.a_flow()
    flow.ClearField(missing)
    broken = builders.a_response(flow)
    work = match(Matching(a_cluster()), builders.a_response(), broken, builders.a_response())
    total = sum(counts(work)) + len(work.letters) + sum(work.unexplained_by_reason.values())
    assert total + work.others["demo"] == 3
    assert sum(counts(work)) >= 2


def test_the_responses_time_stands_in_for_the_flows() -> None:
    """A flow without a time of its own has that of its response."""
    flow = builders.a_flow()
    flow.ClearField("time")
    response = views_pb2.ResponseView.FromString(builders.a_response(flow))
    response.time.CopyFrom(builders.a_time(builders.NOON - 30))
    work = match(Matching(a_cluster()), response.SerializeToString())
    (row,) = work.tally.rows()
    assert row.first == int((builders.NOON - 30) * NANOS)


@pytest.mark.parametrize("at", [-5.0, 0.0, builders.NOON + 10_000_000])
def test_an_impossible_time_is_a_dead_letter(at: float) -> None:
    """A minute far ahead would keep its alert on top for ever."""
    work = match(Matching(a_cluster()), builders.a_response(at=at))
    assert counts(work) == []
    assert len(work.letters) == 1


def test_a_fault_concerns_one_flow_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong while explaining is a dead letter with the reason, not the end."""
    explain = explaining.Explaining._explain

    def sometimes(
        self: explaining.Explaining, policy: object, stopped: explaining.Stopped
    ) -> Outcome:
        if stopped.transport.port == 666:
            raise ZeroDivisionError("the number of the beast")
        return explain(self, policy, stopped)

    monkeypatch.setattr(explaining.Explaining, "_explain", sometimes)
    policy = builders.a_policy(
        ingress=[
            {
                "fromEndpoints": [{"matchLabels": {"app": "frontend"}}],
                "toPorts": [{"ports": [{"port": "666", "protocol": "TCP"}]}],
            }
        ]
    )
    responses = [builders.a_response(port=port) for port in (1, 666, 2)]
    work = match(Matching(a_cluster(policy)), *responses)
    assert counts(work) == [2]
    (letter,) = work.letters
    assert b"ZeroDivisionError: the number of the beast" in (letter.value or b"")
    assert work.advances["demo", 0].flows == 2


def test_requests_are_told_apart_by_what_rules_ask_for() -> None:
    """Request ids make no explanation of their own; a header that a rule asks for does."""
    policy = builders.a_policy(
        ingress=[
            {
                "fromEndpoints": [{"matchLabels": {"app": "stranger"}}],
                "toPorts": [
                    {
                        "ports": [{"port": "80", "protocol": "TCP"}],
                        "rules": {"http": [{"method": "GET", "headers": ["X-Pass"]}]},
                    }
                ],
            }
        ]
    )
    matching = Matching(a_cluster(policy))
    responses = []
    for number in range(20):
        http = flow_pb2.HTTP(method="POST", url="http://backend/", protocol="HTTP/1.1")
        http.headers.add(key="X-Request-Id", value=str(number))
        flow = builders.a_flow(event=129, reason=0, port=80, http=http)
        responses.append(builders.a_response(flow))
    work = match(matching, *responses)
    assert counts(work) == [20]
    assert matching.take_misses() == 1


def test_a_header_that_a_rule_asks_for_matters() -> None:
    """With it the request is allowed, as far as is known, so that nobody knows why it was denied."""
    ports = [{"port": "80", "protocol": "TCP"}]
    policy = builders.a_policy(
        ingress=[
            {
                "fromEndpoints": [{"matchLabels": {"app": "stranger"}}],
                "toPorts": [{"ports": ports, "rules": {"http": [{"headers": ["X-Pass"]}]}}],
            }
        ]
    )
    responses = []
    for header in ("X-Other", "x-pass"):
        http = flow_pb2.HTTP(method="GET", url="http://backend/", protocol="HTTP/1.1")
        http.headers.add(key=header, value="")
        flow = builders.a_flow(event=129, reason=0, port=80, http=http)
        responses.append(builders.a_response(flow))
    work = match(Matching(a_cluster(policy)), *responses)
    assert counts(work) == [1]
    assert work.unexplained_by_reason == {"l7-allowed-by-policy": 1}


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_end_the_matching(garbage: bytes) -> None:
    """Whatever stands in a response, the good one beside it is counted."""
    value = flows_pb2.FlowBatch(
        cluster="demo", responses=[garbage, builders.a_response()]
    ).SerializeToString()
    work = Work(int((builders.NOON + 1000) * NANOS), Sampling())
    batch = reading.batch(value)
    Matching(a_cluster()).match(batch, work, ORIGIN)
    assert sum(counts(work)) >= 1
    assert len(batch.responses) + len(batch.broken) == 2


@settings(deadline=None)
@given(st.binary(max_size=100), st.sampled_from(["source", "destination", "IP", "l7"]))
def test_no_bytes_within_a_flow_end_the_matching(garbage: bytes, part: str) -> None:
    """The same for the parts that are decoded late."""
    view = views_pb2.ResponseView.FromString(builders.a_response())
    setattr(view.flow, part, garbage)
    if part == "l7":
        view.flow.event_type.type = 129
    work = match(Matching(a_cluster()), view.SerializeToString(), builders.a_response())
    assert sum(counts(work)) >= 1
