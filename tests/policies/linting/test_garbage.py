"""Whatever a manifest holds, it is linted, and never a fault."""

import json

from hypothesis import given, settings

from policies.linting.findings import Finding
from policies.linting.linter import Linter
from tests.policies.linting.linted import CNP, KNP
from tests.policies.test_garbage import damaged


@settings(max_examples=200, deadline=None)
@given(damaged)
def test_a_damaged_object_ends_in_findings(manifest):
    """Of its own kind or of none; twice, so that it is compared with itself."""
    manifest = json.loads(json.dumps(manifest))
    version = KNP if manifest.get("kind") == "NetworkPolicy" else CNP
    linter = Linter()
    for number, one in enumerate((manifest, {**manifest, "apiVersion": version["apiVersion"]})):
        linter.gather(number, one)
    for number in range(2):
        assert all(isinstance(found, Finding) for found in linter.check(number, manifest))
