"""Agreement with Cilium's own policy engine, on a corpus of its answers.

The corpus is tests/data/oracle/dev.jsonl.gz: one scenario a line, with what the engine decided. Those
marked `quirk` are likely bugs of the engine or inputs that nobody should write; they are skipped.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies import parsing, scenarios
from policies.dnsnames import DnsPattern
from policies.labels import LabelSet
from policies.model import FqdnPeer

pytestmark = pytest.mark.slow

CORPUS = Path(__file__).parents[1] / "data" / "oracle" / "dev.jsonl.gz"
SCENARIOS = 1541
DIRECTIONS = ("egress", "ingress")


@pytest.fixture(scope="module")
def answers() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each scenario with what we make of it."""
    return [(scenario, scenarios.run(scenario).as_json(scenario["id"])) for scenario in _corpus()]


def _corpus() -> Iterator[dict[str, Any]]:
    with gzip.open(CORPUS, "rt") as lines:
        for line in lines:
            scenario = json.loads(line)
            if not scenario.get("quirk"):
                yield scenario


def test_the_corpus_is_all_there(answers):
    """A shortened file must not make the others pass."""
    assert len(answers) == SCENARIOS
    assert sum(len(scenario["queries"]) for scenario, _ in answers) > 27_000


def test_the_same_policies_are_refused(answers):
    """By index."""
    differing = [
        (scenario["id"], ours["rejected"])
        for scenario, ours in answers
        if ours["rejected"] != [entry["index"] for entry in scenario["rejected"]]
    ]
    assert differing == []


def test_every_decision_is_the_engines(answers):
    """Decision, enforcement and proxying of each direction, and the verdict of both."""
    differing = []
    for scenario, ours in answers:
        for query, result in zip(scenario["queries"], ours["queries"], strict=True):
            if query["verdict"] != result["verdict"]:
                differing.append((scenario["id"], query, result))
            for direction in DIRECTIONS:
                theirs = query[direction]
                wanted = theirs["decision"], theirs["enforced"], theirs.get("l7", False)
                found = result[direction]
                if wanted != (found["decision"], found["enforced"], found.get("l7", False)):
                    differing.append((scenario["id"], direction, query, found))
    assert differing == []


def test_the_policies_that_the_engine_names_are_among_ours(answers):
    """It names only those behind the entry that wins; we name all."""
    differing = [
        (scenario["id"], direction, query, result)
        for scenario, ours in answers
        for query, result in zip(scenario["queries"], ours["queries"], strict=True)
        for direction in DIRECTIONS
        if not set(query[direction]["origin"]) <= set(result[direction]["origin"])
    ]
    assert differing == []


@pytest.mark.slow
def test_a_policy_that_we_name_is_named_when_it_is_the_only_one(answers):
    """So nobody is named who has no part in it."""
    differing = []
    for scenario, ours in answers[::8]:
        if len(scenario["policies"]) < 2:
            continue
        for index, manifest in enumerate(scenario["policies"]):
            name = _name(manifest)
            alone = scenarios.run({**scenario, "policies": [manifest]}).as_json(scenario["id"])
            differing += [
                (scenario["id"], index, direction, before, after)
                for before, after in zip(ours["queries"], alone["queries"], strict=True)
                for direction in DIRECTIONS
                if name in before[direction]["origin"] and name not in after[direction]["origin"]
            ]
    assert differing == []


def _name(manifest: dict[str, Any]) -> str:
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace", "")
    if manifest["kind"] == "NetworkPolicy":
        namespace = namespace or "default"
    return f"{manifest['kind']}/{namespace}/{metadata['name']}"


def test_names_match_the_patterns_that_the_engine_matched():
    """The engine labelled each address with the selectors that its names meet."""
    compared = 0
    for scenario in _corpus():
        known = _patterns(scenario)
        for endpoint in (scenario.get("endpoints") or {}).values():
            if endpoint["kind"] != "fqdn":
                continue
            theirs = LabelSet.of(endpoint["labels"]).fqdns
            names = endpoint["dns_names"]
            ours = {p.text for p in known if any(p.matches(name) for name in names)}
            assert ours == theirs, (scenario["id"], names)
            compared += 1
    assert compared > 100


def _patterns(scenario: dict[str, Any]) -> set[DnsPattern]:
    refused = {entry["index"] for entry in scenario["rejected"]}
    return {
        peer.pattern
        for index, manifest in enumerate(scenario["policies"])
        if index not in refused
        for rule in parsing.parse(manifest).rules
        for entry in rule.egress.allow
        for peer in entry.peers or ()
        if isinstance(peer, FqdnPeer)
    }
