import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policies.evaluating import decide
from policies.flows import Direction
from policies.labels import LabelSet
from policies.options import Options
from policies.parsing import PolicyRejected
from policies.repository import Repository
from policies.timelines import History
from tests.policies.builders import (
    a_clusterwide_policy,
    a_pod,
    a_policy,
    a_query,
    a_repository,
    from_app,
    ports,
    ref,
)

WEB = a_pod("web")
API = a_pod("api")
SHUT = a_policy(ingress=[{}])
OPEN = a_policy(ingress=[from_app("api")])


def outcomes(repository: Repository, at: float) -> list[str]:
    """What becomes of app=api to app=web, under each version that may hold."""
    versions = repository.subject(WEB).in_force(at)
    return [str(decide(version, a_query(API)).decision) for version in versions]


def test_a_version_without_a_beginning_has_always_held():
    """So have all policies of a folder."""
    repository = a_repository(SHUT)
    assert outcomes(repository, 0.0) == ["default-deny"]
    assert repository.subject(WEB).settled_after == float("-inf")


def test_a_policy_holds_from_its_beginning():
    """Before that time it did not exist; around it both versions may have been in force."""
    repository = Repository()
    repository.apply("p", SHUT, since=1000.0)
    assert outcomes(repository, 994.0) == ["allowed"]
    assert outcomes(repository, 996.0) == ["allowed", "default-deny"]
    assert outcomes(repository, 1000.0) == ["default-deny", "allowed"]
    assert outcomes(repository, 1004.0) == ["default-deny", "allowed"]
    assert outcomes(repository, 1060.0) == ["default-deny"]
    assert repository.subject(WEB).settled_after == 1060.0


def test_a_busy_node_may_enforce_for_a_while_what_is_gone():
    """A policy that was deleted explains what was stopped up to a minute later."""
    repository = a_repository(SHUT)
    repository.delete("0", at=1000.0)
    assert outcomes(repository, 1030.0) == ["allowed", "default-deny"]
    assert outcomes(repository, 1061.0) == ["allowed"]


def test_versions_follow_each_other_and_the_nearest_comes_first():
    """Three versions within the tolerance are told by their distance."""
    repository = Repository()
    repository.apply("p", OPEN, since=None)
    repository.apply("p", SHUT, since=1000.0)
    repository.apply("p", a_policy(ingressDeny=[from_app("api")]), since=1003.0)
    assert outcomes(repository, 1001.0) == ["default-deny", "allowed", "denied"]
    assert outcomes(repository, 1002.5) == ["default-deny", "denied", "allowed"]
    assert outcomes(repository, 2000.0) == ["denied"]


def test_a_deleted_policy_ceases_to_hold():
    """Until then it did, and it may come back."""
    repository = a_repository(SHUT)
    repository.delete("0", at=1000.0)
    assert outcomes(repository, 900.0) == ["default-deny"]
    assert outcomes(repository, 1100.0) == ["allowed"]
    repository.apply("0", SHUT, since=1200.0)
    assert outcomes(repository, 1100.0) == ["allowed"]
    assert outcomes(repository, 1300.0) == ["default-deny"]


def test_a_deletion_without_a_time_forgets_the_object():
    """It never held then."""
    repository = a_repository(SHUT)
    repository.delete("0", at=None)
    assert outcomes(repository, 0.0) == ["allowed"]
    assert repository.policies() == ()


def test_the_same_manifest_again_changes_nothing():
    """A resync of all objects compiles nothing anew."""
    repository = a_repository(SHUT)
    before = repository.subject(WEB)
    repository.apply("0", SHUT, since=1000.0)
    assert repository.subject(WEB) is before


def test_what_does_not_concern_a_subject_is_not_compiled_anew():
    """Neither another namespace's policy nor one for other labels."""
    repository = a_repository(SHUT)
    before = repository.subject(WEB)
    repository.apply("x", a_policy(namespace="other", ingress=[{}]), since=None)
    repository.apply(
        "y", a_policy(subject={"matchLabels": {"app": "db"}}, ingress=[{}]), since=None
    )
    repository.apply("z", {"kind": "Service", "metadata": {"name": "s"}}, since=None)
    assert repository.subject(WEB) is before
    repository.apply("c", a_clusterwide_policy(subject={}, ingress=[{}]), since=None)
    assert repository.subject(WEB) is not before


def test_a_version_number_is_never_used_again():
    """Whoever caches by it gets nothing stale."""
    repository = a_repository(SHUT)
    first = repository.subject(WEB).newest.version
    repository.apply("0", OPEN, since=None)
    second = repository.subject(WEB).newest.version
    repository.apply("0", SHUT, since=None)
    assert len({first, second, repository.subject(WEB).newest.version}) == 3


def test_subjects_with_the_same_rules_share_one_compiled_policy():
    """And so share what is cached under its version."""
    repository = a_repository(a_policy(ingress=[{}], subject={}))
    assert repository.subject(WEB).newest is repository.subject(API).newest


def test_a_service_that_a_policy_names_makes_its_subjects_new():
    """Others are left alone."""
    by_service = a_policy(egress=[{"toServices": [{"k8sService": {"serviceName": "s"}}]}])
    plain = a_policy("q", subject={"matchLabels": {"app": "db"}}, ingress=[{}])
    repository = a_repository(by_service, plain)
    before, other = repository.subject(WEB), repository.subject(a_pod("db"))

    def goes_out() -> str:
        asked = a_query(API, direction=Direction.EGRESS)
        return str(decide(repository.subject(WEB).newest, asked).decision)

    assert goes_out() == "default-deny"
    service = {
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "shop"},
        "spec": {"selector": {"app": "api"}},
    }
    repository.apply("s", service, since=None)
    assert repository.subject(WEB) is not before
    assert repository.subject(a_pod("db")) is other
    assert goes_out() == "allowed"
    repository.delete("s", at=None)
    assert goes_out() == "default-deny"


def test_a_refused_policy_contributes_nothing_and_says_so():
    """Nor does what it replaces."""
    repository = a_repository(SHUT)
    with pytest.raises(PolicyRejected, match=r"spec\.ingress\[0\]"):
        repository.apply("0", a_policy(ingress=[{"fromEntities": ["x"]}]), since=1000.0)
    assert outcomes(repository, 900.0) == ["default-deny"]
    assert outcomes(repository, 1100.0) == ["allowed"]
    assert list(repository.rejected()) == ["0"]
    repository.apply("0", SHUT, since=1200.0)
    assert repository.rejected() == {}


def test_a_broken_fact_is_refused_too():
    """Its old version goes on to hold: no policy depends on a broken one."""
    with pytest.raises(PolicyRejected):
        Repository().apply(
            "g", {"kind": "CiliumCIDRGroup", "spec": {"externalCIDRs": ["x"]}}, since=None
        )


def test_unknown_kinds_and_namespaces_are_left_aside():
    """The topic may carry more than this version understands."""
    repository = Repository()
    repository.apply("n", {"kind": "Namespace", "metadata": {"name": "shop"}}, since=None)
    repository.apply("x", {"kind": "Unheard"}, since=None)
    repository.delete("x", at=None)
    assert repository.policies() == ()


def test_policies_come_sorted_with_their_names():
    """The newest version of each."""
    repository = a_repository(a_policy("b", ingress=[{}]), a_policy("a", ingress=[{}]))
    assert [policy.ref.name for policy in repository.policies()] == ["a", "b"]
    assert repository.policy(ref("b")).ref == ref("b")
    assert repository.policy(ref("c")) is None


def test_the_options_of_the_agent_hold_from_their_time():
    """Their object overrides what the repository started with."""
    repository = a_repository(SHUT, options=Options(cluster_name="c1"))
    never = {"kind": "AgentOptions", "spec": {"enablePolicy": "never", "clusterName": "c1"}}
    repository.apply("o", never, since=1000.0)
    assert outcomes(repository, 900.0) == ["default-deny"]
    assert outcomes(repository, 1100.0) == ["allowed"]
    repository.delete("o", at=1200.0)
    assert outcomes(repository, 1300.0) == ["default-deny"]


@pytest.mark.parametrize("spec", [{"enablePolicy": "x"}, {"allowLocalhost": "x"}])
def test_options_that_are_none_are_refused(spec):
    """The old ones stay."""
    with pytest.raises(PolicyRejected):
        Repository().apply("o", {"kind": "AgentOptions", "spec": spec}, since=None)


def test_old_versions_are_pruned():
    """What ceased to hold long ago cannot explain anything any more."""
    repository = Repository()
    repository.apply("p", OPEN, since=100.0)
    repository.apply("p", SHUT, since=200.0)
    repository.apply("q", OPEN, since=100.0)
    repository.delete("q", at=150.0)
    repository.prune(300.0)
    assert repository.subject(WEB).settled_after == 260.0
    assert outcomes(repository, 170.0) == ["allowed"]
    assert outcomes(repository, 300.0) == ["default-deny"]
    assert len(repository._policies) == 1


def test_a_late_older_version_replaces_what_was_known_to_follow():
    """The writer of the topic knows the order; ours is that of arrival."""
    history = History().put(10.0, "a").put(20.0, "b").put(15.0, "c")
    assert [history.at(time) for time in (5.0, 10.0, 15.0, 25.0)] == [None, "a", "c", "c"]


def test_a_subject_is_found_by_whatever_its_policies_require():
    """Each kind of selector has its place in the index."""
    selectors = [
        {},
        {"matchLabels": {"app": "web"}},
        {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "shop"}},
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]},
        {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "nothing", "operator": "DoesNotExist"}]},
        {
            "matchExpressions": [
                {"key": "app", "operator": "In", "values": [f"v{n}" for n in range(9)] + ["web"]}
            ]
        },
    ]
    policies = [
        make(f"p{number}", subject=selector, ingress=[{}])
        for number, selector in enumerate(selectors)
        for make in (a_policy, a_clusterwide_policy)
    ]
    repository = a_repository(*policies)
    assert len(repository.subject(WEB).newest.policies) == len(policies)
    health = LabelSet.of(["reserved:health"])
    assert len(repository.subject(health).newest.policies) == 2


def test_classes_of_ports_and_addresses():
    """They are cut where the subject's policies cut."""
    policy = a_policy(
        ingress=[
            {
                "fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}],
                "toPorts": [{"ports": [{"port": "80", "endPort": 90, "protocol": "TCP"}]}],
            },
            {"toPorts": ports("53/UDP")},
        ]
    )
    subject = a_repository(policy).subject(WEB).newest
    query = a_query(API)

    def port_class(port, protocol=query.protocol):
        return subject.port_class(query.direction, protocol, port)

    assert port_class(80) == port_class(85) == port_class(90)
    assert len({port_class(79), port_class(80), port_class(91)}) == 3
    udp = type(query.protocol).UDP
    assert port_class(80, udp) == port_class(65535, udp) != port_class(53, udp)
    prefixes = [
        subject.cidr_class(query.direction, ip)
        for ip in ("10.2.3.4", "10.1.2.3", "192.0.2.1", "", "2001:db8::1")
    ]
    assert prefixes == ["10.0.0.0/8", "10.1.0.0/16", "", "", ""]


def test_facts_have_versions_too():
    """Old Endpoints objects count like slices, and what ceased to hold is pruned."""
    policy = a_policy(ingress=[{"fromCIDRSet": [{"cidrGroupRef": "g"}]}])
    to_service = a_policy("q", egress=[{"toServices": [{"k8sService": {"serviceName": "s"}}]}])
    repository = a_repository(policy, to_service)
    outside = LabelSet.of(["reserved:world"])

    def comes_in(at: float, ip: str) -> str:
        version, *_ = repository.subject(WEB).in_force(at)
        return str(decide(version, a_query(outside, ip=ip)).decision)

    def goes_out(at: float, ip: str) -> str:
        version, *_ = repository.subject(WEB).in_force(at)
        asked = a_query(outside, direction=Direction.EGRESS, ip=ip)
        return str(decide(version, asked).decision)

    def group(*prefixes: str) -> dict:
        spec = {"externalCIDRs": list(prefixes)}
        return {"kind": "CiliumCIDRGroup", "metadata": {"name": "g"}, "spec": spec}

    subsets = [{"addresses": [{"ip": "192.0.2.9"}]}]
    named = {"metadata": {"name": "s", "namespace": "shop"}}
    repository.apply("g", group("10.0.0.0/8"), since=100.0)
    repository.apply("g", group("192.0.2.0/24"), since=200.0)
    repository.apply("s", {"kind": "Service", **named}, since=None)
    repository.apply("e", {"kind": "Endpoints", **named, "subsets": subsets}, since=None)
    assert comes_in(150.0, "10.1.1.1") == "allowed"
    assert comes_in(300.0, "10.1.1.1") == "default-deny"
    assert comes_in(300.0, "192.0.2.1") == "allowed"
    assert goes_out(300.0, "192.0.2.9") == "allowed"
    assert goes_out(300.0, "192.0.2.8") == "default-deny"
    repository.prune(250.0)
    assert repository.subject(WEB).settled_after == 260.0
    repository.delete("g", at=400.0)
    assert comes_in(500.0, "192.0.2.1") == "default-deny"


def test_options_that_are_forgotten_never_held():
    """Then those hold again with which the repository began."""
    repository = a_repository(SHUT)
    never = {"kind": "AgentOptions", "spec": {"enablePolicy": "never"}}
    repository.apply("o", never, since=None)
    repository.apply("o", never, since=None)
    assert outcomes(repository, 0.0) == ["allowed"]
    repository.delete("o", at=None)
    assert outcomes(repository, 0.0) == ["default-deny"]


def test_subjects_beyond_all_measure_are_forgotten(monkeypatch):
    """They are compiled again when they come back."""
    monkeypatch.setattr("policies.repository._MAX_SUBJECTS", 2)
    repository = a_repository(SHUT)
    first = repository.subject(WEB)
    for number in range(3):
        repository.subject(a_pod(f"app{number}"))
    assert repository.subject(WEB) is not first
    assert outcomes(repository, 0.0) == ["default-deny"]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 400), max_size=6, unique=True).map(sorted),
    st.integers(-100, 600),
    st.floats(0.01, 0.99),
)
def test_what_may_be_in_force_is_the_same_all_along(changes, at, share):
    """From the first to the last moment that `steady` tells, and no more beyond them."""
    # In the very moment in which two versions are equally near either may come first.
    assume(not _is_crossing(changes, at))
    repository = Repository()
    for number, change in enumerate(changes):
        repository.apply("p", OPEN if number % 2 else SHUT, since=float(change))
    timeline = repository.subject(WEB)
    since, until = timeline.steady(at)
    assert since <= at < until
    expected = timeline.in_force(at)
    first, last = max(since, -1000.0), min(until, 1000.0)
    assert timeline.in_force(first) == expected or _is_crossing(changes, first)
    # Rounding may reach the end, which is not part of it.
    within = min(first + (last - first) * share, math.nextafter(last, first))
    assert timeline.in_force(within) == expected
    if until <= 1000.0:
        assert timeline.in_force(until) != expected or _is_crossing(changes, until)


def _is_crossing(changes, at):
    """Whether two versions only pass each other then, of which one may have gone meanwhile."""
    return any(2 * at == one + other for one in changes for other in changes if one != other)
