"""What is remembered for flows of one kind is what each of them would get by itself."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from bus import port
from enricher import reading
from enricher.aggregation import Row, Sampling
from enricher.clusters import Cluster
from enricher.matching import Matching
from enricher.reading import NANOS
from enricher.work import Origin, Work
from policies.evaluating import Outcome, decide
from policies.flows import Direction, DnsRequest, Event, HttpRequest, Observed, Protocol, Query
from policies.labels import LabelSet
from policies.repository import Repository
from schemas import topics
from schemas.hubble import flow_pb2
from schemas.picket.v1 import flows_pb2
from tests.enricher import builders
from tests.policies import generating
from tests.policies.generating import World

ORIGIN = Origin(partition=port.Partition(topics.FLOWS.name, 0), offset=7, cluster="demo")
FIELDS = {Protocol.ICMP: "ICMPv4", Protocol.ICMPV6: "ICMPv6"}


def an_endpoint(labels: LabelSet) -> flow_pb2.Endpoint:
    return flow_pb2.Endpoint(labels=labels.labels, namespace=labels.namespace)


def a_response(
    subject: LabelSet, query: Query, observed: Observed, *, at: float = builders.NOON - 1
) -> bytes:
    """A flow as relay sends it, from what the policy of one end is asked."""
    inward = query.direction is Direction.INGRESS
    ends = (query.peer, subject) if inward else (subject, query.peer)
    flow = flow_pb2.Flow(
        verdict=int(observed.verdict),  # type: ignore[arg-type]
        drop_reason_desc=observed.drop_reason,  # type: ignore[arg-type]
        traffic_direction=flow_pb2.INGRESS if inward else flow_pb2.EGRESS,
        event_type=flow_pb2.CiliumEventType(type=int(observed.event)),
        source=an_endpoint(ends[0]),
        destination=an_endpoint(ends[1]),
    )
    flow.IP.source, flow.IP.destination = "10.9.9.9", "10.9.9.9"
    setattr(flow.IP, "source" if inward else "destination", query.peer_ip)
    flow.time.CopyFrom(builders.a_time(at))
    if query.protocol is not Protocol.OTHER:
        layer4 = getattr(flow.l4, FIELDS.get(query.protocol, query.protocol.name))
        if hasattr(layer4, "destination_port"):
            layer4.destination_port = query.port
        elif query.protocol in FIELDS:
            layer4.type = query.port
        else:
            layer4.SetInParent()
    for ref in observed.denied_by:
        flow.ingress_denied_by.add(kind=ref.kind, namespace=ref.namespace, name=ref.name)
    if observed.event is Event.L7:
        _request(flow, query)
    return builders.a_response(flow)


def _request(flow: flow_pb2.Flow, query: Query) -> None:
    match query.l7:
        case HttpRequest() as http:
            flow.l7.http.method, flow.l7.http.url = http.method, f"http://{http.host}{http.path}"
            for key, value in http.headers:
                flow.l7.http.headers.add(key=key, value=value)
        case DnsRequest() as dns:
            flow.l7.dns.query = dns.name
        case _:
            flow.l7.SetInParent()


def outcome(matching: Matching, response: bytes) -> object:
    """All that becomes of one flow."""
    work = Work(int((builders.NOON + 1000) * NANOS), Sampling())
    batch = flows_pb2.FlowBatch(cluster="demo", responses=[response]).SerializeToString()
    matching.match(reading.batch(batch), work, ORIGIN)
    rows = sorted(_row(row) for row in work.tally.rows())
    notices = [
        (key, count.count, count.detail)
        for advance in work.advances.values()
        for key, count in advance.notices.items()
    ]
    work.tally.discard()
    return rows, notices, work.unexplained_by_reason, work.tally.disagreements, len(work.letters)


def _row(row: Row) -> tuple[object, ...]:
    route = row.route
    return (
        *(route.fingerprint, route.terms.fixed, route.terms.about, route.subject, route.peer),
        *(route.sentence(""), row.count, row.ports, row.addresses),
    )


def flows_of(world: World, seed: int) -> list[bytes]:
    """Flows of the world, their neighbours, and all of them again in another order."""
    chance = random.Random(seed)
    generator = generating.Generator(chance.randrange)
    subject = generating.loaded(world).subject(world.subject).newest
    flows = []
    for query in generating.neighbours(world.queries[:4]):
        observed = generator.observed(decide(subject, query).decision, world.policies)
        flows.append(a_response(world.subject, query, observed))
    again = flows.copy()
    chance.shuffle(again)
    return [*flows, *again]


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=400, max_size=400), st.integers(0, 1000))
def test_a_remembered_answer_is_the_one_that_would_be_found(data: bytes, seed: int) -> None:
    """One matching that remembers everything, against one for each flow that remembers nothing."""
    world = generating.out_of(data).world(queries=4)
    cluster = Cluster("demo", repository=generating.loaded(world), synced=True)
    remembering = Matching(cluster)
    for response in flows_of(world, seed):
        assert outcome(remembering, response) == outcome(Matching(cluster), response)


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=600, max_size=600), st.integers(0, 1000))
def test_nothing_is_remembered_of_policies_that_are_no_more(data: bytes, seed: int) -> None:
    """A policy after another is taken away, changed and put back, with flows in between."""
    generator = generating.out_of(data)
    world = generator.world(queries=3)
    repository = generating.loaded(world)
    cluster = Cluster("demo", repository=repository, synced=True)
    remembering = Matching(cluster)
    flows = flows_of(world, seed)[:20]
    for manifest in world.policies:
        name = manifest["metadata"]["name"]
        for change in (None, generator.policy(name), manifest):
            repository.delete(name, at=None)
            if change is not None:
                repository.apply(name, change, since=None)
            cluster.epoch += 1
            for response in flows:
                assert outcome(remembering, response) == outcome(Matching(cluster), response)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=600, max_size=600), st.integers(0, 1000))
def test_what_is_remembered_holds_for_its_time_only(data: bytes, seed: int) -> None:
    """Policies come and go within minutes, and flows of all these minutes in any order."""
    generator = generating.out_of(data)
    world = generator.world(queries=3)
    cluster = Cluster("demo", repository=Repository(world.options), synced=True)
    for manifest in (*world.policies, *world.policies):
        name, at = manifest["metadata"]["name"], builders.NOON - 10 * generator.below(30)
        if generator.maybe():
            cluster.repository.delete(name, at=at)
        else:
            cluster.repository.apply(name, manifest, since=at)
    chance = random.Random(seed)
    choosing = generating.Generator(chance.randrange)
    remembering = Matching(cluster)
    for _ in range(60):
        query = choosing.one(world.queries)
        observed = choosing.observed(choosing.one(tuple(Outcome)), world.policies)
        at = builders.NOON - choosing.below(400)
        response = a_response(world.subject, query, observed, at=at)
        assert outcome(remembering, response) == outcome(Matching(cluster), response)
