"""What the linter says of NetworkPolicies and of metadata, beside a real API server."""

import random
from typing import Any

import pytest

from policies.linting.findings import Severity
from policies.linting.linter import Linter
from tests.parts.kubernetes import plane
from tests.policies import spoiling

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]

SPOILT = 1_500
KEYS = (
    *(
        "app",
        "app.gitlab.com/proj",
        "A/b",
        "a.b/c",
        "a/b/c",
        "/a",
        "a/",
        "-a",
        "a_b",
        "k8s:a",
        "a b",
    ),
    *("a" * 63, "a" * 64, f"{'a' * 253}/b", f"{'a' * 254}/b", "a..b/c", "é", ""),
)
VALUES: tuple[Any, ...] = (
    *("", "a", "A-b_c.d", "-a", "a-", "a b", "a/b", "a" * 63, "a" * 64, "é", 5, True, None, [], {}),
)
NAMES: tuple[Any, ...] = (
    *("p", "a.b-c", "Web", "a_b", "-a", "a-", "a..b", "a" * 253, "a" * 254, "", None, 5, [], "é"),
)


class Spoiler(spoiling.Spoiler):
    """Invents NetworkPolicies, some spoilt, some with metadata that is."""

    def network_policy(self, namespace: str) -> dict[str, Any]:
        """One of the namespace; only what is within is changed, not where it belongs.

        Without IPv4 addresses in the spelling of IPv6, which no network policy has.
        """
        made: dict[str, Any] = {"kind": ""}
        while made["kind"] != "NetworkPolicy" or "::ffff:" in str(made):
            made = self.spoilt() if self._maybe(0.7) else self.policy()
        metadata: dict[str, Any] = {"name": "p", "namespace": namespace}
        if self._maybe(0.3):
            part = self._pick("name", "labels", "annotations", "both")
            if part == "name":
                metadata["name"] = self._pick(*NAMES)
            for name in ("labels", "annotations") if part == "both" else (part,):
                if name != "name":
                    pairs = range(self._count(1, 2))
                    metadata[name] = {self._pick(*KEYS): self._pick(*VALUES) for _ in pairs}
        return made | {"metadata": metadata}


def test_a_real_api_server_refuses_the_same(
    control_plane: plane.ControlPlane, namespace: str
) -> None:
    """A dry run with strict fields; nothing that it takes is an error, and nothing else is none."""
    inventor = Spoiler(random.Random(4))
    seen = {True: 0, False: 0}
    differing = []
    for _ in range(SPOILT):
        manifest = inventor.network_policy(namespace)
        refused = refusal(control_plane, manifest, namespace)
        found = errors(manifest)
        seen[bool(refused)] += 1
        if bool(refused) != bool(found):
            differing.append((manifest, refused, found))
    assert differing == []
    assert min(seen.values()) > SPOILT / 5, seen


def refusal(cluster: plane.ControlPlane, manifest: dict[str, Any], namespace: str) -> str:
    answer = cluster.client.post(
        f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=manifest,
    )
    return "" if answer.is_success else str(answer.json()["message"])


def errors(manifest: dict[str, Any]) -> list[str]:
    linter = Linter()
    linter.gather(0, manifest)
    found = linter.check(0, manifest)
    return [str(each) for each in found if each.rule.severity is Severity.ERROR]
