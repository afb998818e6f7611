"""Agreement with Cilium's own policy engine, on a corpus of its answers.

The corpus is tests/data/oracle/dev.jsonl.gz: one scenario a line, with what the engine decided. Those
marked `quirk` are likely bugs of the engine or inputs that nobody should write: they are skipped, but
for what of them is refused.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policies import crd, parsing, scenarios
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


def _corpus(*, quirks: bool = False) -> Iterator[dict[str, Any]]:
    with gzip.open(CORPUS, "rt") as lines:
        for line in lines:
            scenario = json.loads(line)
            if bool(scenario.get("quirk")) is quirks:
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


def test_the_same_policies_are_refused_by_the_crd(answers):
    """By index, and of every stage there is."""
    differing = [
        (scenario["id"], ours["schema_rejected"], scenario["schema_rejected"])
        for scenario, ours in answers
        if ours["schema_rejected"] != [entry["index"] for entry in scenario["schema_rejected"]]
    ]
    assert differing == []
    stages = {entry["stage"] for scenario, _ in answers for entry in scenario["schema_rejected"]}
    assert stages == {stage.value for stage in crd.Stage}


def test_quirks_are_refused_alike_but_for_a_removed_field():
    """The corpus was made when fromRequires was still taken; Cilium 1.19 refuses it."""
    differing = {}
    for scenario in _corpus(quirks=True):
        ours = scenarios.run(scenario)
        assert list(ours.rejected) == [entry["index"] for entry in scenario["rejected"]]
        if list(ours.schema_rejected) != [entry["index"] for entry in scenario["schema_rejected"]]:
            differing[scenario["title"]] = ours.schema_rejected
    assert differing == {"QUIRK requires: fromRequires restricts fromEndpoints": (0,)}


def test_each_refusal_of_the_crd_is_told_where_it_is(answers):
    """A finding of the stage that the corpus names, but for what Go's types alone would change."""
    missing = [
        (scenario["id"], entry, found)
        for scenario, _ in answers
        for entry in scenario["schema_rejected"]
        for found in [crd.check(scenario["policies"][entry["index"]])]
        if entry["stage"] not in {each.stage for each in found}
    ]
    # An ICMP name of the other family, which the corpus counts to the schema; and a listener
    # without a priority, to which Go's types add one.
    assert {name for name, *_ in missing} == {
        "invalid-0086",
        "invalid-0290",
        "invalid-0152",
        "invalid-0149",
    }


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
    for scenario, ours in answers:
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
