"""Agreement with Cilium's own engine, asked on the spot, about invented policies and flows.

It is the engine of the version in tests.parts.relay, newer than the one that made the corpus. The
seeds are fixed; raise PICKET_INVENTED to try so many times as many.
"""

import collections
import os
import random
from typing import Any

import pytest

from policies import crd, parsing, requests, scenarios
from tests.fuzz import expressions
from tests.parts.engine import Ask
from tests.policies import generating, invention, spoiling

pytestmark = [pytest.mark.engine, pytest.mark.slow]

TIMES = int(os.environ.get("PICKET_INVENTED", "1"))
SPOILT = 3_000 * TIMES
SCENARIOS = 150 * TIMES
QUERIES = 40
EXPRESSIONS = 20_000 * TIMES
SIGNS = r"""
    a b / . * + ? | ( ) [ ] [^ {2} {1,} { } , ^ $ - é [[:alpha:]] [[:^digit:]] \\
    \d \D \w \s \S \b \B \A \z \Z \Q \E \C \K \n \a \x61 \pL \PL \p{Greek} \1
    (?: (?i) (?-i) (?s: (?m) (?U) (?P<n> (?<n> (?=
"""
"""Of these, of a space and of a line's end are expressions made that may be none."""
LETTERS = "aabbAB/.-1 \né_"
DIRECTIONS = ("egress", "ingress")


def alone(policies: list[Any]) -> list[Any]:
    options = {"cluster_name": "c1"}
    return [
        {"id": str(index), "options": options, "policies": [policy]}
        for index, policy in enumerate(policies)
    ]


def refusal(manifest: dict[str, Any]) -> str:
    try:
        parsing.parse(manifest)
    except parsing.PolicyRejected as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def spoilt(engine: Ask) -> list[tuple[Any, Any]]:
    """Spoilt policies, each with the engine's answer; without those on which the engine breaks."""
    inventor = spoiling.Spoiler(random.Random(19))
    policies = [inventor.spoilt() for _ in range(SPOILT)]
    answers = engine(alone(policies))
    return [pair for pair in zip(policies, answers, strict=True) if "fault" not in pair[1]]


def test_the_engine_answers_on_nearly_all(spoilt):
    """It breaks on an ICMP field without a type, and on addresses that it takes and cannot read."""
    assert len(spoilt) > 0.97 * SPOILT
    refused = sum(bool(answer["rejected"]) for _, answer in spoilt)
    assert 0.3 < refused / len(spoilt) < 0.8


def test_what_the_engine_refuses_is_refused(spoilt):
    """Of any kind, and nothing else."""
    differing = [
        (policy, refusal(policy), answer["rejected"])
        for policy, answer in spoilt
        if bool(refusal(policy)) != bool(answer["rejected"])
    ]
    assert differing == []


def test_what_ciliums_check_refuses_is_refused(spoilt):
    """The check of `cilium-dbg preflight validate-cnp`: schema, unknown fields, reserved:init."""
    differing = [
        (policy, crd.check(policy), answer["schema_rejected"])
        for policy, answer in spoilt
        if crd.refuses(policy) != bool(answer["schema_rejected"])
    ]
    assert differing == []


def answered(engine: Ask, inventor: invention.Inventor) -> list[tuple[Any, Any, Any]]:
    given = [inventor.scenario(str(index), queries=QUERIES) for index in range(SCENARIOS)]
    answers = engine(given)
    return [
        (scenario, answer, scenarios.run(scenario).as_json(scenario["id"]))
        for scenario, answer in zip(given, answers, strict=True)
    ]


@pytest.fixture(scope="module")
def decided(engine: Ask) -> list[tuple[Any, Any, Any]]:
    """Scenarios, with the engine's answer and ours."""
    return answered(engine, invention.Inventor(random.Random(6)))


@pytest.fixture(scope="module")
def decided_of_spoilt(engine: Ask) -> list[tuple[Any, Any, Any]]:
    """Scenarios of policies of which something is changed, but for those that break the engine."""
    found = answered(engine, spoiling.Spoiling(random.Random(7)))
    return [each for each in found if not _is_broken(each[1])]


def _is_broken(answer):
    """Whether the engine gave up, as a whole or on an endpoint."""
    decisions = (
        query[direction]["decision"] for query in answer["queries"] for direction in DIRECTIONS
    )
    return "fault" in answer or any(decision.startswith("fault: ") for decision in decisions)


def pairs(decided):
    for scenario, theirs, ours in decided:
        queries = zip(scenario["queries"], theirs["queries"], ours["queries"], strict=True)
        for query, answer, result in queries:
            for direction in DIRECTIONS:
                yield (scenario["id"], direction, query), answer[direction], result[direction]


def test_valid_policies_are_taken_by_both(decided):
    """So that what follows is about policies that are in force, whatever the schema says."""
    for scenario, theirs, ours in decided:
        assert theirs["rejected"] == [] == ours["rejected"], scenario
        assert [each["index"] for each in theirs["schema_rejected"]] == ours["schema_rejected"]


def test_every_decision_is_the_engines(decided):
    """Decision and proxying, in both directions, and enough of each kind."""
    assert not any("fault" in theirs for _, theirs, _ in decided)
    assert unlike(decided, least=5 * TIMES) == []


def test_every_decision_about_spoilt_policies_is_the_engines(decided_of_spoilt):
    """Of those that it takes, which is much that no API server stores."""
    assert len(decided_of_spoilt) > 0.9 * SCENARIOS
    assert unlike(decided_of_spoilt, least=TIMES) == []


def unlike(decided, *, least):
    seen = {"allowed": 0, "denied": 0, "default-deny": 0, "proxied": 0}
    differing = []
    for case, theirs, ours in pairs(decided):
        wanted = theirs["decision"], theirs.get("l7", False)
        seen[theirs["decision"]] += 1
        seen["proxied"] += wanted[1]
        if wanted != (ours["decision"], ours.get("l7", False)):
            differing.append((case, theirs, ours))
    assert min(seen.values()) >= least, seen
    return differing


def expression_and_text(chance: random.Random) -> dict[str, str]:
    """An expression that people might write, or a row of signs that may be none, and a text."""
    if chance.random() < 0.4:
        choices = generating.out_of(chance.randbytes(40))
        expression = expressions.written(expressions.make(choices))
    else:
        signs = (*SIGNS.split(), " ", "\n")
        expression = "".join(chance.choices(signs, k=chance.randint(1, 9)))
    return {
        "expression": expression,
        "text": "".join(chance.choices(LETTERS, k=chance.randint(0, 5))),
    }


def test_expressions_mean_what_go_reads(engine):
    """Which are taken, and what they match in full."""
    chance = random.Random(8)
    tried = [expression_and_text(chance) for _ in range(EXPRESSIONS)]
    tried = [each for each in tried if each["expression"]]
    [answer] = engine([{"id": "", "options": {}, "policies": [], "expressions": tried}])
    differing, seen = [], collections.Counter()
    for each, theirs in zip(tried, answer["matches"], strict=True):
        ours = None
        if requests.is_expression(each["expression"]):
            rule = requests.HttpRule(path=each["expression"])
            ours = rule.matches(method="", path=each["text"], host="", headers=())
        seen[theirs] += 1
        if ours is not theirs:
            differing.append((each, theirs, ours))
    assert differing == []
    assert min(seen[None], seen[True], seen[False]) > EXPRESSIONS / 20, seen


def test_the_policies_that_the_engine_names_are_among_ours(decided):
    """But for the rule by which it allows any where no policy denies by default."""
    differing = [
        (case, theirs, ours)
        for case, theirs, ours in pairs(decided)
        if not {name for name in theirs["origin"] if ours["enforced"] or name[:8] != "reserved"}
        <= set(ours["origin"])
    ]
    assert differing == []
