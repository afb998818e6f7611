"""The linter is loud where Cilium refuses a policy, and nowhere else."""

import gzip
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from policies.linting.findings import Severity
from policies.linting.linter import Linter

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests" / "data" / "oracle" / "dev.jsonl.gz"
REAL = [
    *sorted((ROOT / "examples" / "policies").glob("*.yaml")),
    ROOT / "tests/data/captures/policies.yaml",
]


def test_errors_are_told_of_what_is_refused_and_of_nothing_else():
    """Of each policy of the corpus: by the engine, or by the schema of the CRD."""
    differing, refused, accepted = [], 0, 0
    with gzip.open(CORPUS, "rt") as lines:
        for scenario in map(json.loads, lines):
            if scenario.get("quirk"):
                continue
            wanted = {
                entry["index"]
                for entry in (*scenario["rejected"], *(scenario.get("schema_rejected") or ()))
            }
            linter = Linter()
            for index, manifest in enumerate(scenario["policies"]):
                linter.gather(index, manifest)
            for index, manifest in enumerate(scenario["policies"]):
                errors = [
                    finding
                    for finding in linter.check(index, manifest)
                    if finding.rule.severity is Severity.ERROR
                ]
                refused += index in wanted
                accepted += index not in wanted
                if bool(errors) is not (index in wanted):
                    differing.append((scenario["id"], index, errors))
    assert differing == []
    assert refused > 200
    assert accepted > 2800


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.name)
def test_policies_that_a_real_cluster_runs_are_clean(file):
    """Not even a warning; a note where a policy names a project and wants no alerts."""
    manifests = [document for document in YAML(typ="safe").load_all(file.read_text()) if document]
    linter = Linter()
    for number, manifest in enumerate(manifests):
        linter.gather(number, manifest)
    found = {
        finding.rule.id
        for number, one in enumerate(manifests)
        for finding in linter.check(number, one)
    }
    assert found <= {"project-without-alert"}
