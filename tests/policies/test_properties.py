"""What must hold whatever the policies say."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.evaluating import Outcome, decide
from policies.explaining import explain
from policies.flows import AUTH_REQUIRED, POLICY_DENY, Direction, Observed, Protocol, Query, Verdict
from policies.labels import LabelSet
from policies.naming import party
from policies.subjects import SubjectPolicy
from tests.policies.builders import (
    AUDITED,
    DROPPED,
    HOST,
    REMOTE_NODE,
    WORLD,
    a_clusterwide_policy,
    a_network_policy,
    a_pod,
    a_policy,
    a_repository,
    policy_of,
)

WEB = a_pod("web")
PEERS = [
    a_pod("web"),
    a_pod("api", tier="a"),
    a_pod("api", namespace="other"),
    a_pod("db", cluster="c2"),
    HOST,
    REMOTE_NODE,
    WORLD,
    LabelSet.of(["reserved:world", "cidr:10.1.0.0/16"]),
    LabelSet.of(["reserved:world", "fqdn:*.example.com"]),
]
IPS = ["10.0.0.1", "10.1.2.3", "10.1.2.4", "192.0.2.7", "2001:db8::7", "2001:db8:1::7", ""]
PREFIXES = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0", "2001:db8:1::/48"]
PORTS = [1, 53, 79, 80, 81, 443, 8080, 8085, 65535]
OBSERVED = [
    DROPPED,
    AUDITED,
    Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENY),
    Observed(verdict=Verdict.DROPPED, drop_reason=AUTH_REQUIRED),
]

selectors = st.one_of(
    st.just({}),
    st.builds(
        lambda key, value: {"matchLabels": {key: value}},
        st.sampled_from(["app", "k8s:tier", "io.kubernetes.pod.namespace", "reserved:host"]),
        st.sampled_from(["web", "api", "a", "other", ""]),
    ),
    st.builds(
        lambda key, operator: {"matchExpressions": [{"key": key, "operator": operator}]},
        st.sampled_from(["app", "tier", "io.kubernetes.pod.namespace"]),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
    st.builds(
        lambda operator, values: {
            "matchExpressions": [{"key": "app", "operator": operator, "values": values}]
        },
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(["web", "api", "db"]), min_size=1, max_size=2),
    ),
)
port_entries = st.one_of(
    st.builds(
        lambda port, protocol: {"port": str(port), "protocol": protocol},
        st.sampled_from([0, *PORTS]),
        st.sampled_from(["TCP", "UDP", "ANY"]),
    ),
    st.just({"port": "8080", "endPort": 8090, "protocol": "TCP"}),
)
limits = st.one_of(
    st.just({}),
    st.builds(
        lambda entries: {"toPorts": [{"ports": entries}]}, st.lists(port_entries, max_size=2)
    ),
    st.just({"icmps": [{"fields": [{"type": 8}]}]}),
)


def peer_lists(prefix: str) -> st.SearchStrategy[dict]:
    """At most one kind of peers."""
    kinds = {
        "Endpoints": selectors,
        "Entities": st.sampled_from(["all", "world", "cluster", "host", "remote-node"]),
        "CIDR": st.sampled_from(PREFIXES),
        "CIDRSet": st.sampled_from(
            [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}, {"cidr": "10.1.2.0/24"}]
        ),
    }
    if prefix == "to":
        kinds["FQDNs"] = st.sampled_from(
            [{"matchPattern": "*.example.com"}, {"matchName": "x.org"}]
        )
    one = [
        st.lists(entries, max_size=2).map(lambda found, kind=kind: {f"{prefix}{kind}": found})
        for kind, entries in kinds.items()
    ]
    return st.one_of(st.just({}), *one)


def rules(prefix: str) -> st.SearchStrategy[list[dict]]:
    """Rules of one section."""
    return st.lists(
        st.builds(lambda peers, limit: peers | limit, peer_lists(prefix), limits), max_size=3
    )


sections = st.fixed_dictionaries(
    {},
    optional={
        "ingress": rules("from"),
        "egress": rules("to"),
        "ingressDeny": rules("from"),
        "egressDeny": rules("to").map(lambda found: [r for r in found if "toFQDNs" not in r]),
    },
).filter(lambda found: any(found.values()))


def _make(kind: str, name: int, subject: dict, found: dict) -> dict:
    if kind == "clusterwide":
        return a_clusterwide_policy(f"p{name}", subject=subject, **found)
    return a_policy(f"p{name}", subject=subject, **found)


policies = st.builds(
    _make,
    st.sampled_from(["namespaced", "clusterwide"]),
    st.integers(0, 10_000),
    st.one_of(st.just({}), st.just({"matchLabels": {"app": "web"}}), selectors),
    sections,
)
policy_sets = st.lists(
    policies, max_size=4, unique_by=lambda manifest: manifest["metadata"]["name"]
)
queries = st.builds(
    lambda direction, peer, ip, protocol, port: Query(
        direction=direction, peer=peer, peer_ip=ip, protocol=protocol, port=port
    ),
    st.sampled_from(list(Direction)),
    st.sampled_from(PEERS),
    st.sampled_from(IPS),
    st.sampled_from([Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.OTHER]),
    st.sampled_from([8, *PORTS]),
)
some_queries = st.lists(queries, min_size=5, max_size=20)


def answers(subject: SubjectPolicy, asked: list[Query]) -> list[object]:
    """Everything that can be asked about some flows."""
    return [
        (decide(subject, query), [explain(subject, query, observed) for observed in OBSERVED])
        for query in asked
    ]


def allowed(subject: SubjectPolicy, query: Query) -> bool:
    """Whether a flow gets through."""
    return decide(subject, query).decision is Outcome.ALLOWED


@settings(max_examples=40, deadline=None)
@given(policy_sets, policies, some_queries)
def test_adding_a_deny_never_allows_more(manifests, more, asked):
    """Whatever it is about."""
    spec = {key: value for key, value in more["spec"].items() if key not in ("ingress", "egress")}
    denying = {**more, "spec": {**spec, "ingressDeny": more["spec"].get("ingressDeny") or [{}]}}
    denying["metadata"] = {**more["metadata"], "name": "added"}
    before, after = policy_of(WEB, *manifests), policy_of(WEB, *manifests, denying)
    assert all(allowed(before, query) for query in asked if allowed(after, query))


@settings(max_examples=40, deadline=None)
@given(policy_sets, rules("from"), some_queries)
def test_adding_an_allow_never_stops_more_where_the_subject_is_enforced_already(
    manifests, more, asked
):
    """A rule only ever adds to what gets through."""
    base = [*manifests, a_policy("base", subject={}, ingress=[{}])]
    wider = [*manifests, a_policy("base", subject={}, ingress=[{}, *more])]
    before, after = policy_of(WEB, *base), policy_of(WEB, *wider)
    assert all(allowed(after, query) for query in asked if allowed(before, query))


@settings(max_examples=40, deadline=None)
@given(policy_sets, some_queries, st.integers())
def test_the_order_of_policies_does_not_matter(manifests, asked, seed):
    """Neither for decisions nor for explanations."""
    shuffled = random.Random(seed).sample(manifests, len(manifests))
    assert answers(policy_of(WEB, *manifests), asked) == answers(policy_of(WEB, *shuffled), asked)


@settings(max_examples=40, deadline=None)
@given(policy_sets, policies, some_queries)
def test_a_policy_for_another_namespace_changes_nothing(manifests, more, asked):
    """Not even what is compiled."""
    repository = a_repository(*manifests)
    before = repository.subject(WEB)
    foreign = a_policy("foreign", namespace="other") | {"spec": more["spec"]}
    repository.apply("foreign", foreign, since=None)
    assert repository.subject(WEB) is before
    repository.apply("foreign", a_network_policy("foreign", namespace="other"), since=None)
    assert answers(repository.subject(WEB).newest, asked) == answers(before.newest, asked)


@settings(max_examples=40, deadline=None)
@given(policy_sets.filter(bool), some_queries)
def test_removing_and_adding_a_policy_restores_every_answer(manifests, asked):
    """Nothing of it stays behind, and nothing else is lost."""
    repository = a_repository(*manifests)
    before = answers(repository.subject(WEB).newest, asked)
    repository.delete("0", at=None)
    without = answers(repository.subject(WEB).newest, asked)
    assert without == answers(policy_of(WEB, *manifests[1:]), asked)
    repository.apply("0", manifests[0], since=None)
    assert answers(repository.subject(WEB).newest, asked) == before


@settings(max_examples=60, deadline=None)
@given(policy_sets, some_queries)
def test_what_is_kept_for_a_class_is_what_each_flow_of_it_would_get(manifests, asked):
    """Decision, explanation and name depend on version, peer labels and classes alone."""
    subject = policy_of(WEB, *manifests)
    kept: dict[object, object] = {}
    for query in asked:
        key = (
            query.direction,
            query.peer,
            subject.port_class(query.direction, query.protocol, query.port),
            subject.cidr_class(query.direction, query.peer_ip) if query.peer.is_outside else "",
        )
        names = [party(query.peer, [policy], query.peer_ip) for policy in subject.policies.values()]
        found = (answers(subject, [query]), names)
        # An address that is missing, or of the other family, lies in no prefix: the same class.
        assert kept.setdefault(key, found) == found
