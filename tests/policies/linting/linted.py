"""Linting manifests in tests, without files."""

import textwrap
from typing import Any

from ruamel.yaml import YAML

from policies.linting.findings import Finding, Severity, text
from policies.linting.linter import Linter

CNP = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy"}
KNP = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
_OBJECT = {"apiVersion", "kind", "metadata", "spec", "specs"}


def findings(*manifests: dict[str, Any], which: int = -1, **options: Any) -> list[Finding]:
    """What is found in one of these objects, by default the last."""
    linter = Linter(**options)
    for number, manifest in enumerate(manifests):
        linter.gather(number, manifest)
    found = [linter.check(number, manifest) for number, manifest in enumerate(manifests)]
    return found[which]


def rules(*manifests: dict[str, Any], **options: Any) -> list[str]:
    """The rules found in the last of these objects, notes left out."""
    return [
        finding.rule.id
        for finding in findings(*manifests, **options)
        if finding.rule.severity is not Severity.INFO
    ]


def told(*manifests: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    """Rule and path of each finding in the last of these objects."""
    return [(found.rule.id, text(found.path)) for found in findings(*manifests, **options)]


def complete(example: str) -> dict[str, Any]:
    """A manifest of an example, which may leave out what is the same in all."""
    written = YAML(typ="safe").load(textwrap.dedent(example))
    own = {key: value for key, value in written.items() if key in _OBJECT}
    spec = {key: value for key, value in written.items() if key not in _OBJECT}
    made = {**(KNP if own.get("kind") == "NetworkPolicy" else CNP), **own}
    metadata = {"name": "example", "namespace": "shop"}
    if made["kind"] == "CiliumClusterwideNetworkPolicy":
        del metadata["namespace"]
    made["metadata"] = metadata | own.get("metadata", {})
    made["spec"] = spec | own.get("spec", {})
    if made["kind"] != "NetworkPolicy":
        made["spec"].setdefault("endpointSelector", {"matchLabels": {"app": "example"}})
        if not {"ingress", "egress", "ingressDeny", "egressDeny"} & made["spec"].keys():
            made["spec"]["ingress"] = [{"fromEndpoints": [{"matchLabels": {"app": "other"}}]}]
    else:
        made["spec"].setdefault("podSelector", {})
    return made
