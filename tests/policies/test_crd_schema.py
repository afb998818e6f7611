"""Our schema is the one that Cilium ships, and a real API server agrees with it.

Both are had when the tests run; nothing of the CRD is copied here.
"""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from policies import crd
from policies.crd import schema
from policies.crd.schema import KINDS
from tests.parts import cache, demand
from tests.parts.kubernetes import crds, plane
from tests.policies import spoiling

PLURALS = {
    "CiliumNetworkPolicy": "ciliumnetworkpolicies",
    "CiliumClusterwideNetworkPolicy": "ciliumclusterwidenetworkpolicies",
}
COMPARED = (
    *("type", "enum", "pattern", "format", "required", "minimum", "maximum", "minLength"),
    *("maxLength", "minItems", "maxItems"),
)
MEANINGLESS = {"int32", "int64", "idn-hostname"}
"""Formats that the API server drops, or that bounds make superfluous."""
SPOILT = 1_000


def shipped() -> dict[str, Any]:
    """The schema of each kind in Cilium's own module."""
    try:
        every = crds.manifests()
    except cache.Missing as missing:
        demand.require("Cilium CRDs", str(missing))
        raise
    return {
        each["spec"]["names"]["kind"]: each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for each in every
        if each["spec"]["names"]["kind"] in KINDS
    }


def theirs_as_ours(node: dict[str, Any]) -> dict[str, Any]:
    """What a node of the CRD says, in the spelling of JSON Schema."""
    found = {key: node[key] for key in COMPARED if key in node}
    if node.get("x-kubernetes-int-or-string"):
        found |= {"type": ["integer", "string"], "minimum": -(2**63), "maximum": 2**63 - 1}
    if found.get("format") in MEANINGLESS:
        del found["format"]
    if node.get("x-kubernetes-list-type") == "set":
        found["uniqueItems"] = True
    for key in ("oneOf", "anyOf"):
        if key in node and not node.get("x-kubernetes-int-or-string"):
            found[key] = sorted(name for branch in node[key] for name in branch["required"])
    return _sorted(found)


def ours(node: dict[str, Any]) -> dict[str, Any]:
    """The same of a node of our schema."""
    found = {key: node[key] for key in (*COMPARED, "uniqueItems") if key in node}
    for key in ("oneOf", "anyOf"):
        if key in node:
            found[key] = sorted(name for branch in node[key] for name in branch["required"])
    return _sorted(found)


def _sorted(found: dict[str, Any]) -> dict[str, Any]:
    for key in ("required", "enum", "type"):
        if isinstance(found.get(key), list):
            found[key] = sorted(found[key])
    return found


def walked(left: dict[str, Any], right: dict[str, Any], path: str) -> Iterator[str]:
    """The differences of two schemas."""
    if theirs_as_ours(left) != ours(right):
        yield f"{path}: {theirs_as_ours(left)} is not {ours(right)}"
    if path == ".metadata":
        return
    known, made = left.get("properties", {}), right.get("properties", {})
    if set(known) != set(made):
        yield f"{path}: fields {set(known) ^ set(made)}"
    for name in set(known) & set(made):
        yield from walked(known[name], made[name], f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if (inner in left) != (inner in right):
            yield f"{path}: {inner} on one side only"
        elif inner in left:
            yield from walked(left[inner], right[inner], f"{path}{{{inner}}}")


@pytest.mark.kubernetes
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_our_schema_says_what_ciliums_crd_says(kind):
    """Field by field: types, enums, patterns, bounds, what is required."""
    assert list(walked(shipped()[kind], schema.POLICY, "")) == []


@pytest.mark.kubernetes
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_crd_says_nothing_that_we_cannot_read(kind):
    """A keyword that we know nothing of, such as rules in CEL, must not be overlooked."""
    understood = {
        *(*COMPARED, "properties", "items", "additionalProperties", "oneOf", "anyOf"),
        *("description", "default", "x-kubernetes-int-or-string", "x-kubernetes-list-type"),
        *("x-kubernetes-map-type", "x-kubernetes-list-map-keys"),
    }

    def keywords(node: dict[str, Any]) -> Iterator[str]:
        yield from node
        beneath = [node[name] for name in ("items", "additionalProperties") if name in node]
        for inner in (*node.get("properties", {}).values(), *beneath):
            yield from keywords(inner)

    assert set(keywords(shipped()[kind])) <= understood


@pytest.mark.kubernetes
@pytest.mark.slow
def test_a_real_api_server_refuses_the_same(control_plane: plane.ControlPlane, namespace: str):
    """A dry run with strict fields, of policies that were spoilt in some place."""
    inventor = spoiling.Spoiler(random.Random(36))
    differing = []
    compared = 0
    while compared < SPOILT:
        manifest = inventor.spoilt()
        if manifest["kind"] not in KINDS or "metadata" not in manifest:
            continue
        # What the API server asks of names and of metadata is not the CRD's business.
        manifest["metadata"] = {"name": "p"}
        if manifest["kind"] == "CiliumNetworkPolicy":
            manifest["metadata"]["namespace"] = namespace
        compared += 1
        refused = _refused(control_plane, manifest)
        found = [str(each) for each in crd.check(manifest) if each.stage is not crd.Stage.PREFLIGHT]
        if bool(refused) != bool(found):
            differing.append((manifest, refused, found))
    assert differing == []


def _refused(cluster: plane.ControlPlane, manifest: dict[str, Any]) -> str:
    within = manifest["metadata"].get("namespace")
    place = f"namespaces/{within}/" if within else ""
    answer = cluster.client.post(
        f"/apis/cilium.io/v2/{place}{PLURALS[manifest['kind']]}",
        params={"dryRun": "All", "fieldValidation": "Strict"},
        json=manifest,
    )
    return "" if answer.is_success else str(answer.json()["message"])
