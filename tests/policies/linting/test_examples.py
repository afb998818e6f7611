"""Each rule is found in its own example, and the mended example is clean."""

from typing import Any

import pytest

from policies.linting import linter
from policies.linting.findings import Rule
from tests.policies.linting.linted import complete, findings, rules

KNOWN: dict[str, dict[str, Any]] = {
    "unknown-namespace": {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "payments"},
    },
    "unknown-service": {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "database", "namespace": "shop"},
        "spec": {"selector": {"app": "database"}},
    },
    "unknown-cidr-group": {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": "partners"},
        "spec": {"externalCIDRs": ["192.0.2.0/24"]},
    },
    "unknown-port-name": {
        "apiVersion": "picket.dev/v1",
        "kind": "NamedPorts",
        "metadata": {"name": "all"},
        "spec": {"pods": [{"namespace": "shop", "ports": [{"name": "http", "port": 80}]}]},
    },
}
SHOP = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
WITHOUT = {"duplicate-object", "same-object-elsewhere", "duplicate-policy", "cidr-within-cluster"}
"""Their examples would be several objects, or need an option; they have tests of their own."""


def around(rule: Rule) -> list[dict[str, Any]]:
    return (
        [KNOWN[rule.id], *([SHOP] if rule.id == "unknown-namespace" else [])]
        if rule.id in KNOWN
        else []
    )


WITH = [rule for rule in linter.RULES if rule.id not in WITHOUT]


@pytest.mark.parametrize("rule", WITH, ids=lambda rule: rule.id)
def test_the_wrong_example_is_found(rule):
    """By this very rule, whatever else is found."""
    found = findings(*around(rule), complete(rule.wrong))
    assert rule.id in [finding.rule.id for finding in found]


@pytest.mark.parametrize("rule", WITH, ids=lambda rule: rule.id)
def test_the_right_example_is_clean(rule):
    """Of every rule: an example is copied."""
    assert rules(*around(rule), complete(rule.right)) == []


@pytest.mark.parametrize("rule", KNOWN, ids=str)
def test_a_rule_about_the_surroundings_is_silent_without_them(rule):
    """What is not among the given files may well exist."""
    example = next(known.wrong for known in linter.RULES if known.id == rule)
    assert rule not in rules(complete(example))


def test_every_rule_has_a_name_of_its_own():
    """Comments and options name it."""
    names = [rule.id for rule in linter.RULES]
    assert len(names) == len(set(names))
    assert {name for name in names if name in WITHOUT} == WITHOUT
