"""Policies of every shape and flows that try their edges: an answer, and always the same one."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from policies import wording
from policies.allowing import Basis, allow
from policies.decoding import PolicyRejected
from policies.evaluating import Decision, Outcome, decide
from policies.explaining import explain
from policies.explanation import Explanation, Reason
from policies.flows import Event, Observed, Query, Verdict
from policies.labels import LabelSet
from policies.model import CNP, KINDS
from policies.naming import party
from policies.repository import Repository
from policies.subjects import SubjectPolicy
from tests.fuzz import corpora
from tests.policies import generating
from tests.policies.generating import FACTS, Generator, World

_PASSED = (
    Observed(verdict=Verdict.FORWARDED),
    Observed(verdict=Verdict.FORWARDED, event=Event.L7),
)
_EMPTY = {"kind": CNP, "metadata": {"name": "p"}}
_OPTIONS = tuple(
    {"kind": "AgentOptions", "metadata": {"name": "o"}, "spec": spec}
    for spec in (
        {"enablePolicy": "always", "enableNodeSelectorLabels": True},
        {"enablePolicy": "default", "allowLocalhost": "policy"},
    )
)
_MEANT = {
    Reason.DENIED_BY: Outcome.DENIED,
    Reason.NO_RULE_ALLOWED: Outcome.DEFAULT_DENY,
    Reason.L7_DENIED: Outcome.ALLOWED,
    Reason.AUTH_REQUIRED: Outcome.ALLOWED,
}


def one(data: bytes) -> None:
    """Ask everything about some flows, and about their neighbours of the same class."""
    generator = generating.out_of(data)
    world = generator.world(policies=2, queries=2)
    facts = [fact for fact in FACTS if not generator.maybe(2)] if generator.maybe(3) else []
    subject = generating.loaded(world, facts=facts).subject(world.subject).newest
    kept: dict[object, object] = {}
    for query in world.queries:
        decision = decide(subject, query)
        observed = generator.observed(decision.decision, world.policies)
        explanation = explain(subject, query, observed)
        check(subject, query, decision, explanation, named=bool(observed.denied_by))
        for asked in _beside(query, generator):
            found = _all(subject, asked, observed)
            key = (observed, asked.direction, asked.peer, asked.l7, *_classes(subject, asked))
            assert kept.setdefault(key, found) == found, "remembered is not what would be found"
    some = [label for label in world.queries[0].peer.labels if generator.maybe(2)]
    assert party(LabelSet.of(some)).text
    match generator.below(8):
        case 6:
            _without_order(world, facts, subject)
        case 7:
            _over_time(world, generator)
        case _:
            pass


def check(
    subject: SubjectPolicy,
    query: Query,
    decision: Decision,
    found: Explanation,
    *,
    named: bool,
) -> None:
    """What an explanation must be, whatever it says."""
    assert (found.reason is Reason.UNEXPLAINED) is (found.unexplained is not None)
    assert (found.reason is Reason.AUDIT) is (found.would_be is not None)
    reason = found.would_be or found.reason
    if reason in _MEANT and not (named and reason is Reason.DENIED_BY):
        assert decision.decision is _MEANT[reason]
    assert all(subject.policy(ref) for ref in found.policies)
    assert all(subject.policy(finding.policy) for finding in found.findings)
    assert decision.l7 is False or decision.decision is Outcome.ALLOWED
    assert all(wording.line(finding, query.direction) for finding in found.findings)
    sentence = found.sentence(
        "shop/web", "other/api", port=wording.port(query.protocol, query.port)
    )
    assert sentence == " ".join(sentence.split()), sentence
    for observed in _PASSED:
        passed = allow(subject, query, observed)
        assert (passed.basis is Basis.UNEXPLAINED) is (passed.unexplained is not None)
        assert passed.sentence("shop/web", "other/api")


def _all(subject: SubjectPolicy, query: Query, observed: Observed) -> object:
    names = [party(query.peer, [policy], query.peer_ip) for policy in subject.policies.values()]
    names.append(party(query.peer))
    return decide(subject, query), explain(subject, query, observed), names


def _over_time(world: World, generator: Generator) -> None:
    """Objects come, change and go; what held at a time is what a cluster with just these has."""
    repository = Repository(world.options)
    now: dict[str, generating.Json] = {}
    known = []
    for at in (0.0, 10.0, 20.0):
        before = repository.subject(world.subject)
        for manifest in _changes(world, generator):
            key = generating.fact_key(manifest)
            if generator.maybe(3):
                repository.delete(key, at=at)
                now.pop(key, None)
            else:
                repository.apply(key, manifest, since=at)
                now[key] = manifest
        known.append((at, tuple(now.values())))
        if not before.superseded:
            fresh = _holding(world, now.values())
            assert all(decide(before.newest, q) == decide(fresh, q) for q in world.queries)
    names = {str(generating.ref_of(each)) for each in now.values() if each["kind"] in KINDS}
    assert {str(policy.ref) for policy in repository.policies()} == names
    assert all(repository.policy(policy.ref) is policy for policy in repository.policies())
    for pruned in (False, True):
        if pruned:
            repository.prune(15.0)
        timeline = repository.subject(world.subject)
        for at, held in known[-1 if pruned else 0 :]:
            versions = timeline.in_force(at + 1)
            fresh = _holding(world, held)
            for query in world.queries:
                assert decide(versions[0], query) == decide(fresh, query), at
            begin, end = timeline.steady(at + 1)
            assert begin <= at + 1 < end
            assert timeline.in_force(max(begin, 0.0)) == versions
            assert timeline.in_force(min(end, 100.0) - 0.001) == versions
    with contextlib.suppress(PolicyRejected):
        repository.apply("p", {**_EMPTY, "spec": {}}, since=30.0)
    assert repository.rejected()


def _changes(world: World, generator: Generator) -> Iterator[generating.Json]:
    """A policy, at times under another one's name, and at times what else decides."""
    policy = generator.one(world.policies)
    name = policy["metadata"]["name"] if generator.maybe(2) else "p"
    yield {**policy, "metadata": {**policy["metadata"], "name": name}}
    if generator.maybe(2):
        yield generator.one((*FACTS, *_OPTIONS))


def _holding(world: World, objects: Iterable[generating.Json]) -> SubjectPolicy:
    """The policies of the world's subject in a cluster of just these objects."""
    repository = Repository(world.options)
    for manifest in objects:
        repository.apply(generating.fact_key(manifest), manifest, since=None)
    return repository.subject(world.subject).newest


def _beside(query: Query, generator: Generator) -> list[Query]:
    port = max(query.port + generator.below(3) - 1, 0)
    return [query, replace(query, port=port, peer_ip=generator.one(generating.IPS))]


def _classes(subject: SubjectPolicy, query: Query) -> tuple[int, str]:
    cidr = subject.cidr_class(query.direction, query.peer_ip) if query.peer.is_outside else ""
    return subject.port_class(query.direction, query.protocol, query.port), cidr


def _without_order(world: World, facts: list[generating.Json], subject: SubjectPolicy) -> None:
    """The same policies the other way round decide the same."""
    back = generating.loaded(world, tuple(reversed(world.policies)), facts=facts)
    for query in world.queries:
        assert decide(back.subject(world.subject).newest, query) == decide(subject, query)


def seeds() -> Iterator[bytes]:
    """Rows of choices."""
    return corpora.choices(3, length=400)
