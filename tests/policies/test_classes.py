"""By what answers are remembered, and what a change leaves as it was."""

import pytest

from policies import compiling, parsing
from policies.evaluating import Outcome, decide
from policies.explaining import explain
from policies.flows import Direction, Protocol
from policies.naming import party
from tests.policies.builders import (
    DROPPED,
    WORLD,
    a_clusterwide_policy,
    a_pod,
    a_policy,
    a_query,
    a_repository,
    from_app,
    policy_of,
    ports,
)

WEB = a_pod("web")


def test_a_policy_names_addresses_by_all_of_its_rules():
    """So a prefix that it names for other subjects only parts the addresses here too."""
    manifest = a_policy(ingress=[from_app("api")])
    other = {"endpointSelector": {"matchLabels": {"app": "db"}}}
    manifest["specs"] = [{**other, "ingress": [{"fromCIDR": ["198.51.100.0/24"]}]}]
    subject = policy_of(WEB, manifest)
    inside, outside = "198.51.100.7", "192.0.2.7"
    policies = tuple(subject.policies.values())
    assert party(WORLD, policies, inside) != party(WORLD, policies, outside)
    classes = {subject.cidr_class(Direction.INGRESS, ip) for ip in (inside, outside)}
    assert classes == {"198.51.100.0/24", ""}


def test_a_port_beyond_all_ports_is_a_class_of_its_own():
    """No packet has one, but a broken flow may, and must not be remembered for the last port."""
    last = policy_of(WEB, a_policy(ingress=[{"toPorts": [{"ports": [{"port": "65535"}]}]}]))
    found = {}
    for port in (65534, 65535, 65536):
        query = a_query(WORLD, port=port)
        found[last.port_class(query.direction, Protocol.TCP, port)] = decide(last, query).decision
    assert list(found.values()) == [Outcome.DEFAULT_DENY, Outcome.ALLOWED, Outcome.DEFAULT_DENY]


def test_a_rule_about_any_node_reads_well():
    """As one about nodes with labels does."""
    repository = a_repository(
        {"kind": "AgentOptions", "spec": {"enableNodeSelectorLabels": True}},
        a_clusterwide_policy(ingress=[{"fromNodes": [{}], "toPorts": ports("80/TCP")}]),
    )
    told = explain(repository.subject(WEB).newest, a_query(WEB), DROPPED)
    assert "80/TCP from nodes;" in told.sentence("shop/web", "shop/web")


def test_one_changed_policy_is_all_that_is_compiled_anew(monkeypatch: pytest.MonkeyPatch):
    """Of many, and of many subjects, each of which is asked again."""
    subjects = [a_pod(f"app{number}") for number in range(50)]
    manifests = [
        a_policy(f"p{number}", subject={"matchLabels": {"app": f"app{number}"}}, ingress=[{}])
        for number in range(50)
    ]
    repository = a_repository(*manifests)
    before = [repository.subject(subject).newest for subject in subjects]
    calls = {"parse": 0, "compile_subject": 0}
    for module, name in ((parsing, "parse"), (compiling, "compile_subject")):
        real = getattr(module, name)

        def counting(*arguments, _real=real, _name=name, **named):
            calls[_name] += 1
            return _real(*arguments, **named)

        monkeypatch.setattr(module, name, counting)
    manifests[7]["spec"]["ingress"] = [from_app("api")]
    repository.apply("7", manifests[7], since=None)
    after = [repository.subject(subject).newest for subject in subjects]
    assert calls == {"parse": 1, "compile_subject": 1}
    changed = [
        number
        for number, pair in enumerate(zip(before, after, strict=True))
        if pair[0] is not pair[1]
    ]
    assert changed == [7]


def test_whoever_keeps_a_timeline_sees_that_it_is_superseded():
    """By a change of a policy that selects its subject, and by no other."""
    repository = a_repository(a_policy(ingress=[{}]))
    kept = repository.subject(WEB)
    repository.apply(
        "other", a_policy("other", subject={"matchLabels": {"app": "db"}}, ingress=[{}]), since=None
    )
    assert not kept.superseded
    assert repository.subject(WEB) is kept
    repository.apply("more", a_policy("more", ingress=[{}]), since=None)
    assert kept.superseded
    assert not repository.subject(WEB).superseded
    newer = repository.subject(WEB)
    repository.apply(
        "options", {"kind": "AgentOptions", "spec": {"enablePolicy": "never"}}, since=None
    )
    assert newer.superseded
