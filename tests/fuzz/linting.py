"""The same inputs as `parsing` has, for what tells people what is wrong with a policy."""

from typing import Any

from policies import parsing
from policies.crd import checking
from policies.decoding import PolicyRejected
from policies.linting import findings, surroundings
from policies.linting.findings import Severity
from policies.linting.linter import Linter
from tests.fuzz.parsing import manifests, seeds
from tests.policies.generating import FACTS

_VERSIONS = {"CiliumCIDRGroup": "cilium.io/v2", "NamedPorts": "picket.dev/v1"}
__all__ = ["one", "seeds"]


_SURROUNDINGS = (
    *({"apiVersion": _VERSIONS.get(fact["kind"], "v1"), **fact} for fact in FACTS),
    {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"team": "red"}},
    },
)


def one(data: bytes) -> None:
    """Lint what these bytes stand for, and check it against the schema."""
    for manifest in manifests(data):
        if isinstance(manifest, dict):
            check(manifest)


def check(manifest: dict[str, Any]) -> None:
    """What the engine refuses is an error; every finding has a place and words."""
    linter = Linter(node_selector_labels=True)
    for number, other in enumerate(_SURROUNDINGS, 1):
        linter.gather(number, other)
    linter.gather(0, manifest)
    found = linter.check(0, manifest)
    for finding in found:
        assert finding.message
        findings.text(finding.path)
    if surroundings.is_policy(manifest) and _is_refused(manifest):
        assert any(finding.rule.severity is Severity.ERROR for finding in found)
    assert all(str(finding) for finding in checking.check(manifest))
    checking.refuses(manifest)


def _is_refused(manifest: dict[str, Any]) -> bool:
    try:
        parsing.parse(manifest, node_selector_labels=True)
    except PolicyRejected:
        return True
    return False
