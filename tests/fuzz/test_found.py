"""What the fuzzer has found, each as small as it gets; see docs/fuzzing.md."""

import pytest

from policies import parsing
from policies.crd import checking
from policies.decoding import PolicyRejected
from policies.dnsnames import DnsPattern
from policies.explaining import explain
from policies.flows import Direction
from policies.requests import HttpRule, compiles
from tests.fuzz import evaluation, linting
from tests.fuzz import parsing as parsing_target
from tests.policies.builders import DROPPED, WORLD, a_pod, a_policy, a_query, policy_of, ports


def test_half_a_character_in_a_label_is_refused() -> None:
    """YAML and JSON can write it, and re2 takes no such text."""
    manifest = a_policy(subject={"matchLabels": {"app": "\ud800"}}, ingress=[{}])
    with pytest.raises(PolicyRejected):
        parsing.parse(manifest)
    assert checking.check(manifest)
    assert checking.refuses(manifest)


def test_half_a_character_in_a_request_meets_no_rule() -> None:
    """A recorded flow in JSON may hold one."""
    assert not compiles("/\ud800")
    request = {"method": "GET", "host": "h", "headers": ()}
    assert not HttpRule(path="/.*").matches(path="/\ud800", **request)
    assert not DnsPattern("*.example.com").matches("\ud800.example.com")


@pytest.mark.parametrize("kind", [{}, [], None, 1])
def test_an_object_of_no_kind_is_not_the_business_of_the_schema(kind: object) -> None:
    """A kind need not be a text, nor hashable."""
    assert checking.check({"kind": kind}) == ()
    assert not checking.refuses({"kind": kind})


def test_an_empty_dns_name_has_words_in_a_sentence() -> None:
    """The engine takes a name that is not given; it is nobody's."""
    policy = a_policy(egress=[{"toFQDNs": [{}], "toPorts": ports("443/TCP")}])
    query = a_query(WORLD, direction=Direction.EGRESS, port=443)
    told = explain(policy_of(a_pod("web"), policy), query, DROPPED)
    assert "allows 443/TCP to no name;" in told.sentence("shop/web", "world")


def test_the_targets_take_empty_and_short_inputs() -> None:
    """The fuzzer begins with these."""
    for target in (parsing_target, evaluation, linting):
        for data in (b"", b"\1", b"\0{}", b"\0[1]", b"\0null"):
            target.one(data)
