"""What must hold whatever the policies say."""

import copy
import random
from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.allowing import Basis, allow
from policies.evaluating import ALLOW_HOST, Outcome, decide
from policies.explaining import explain
from policies.explanation import Explanation, Reason
from policies.flows import DnsRequest, Event, Observed, Query, Verdict
from policies.model import CCNP, CNP, KNP
from policies.naming import party
from policies.repository import Repository
from policies.subjects import SubjectPolicy
from tests.policies import generating
from tests.policies.generating import FACTS, WEB, Generator, Json, World

PASSED = Observed(verdict=Verdict.FORWARDED, event=Event.L7)
invented = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Invented:
    """A world, and more of the same kind to change it with."""

    world: World
    more: Json
    """A policy that is not in it."""
    rules: dict[str, list[Json]]
    """A few rules of each section."""
    queries: tuple[Query, ...]
    """Flows of the world, and such as these rules are about."""
    observed: tuple[Observed, ...]
    """What Cilium may have said about the flows, whatever the policies say."""


def invented_of(data: bytes) -> Invented:
    generator = generating.out_of(data)
    world = generator.world()
    rules = {
        section: generator.rules(section)
        for section in ("ingress", "egress", "ingressDeny", "egressDeny")
    }
    aimed = [generator.query({"spec": rules}) for _ in range(12)]
    return Invented(
        world=world,
        more=generator.policy("more"),
        rules=rules,
        queries=(*world.queries, *aimed),
        observed=tuple(generator.observed(outcome, world.policies) for outcome in Outcome),
    )


worlds = st.binary(min_size=500, max_size=500).map(invented_of)


def in_force(world: World, policies: tuple[Json, ...] | None = None) -> SubjectPolicy:
    """What the world's subject is under, with its own policies or with others."""
    return generating.loaded(world, policies).subject(world.subject).newest


def answers(subject: SubjectPolicy, invented: Invented) -> list[object]:
    """Everything that can be asked about the flows."""
    return [answer(subject, query, invented.observed) for query in invented.queries]


def answer(subject: SubjectPolicy, query: Query, observed: tuple[Observed, ...]) -> object:
    return decide(subject, query), [explain(subject, query, seen) for seen in observed]


def taking_nodes(world: World) -> World:
    """The world where rules about nodes are taken: elsewhere one has the whole policy refused."""
    return replace(world, options=replace(world.options, node_selector_labels=True))


def allowed(subject: SubjectPolicy, query: Query) -> bool:
    """Whether a flow gets through at L3 and L4."""
    return decide(subject, query).decision is Outcome.ALLOWED


def passes(subject: SubjectPolicy, query: Query) -> bool:
    """Whether its request certainly passes a proxy, if there is one."""
    return allow(subject, query, PASSED).basis is not Basis.UNEXPLAINED


def changed(manifest: Json, section: str, rules: list[Json]) -> Json:
    """The same policy with more rules."""
    made = copy.deepcopy(manifest)
    made["spec"][section] = [*made["spec"].get(section, []), *copy.deepcopy(rules)]
    return made


@invented
@given(worlds, st.sampled_from(["ingressDeny", "egressDeny"]), st.booleans())
def test_adding_a_deny_never_allows_more(found: Invented, section: str, quiet: bool) -> None:
    """Whatever it is about, in a policy of its own or beside others, with default deny or not."""
    world = taking_nodes(found.world)
    spec = {"endpointSelector": {}, section: found.rules[section]}
    if quiet:
        spec["enableDefaultDeny"] = {"ingress": False, "egress": False}
    denying = {"kind": CCNP, "metadata": {"name": "denying"}, "spec": spec}
    before, after = in_force(world), in_force(world, (*world.policies, denying))
    alone = in_force(world, (denying,))
    for query in found.queries:
        assert allowed(before, query) or not allowed(after, query)
        if decide(alone, query).decision is Outcome.DENIED:
            assert decide(after, query).decision is Outcome.DENIED
    beside = [policy for policy in world.policies if "endpointSelector" in policy["spec"]]
    for policy in beside:
        others = tuple(other for other in world.policies if other is not policy)
        after = in_force(world, (*others, changed(policy, section, found.rules[section])))
        assert not [q for q in found.queries if allowed(after, q) and not allowed(before, q)]


@invented
@given(worlds, st.sampled_from(["ingress", "egress"]), st.booleans())
def test_adding_an_allow_never_stops_more_where_the_subject_is_enforced_already(
    found: Invented, section: str, anyone: bool
) -> None:
    """A rule only adds to what gets through; where there were requests to refuse, too.

    But L7 rules about the host bind it although it gets through without any rule, and rules for
    the very port of DNS bind names whatever rules about any port say: so Cilium's proxies do it.
    """
    world = taking_nodes(found.world)
    peers = "fromEntities" if section == "ingress" else "toEntities"
    base = {
        "kind": CCNP,
        "metadata": {"name": "base"},
        "spec": {"endpointSelector": {}, section: [{peers: ["all"]} if anyone else {}]},
    }
    wider = changed(base, section, found.rules[section])
    before = in_force(world, (*world.policies, base))
    after = in_force(world, (*world.policies, wider))
    for query in found.queries:
        if query.direction.value != section or not allowed(before, query):
            continue
        assert allowed(after, query)
        if ALLOW_HOST not in decide(before, query).origin and not isinstance(query.l7, DnsRequest):
            assert passes(after, query) or not passes(before, query)


@invented
@given(worlds, st.integers())
def test_the_order_of_objects_does_not_matter(found: Invented, seed: int) -> None:
    """Neither for decisions nor for explanations, nor does that of what they refer to."""
    world = found.world
    repository = Repository(world.options)
    objects = [(generating.fact_key(fact), fact) for fact in FACTS]
    objects += [(manifest["metadata"]["name"], manifest) for manifest in world.policies]
    random.Random(seed).shuffle(objects)
    for key, manifest in objects:
        repository.apply(key, manifest, since=None)
    assert answers(repository.subject(world.subject).newest, found) == answers(
        in_force(world), found
    )


@invented
@given(worlds, st.sampled_from([CNP, KNP]))
def test_a_policy_for_another_namespace_changes_nothing(found: Invented, kind: str) -> None:
    """Not even what is compiled; the world's own policies all select within one namespace."""
    world = found.world
    repository = generating.loaded(world)
    before = repository.subject(WEB)
    told = answers(before.newest, found)
    generator = Generator(random.Random(str(found.more)).randrange)
    foreign = generator.policy("foreign", namespace="other", kind=kind)
    repository.apply("foreign", foreign, since=None)
    assert repository.subject(WEB) is before
    assert answers(repository.subject(WEB).newest, found) == told
    # The same policy means something where it belongs.
    own = {**foreign, "metadata": {**foreign["metadata"], "namespace": "shop"}}
    repository.apply("own", own, since=None)
    assert repository.rejected().keys() <= {"own", "foreign", *(f"p{n}" for n in range(4))}


@invented
@given(worlds, st.integers(0, 3))
def test_removing_and_adding_an_object_restores_every_answer(found: Invented, which: int) -> None:
    """Nothing of it stays behind, and nothing else is lost; so with what policies refer to."""
    world = found.world
    repository = generating.loaded(world)
    before = answers(repository.subject(world.subject).newest, found)
    manifest = world.policies[which % len(world.policies)]
    key = manifest["metadata"]["name"]
    repository.delete(key, at=None)
    rest = tuple(other for other in world.policies if other is not manifest)
    without = answers(repository.subject(world.subject).newest, found)
    assert without == answers(in_force(world, rest), found)
    repository.apply(key, manifest, since=None)
    assert answers(repository.subject(world.subject).newest, found) == before
    for fact in FACTS:
        key = generating.fact_key(fact)
        repository.delete(key, at=None)
        less = generating.loaded(world, facts=[other for other in FACTS if other is not fact])
        without = answers(repository.subject(world.subject).newest, found)
        assert without == answers(less.subject(world.subject).newest, found)
        repository.apply(key, fact, since=None)
        assert answers(repository.subject(world.subject).newest, found) == before


@invented
@given(worlds)
def test_what_is_kept_for_a_class_is_what_each_flow_of_it_would_get(found: Invented) -> None:
    """Decision, explanation and name depend on version, peer labels and classes alone."""
    subject = in_force(found.world)
    kept: dict[object, object] = {}
    for query in generating.neighbours(found.world.queries):
        key = (
            query.direction,
            query.peer,
            query.l7,
            subject.port_class(query.direction, query.protocol, query.port),
            subject.cidr_class(query.direction, query.peer_ip) if query.peer.is_outside else "",
        )
        names = [party(query.peer, [policy], query.peer_ip) for policy in subject.policies.values()]
        told = (answer(subject, query, found.observed), names)
        # An address that is missing, or of the other family, lies in no prefix: the same class.
        assert kept.setdefault(key, told) == told


def test_the_invented_worlds_hold_what_matters() -> None:
    """Flows of every outcome and reason, and policies with every kind of peer and limit."""
    chance = random.Random(7)
    outcomes: Counter[object] = Counter()
    written = ""
    for _ in range(400):
        generator = Generator(chance.randrange)
        world = generator.world()
        written += str(world.policies)
        subject = in_force(world)
        for query in world.queries:
            decision = decide(subject, query)
            told = explain(subject, query, generator.observed(decision.decision, world.policies))
            outcomes.update([decision.decision, told.reason, (decision.enforced, decision.l7)])
    assert outcomes.keys() >= {*Outcome, *Reason, (True, True), (True, False), (False, False)}
    assert all(outcomes[outcome] > 200 for outcome in Outcome)
    for peers in ("Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes", "Groups", "Services"):
        assert f"'to{peers}'" in written, peers
    for name in (
        *("toFQDNs", "cidrGroupRef", "cidrGroupSelector", "except", "nodeSelector", "specs"),
        *("icmps", "endPort", "'port': 'http'", "'port': '0'", "http", "dns", "kafka", "l7proto"),
        *("serverNames", "headers", "headerMatches", "authentication", "enableDefaultDeny"),
        *("ingressDeny", "egressDeny", CNP, CCNP, KNP, "ipBlock", "namespaceSelector"),
        *("k8sService", "k8sServiceSelector", "reserved:", "io.cilium.k8s.policy.cluster"),
    ):
        assert name in written, name


def test_an_explanation_of_every_invented_flow_reads_well() -> None:
    """No empty word, and never the same words for a flow that is explained and one that is not."""
    chance = random.Random(3)
    for _ in range(150):
        generator = Generator(chance.randrange)
        world = generator.world()
        subject = in_force(world)
        for query in world.queries:
            told = explain(subject, query, generator.observed(decide(subject, query).decision))
            sentence = told.sentence("shop/web", "other/api", port=f"{query.port}/TCP")
            assert_reads_well(sentence, told)


def assert_reads_well(sentence: str, told: Explanation) -> None:
    assert sentence == sentence.strip()
    assert "  " not in sentence
    assert "None" not in sentence
    assert sentence.startswith("unexplained: ") is (told.reason is Reason.UNEXPLAINED)
