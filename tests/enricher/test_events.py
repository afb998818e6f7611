"""What is written to picket.matches."""

import json

import pytest

from bus import port
from enricher import events, reading
from enricher.aggregation import Sampling
from enricher.clusters import Cluster
from enricher.matching import Matching
from enricher.progress import Progress
from enricher.settings import EnricherSettings
from enricher.work import Origin, Work
from schemas import messages, topics
from schemas.picket.v1 import flows_pb2
from tests.enricher import builders, harness

PARTITION = port.Partition(topics.FLOWS.name, 2)
ORIGIN = Origin(partition=PARTITION, offset=7, cluster="demo")


def matched(manifest: dict, *responses: bytes) -> list[messages.MatchEvent]:
    """Return the events of flows that one policy stopped."""
    cluster = Cluster("demo", synced=True)
    cluster.repository.apply("demo/key", manifest, since=None)
    work = Work(int((builders.NOON + 1000) * reading.NANOS), Sampling())
    value = flows_pb2.FlowBatch(cluster="demo", responses=responses).SerializeToString()
    Matching(cluster).match(reading.batch(value), work, ORIGIN)
    records = list(events.matches(work.tally.rows(), "span"))
    found = [messages.MatchEvent.model_validate_json(record.value or b"") for record in records]
    for record, event in zip(records, found, strict=True):
        assert record.key == event.data.fingerprint.encode()
    return found


def test_a_match_says_all_there_is_to_say() -> None:
    """Policy, project, parties, counts, times and settings, as the schema has them."""
    manifest = builders.a_policy(
        annotations={
            "picket.dev/severity": "high",
            "picket.dev/threshold": "5/1m",
            "picket.dev/resolve-after": "30m",
            "picket.dev/runbook": "https://runbooks.example/backend",
        }
    )
    responses = [
        builders.a_response(at=builders.NOON - 10.5, port=9090),
        builders.a_response(at=builders.NOON - 3.25, port=9090),
    ]
    (event,) = matched(manifest, *responses)
    match = event.data
    assert event.subject == "CiliumNetworkPolicy/shop/backend-ingress"
    assert event.source == "/picket/enricher/demo"
    assert event.time == match.last_seen
    assert (match.cluster, match.project, match.direction) == ("demo", "123", "ingress")
    assert match.policy == messages.PolicyIdentity(
        kind="CiliumNetworkPolicy", namespace="shop", name="backend-ingress"
    )
    assert match.subject.text == "shop/backend"
    assert (match.peer.kind, match.peer.namespace, match.peer.name) == (
        "workload",
        "shop",
        "stranger",
    )
    assert match.severity is messages.Severity.HIGH
    assert match.threshold == messages.Threshold(count=5, seconds=60)
    assert match.resolve_after == 1800
    assert match.runbook == "https://runbooks.example/backend"
    assert match.minute.timestamp() == builders.NOON - 60
    assert match.first_seen.timestamp() == builders.NOON - 10.5
    assert match.last_seen.timestamp() == builders.NOON - 3.25
    assert match.ports == [messages.PortCount(protocol="TCP", port=9090, count=2)]
    assert match.peers == [
        messages.AddressCount(address="10.0.0.1", name="shop/stranger-1", count=2)
    ]
    assert [sample["uuid"] for sample in match.samples] == [builders.a_flow().uuid]


def test_the_sentence_names_the_port_where_there_is_one() -> None:
    """A scan of many ports has a sentence without any."""
    manifest = builders.a_policy(allow=("stranger",))
    (one,) = matched(manifest, builders.a_response(port=9090))
    assert "9090/TCP" in one.data.sentence
    assert "8080/TCP" in one.data.sentence
    (many,) = matched(manifest, *(builders.a_response(port=p) for p in (1, 2)))
    assert many.data.sentence
    assert "1/TCP" not in many.data.sentence


def test_findings_say_where_and_why() -> None:
    """Each rule of the policy, with its place in the manifest."""
    (event,) = matched(builders.a_policy(), builders.a_response())
    (finding,) = event.data.findings
    assert finding.path.startswith("spec.ingress[0]")
    assert finding.why.startswith("allows 8080/TCP from")


def test_names_from_manifests_cannot_break_the_json() -> None:
    """Whatever stands in a label, an annotation or a selector stays text."""
    nasty = 'a"\\\n\u2028\x00é😀'
    manifest = builders.a_policy(annotations={"picket.dev/runbook": "https://x/" + '"}'})
    manifest["metadata"]["labels"]["app.gitlab.com/proj"] = nasty
    flow = builders.a_flow()
    flow.source.pod_name = nasty
    flow.source.ClearField("labels")
    flow.source.labels.extend([*builders.pod_labels("x"), f"k8s:app={nasty}"])
    (event,) = matched(manifest, builders.a_response(flow))
    assert event.data.project == nasty
    assert event.data.peers[0].name == f"shop/{nasty}"


def test_ports_and_addresses_are_the_top_of_them() -> None:
    """At most twenty of each, the most frequent first."""
    responses = [
        builders.a_response(port=1000 + n, source_ip=f"10.0.1.{n}")
        for n in range(60)
        for _ in range(2 if n == 50 else 1)
    ]
    (event,) = matched(builders.a_policy(), *responses)
    assert event.data.count == 61
    assert len(event.data.ports) == len(event.data.peers) == events.TOP
    assert (event.data.ports[0].port, event.data.ports[0].count) == (1050, 2)
    assert event.data.peers[0].address == "10.0.1.50"


def test_icmp_has_a_type_in_place_of_a_port() -> None:
    """As the schema says."""
    (event,) = matched(builders.a_policy(), builders.a_response(protocol="ICMPv6", port=128))
    assert event.data.ports == [messages.PortCount(protocol="ICMPv6", port=128, count=1)]


def test_each_minute_is_a_match_of_its_own() -> None:
    """UTC minutes, whatever the batch."""
    times = [builders.NOON - 120.5, builders.NOON - 60, builders.NOON - 0.001]
    found = matched(builders.a_policy(), *(builders.a_response(at=at) for at in times))
    minutes = [event.data.minute.timestamp() - builders.NOON for event in found]
    assert minutes == [-180, -60]
    assert [event.data.count for event in found] == [1, 2]


@pytest.mark.parametrize(
    ("group_by", "alerts"), [("", 4), ("subject", 1), ("peer", 2), ("subject,peer", 2)]
)
def test_owners_choose_what_tells_alerts_apart(group_by: str, alerts: int) -> None:
    """Without the annotation direction, reason, subject and peer do."""
    manifest = builders.a_policy(annotations={"picket.dev/group-by": group_by} if group_by else {})
    responses = [
        builders.a_response(source=builders.a_pod(app), verdict=verdict, reason=reason)
        for app in ("one", "two")
        for verdict, reason in ((2, 133), (4, 0))
    ]
    found = matched(manifest, *responses)
    assert len({event.data.fingerprint for event in found}) == alerts
    assert sum(event.data.count for event in found) == 4


def test_a_span_stands_for_its_offsets() -> None:
    """In whatever order they came, and for no others."""
    other = port.Partition(topics.FLOWS.name, 3)
    one = events.span({PARTITION: (1, 5), other: (0, 2)})
    assert one == events.span({other: (0, 2), PARTITION: (1, 5)})
    assert one != events.span({PARTITION: (1, 6), other: (0, 2)})


def test_thousands_of_notices_are_several_messages() -> None:
    """A gap at each node of a large cluster fits into the topic's records, flows counted once."""
    work = Work(int(builders.NOON * reading.NANOS), Sampling())
    work.advance(ORIGIN).flows = 5
    for number in range(1200):
        work.notice(
            ORIGIN,
            messages.NoticeKind.GAP,
            "ring-overrun",
            node=f"node-{number}",
            first=work.now,
            last=work.now,
        )
    plan = Progress(1.0).plan(work, 0.0)
    told = [
        messages.ProgressEvent.model_validate_json(record.value or b"").data
        for tell in plan.tells
        for record in events.progress(tell, work)
    ]
    assert [len(progress.notices) for progress in told] == [500, 500, 200]
    assert sum(progress.flows for progress in told) == 5


def test_no_match_is_too_large_for_its_topic(stage: harness.Stage) -> None:
    """The worst that samples, findings and names can do still fits."""
    stage.settings = EnricherSettings(samples=10)
    rules = [
        {"fromEndpoints": [{"matchLabels": {f"label-{n}-{m}": "v" * 60}} for m in range(40)]}
        for n in range(40)
    ]
    manifest = builders.a_policy(ingress=rules)
    stage.write(builders.a_policy_record(manifest), builders.a_marker())
    responses = []
    for number in range(30):
        flow = builders.a_flow(port=number + 1)
        flow.source.labels.extend(f"k8s:l{n}={'x' * 2000}" for n in range(100))
        responses.append(builders.a_response(flow))
    stage.write(*(builders.a_batch([response]) for response in responses))
    stage.run()
    (record,) = [
        record
        for record in stage.records(topics.MATCHES.name)
        if json.loads(record.value)["type"] == messages.MATCH
    ]
    assert len(record.value) < topics.MATCHES.max_record_bytes / 4
