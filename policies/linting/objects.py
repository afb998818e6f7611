"""What the API server says about any object: its kind, its name, its labels and annotations.

Source of the rules: Kubernetes, k8s.io/apimachinery, validation of object metadata.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies import spelling
from policies.linting import surroundings
from policies.linting.findings import Finding, Path, Rule, Severity
from policies.model import CCNP, CNP, KNP

KIND: Final = Rule(
    id="unknown-kind",
    severity=Severity.ERROR,
    what="The object says no kind or version that a cluster knows.",
    why="The API server refuses it, or it is taken for something that is no policy.",
    mend=(
        "Write `cilium.io/v2` with `CiliumNetworkPolicy` or `CiliumClusterwideNetworkPolicy`,"
        " `networking.k8s.io/v1` with `NetworkPolicy`."
    ),
    wrong="""\
        apiVersion: cilium.io/v1
        kind: CiliumNetworkPolicy
        """,
    right="""\
        apiVersion: cilium.io/v2
        kind: CiliumNetworkPolicy
        """,
)
METADATA: Final = Rule(
    id="bad-metadata",
    severity=Severity.ERROR,
    what="The API server refuses a name, a namespace, a label or an annotation.",
    why=(
        "Names are lower-case DNS names, label values at most 63 letters, digits, `-`, `_` and `.`;"
        " labels and annotations are text, so `true` and `42` must stand in quotes. What does not"
        " fit never reaches the cluster."
    ),
    mend="Follow the message.",
    wrong="""\
        metadata:
          name: shop_web
          annotations:
            app.gitlab.com/alert: true
        """,
    right="""\
        metadata:
          name: shop-web
          labels:
            app.gitlab.com/proj: "42"
          annotations:
            app.gitlab.com/alert: "true"
        """,
)
NAMESPACE: Final = Rule(
    id="namespace-on-clusterwide",
    severity=Severity.WARNING,
    what="A clusterwide policy names a namespace.",
    why="It is dropped without a word: the policy holds in the whole cluster.",
    mend=(
        "Take it away, or make it a `CiliumNetworkPolicy`; to choose pods of one namespace, say so"
        " in `endpointSelector`."
    ),
    wrong="""\
        kind: CiliumClusterwideNetworkPolicy
        metadata:
          name: web
          namespace: shop
        """,
    right="""\
        kind: CiliumClusterwideNetworkPolicy
        metadata:
          name: web
        """,
)

_VERSIONS: Final = {
    CNP: "cilium.io/v2",
    CCNP: "cilium.io/v2",
    KNP: "networking.k8s.io/v1",
}
_OLD: Final = frozenset({("extensions", KNP)})
_OTHERS: Final = frozenset(
    {
        *("CiliumBGPNodeConfig", "CiliumCIDRGroup", "CiliumClusterwideEnvoyConfig"),
        *("CiliumEnvoyConfig", "CiliumLocalRedirectPolicy", "CiliumEgressGatewayPolicy"),
        *("CiliumNodeConfig", "CiliumEndpoint", "CiliumIdentity", "CiliumNode"),
        *("CiliumL2AnnouncementPolicy", "ClusterNetworkPolicy", "AdminNetworkPolicy"),
    }
)
_POLICY_FIELDS: Final = frozenset({"endpointSelector", "podSelector", "ingressDeny", "egressDeny"})
_NAMES: Final = {"labels": "a label's value", "annotations": "an annotation's value"}
_MAX_ANNOTATIONS: Final = 256 * 1024
_NAME_IS: Final = "lower-case letters, digits, - and . only, and no - or . at its ends"


def is_meant(manifest: Mapping[str, Any]) -> bool:
    """Whether it is a policy, or something that was to be one."""
    if surroundings.is_policy(manifest):
        return True
    return next(kind(manifest), None) is not None


def kind(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether an object that looks like a policy says which kind it is."""
    name, version = manifest.get("kind"), manifest.get("apiVersion")
    if not isinstance(name, str) or not isinstance(version, str):
        yield from _typeless(manifest, name, version)
        return
    group = surroundings.group_of(manifest)
    if name in _VERSIONS:
        wanted = _VERSIONS[name]
        ours = wanted.partition("/")[0]
        if group != ours and not (_is_close(group, ours) or (group, name) in _OLD):
            return  # a NetworkPolicy of another project
        if version != wanted:
            message = f"{name} has no version {version!r}"
            yield Finding(rule=KIND, path=("apiVersion",), message=message, hint=f"write {wanted}")
        return
    if name in _OTHERS or group not in {"cilium.io", "networking.k8s.io"}:
        return
    if close := difflib.get_close_matches(name, _VERSIONS, n=1, cutoff=0.85):
        yield Finding(
            rule=KIND,
            path=("kind",),
            message=f"there is no kind {name!r} in {group}",
            hint=f"did you mean {close[0]}?",
        )


def _typeless(manifest: Mapping[str, Any], name: object, version: object) -> Iterator[Finding]:
    """Objects of many kinds stand beside policies: speak only of what looks like one."""
    spec = manifest.get("spec")
    looks = isinstance(spec, Mapping) and not _POLICY_FIELDS.isdisjoint(spec)
    wanted = _VERSIONS.get(name, "") if isinstance(name, str) else ""
    if not looks and not wanted:
        return
    hint = f"write apiVersion: {wanted}" if wanted else ""
    for key, value in (("apiVersion", version), ("kind", name)):
        if not isinstance(value, str) or not value:
            said = "is missing" if value is None else "must be text"
            yield Finding(
                rule=KIND,
                path=(key,) if key in manifest else (),
                message=f"{key} {said}",
                hint=hint,
            )


def _is_close(group: str, wanted: str) -> bool:
    return group != wanted and difflib.SequenceMatcher(None, group, wanted).ratio() > 0.85


def metadata(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the API server takes the metadata."""
    found = manifest.get("metadata")
    if found is None:
        yield _bad((), "metadata is missing")
        return
    if not isinstance(found, Mapping):
        yield _bad(("metadata",), "must be an object")
        return
    yield from _name(found)
    yield from _namespace(found, manifest.get("kind"))
    for part in ("labels", "annotations"):
        pairs = found.get(part)
        if pairs is None:
            continue
        if not isinstance(pairs, Mapping):
            yield _bad(("metadata", part), "must map text to text")
            continue
        yield from _pairs(part, pairs)


def _name(found: Mapping[str, Any]) -> Iterator[Finding]:
    name = found.get("name")
    if name is None and isinstance(found.get("generateName"), str):
        return
    if name is None or name == "":
        yield _bad(("metadata",), "a name is missing")
    elif not isinstance(name, str):
        yield _bad(("metadata", "name"), f"a name must be text, not {_json(name)}", _quoted(name))
    elif not spelling.is_dns_name(name):
        lowered = name.lower().replace("_", "-")
        hint = f"{lowered} would do" if spelling.is_dns_name(lowered) else ""
        yield _bad(("metadata", "name"), f"{name!r} is no name: a name has {_NAME_IS}", hint)


def _namespace(found: Mapping[str, Any], kind: object) -> Iterator[Finding]:
    namespace = found.get("namespace")
    path = ("metadata", "namespace")
    if namespace is None or namespace == "":
        return
    if not isinstance(namespace, str):
        yield _bad(path, f"a namespace must be text, not {_json(namespace)}", _quoted(namespace))
    elif kind == CCNP:
        message = "a clusterwide policy has no namespace: it holds in the whole cluster"
        yield Finding(rule=NAMESPACE, path=path, message=message, at_key=True)
    elif not spelling.is_dns_label(namespace):
        yield _bad(path, f"{namespace!r} is no namespace: lower-case letters, digits and -")


def _pairs(part: str, pairs: Mapping[Any, Any]) -> Iterator[Finding]:
    size = 0
    for key, value in pairs.items():
        path = ("metadata", part, key)
        checked = key if part == "labels" else str(key).lower()
        if reason := spelling.bad_key(checked):
            yield _bad(
                path, f"{key!r} is no {part.removesuffix('s')}'s name: {reason}", at_key=True
            )
        if value is not None and not isinstance(value, str):
            message = f"{_NAMES[part]} must be text, not {_json(value)}"
            yield _bad(path, message, _quoted(value))
            continue
        text = value or ""
        size += len(str(key).encode()) + len(text.encode("utf-8", "replace"))
        if part == "labels" and (reason := spelling.bad_value(text)):
            yield _bad(path, reason)
    if part == "annotations" and size > _MAX_ANNOTATIONS:
        yield _bad(("metadata", part), f"is {size:,} bytes; at most {_MAX_ANNOTATIONS:,} are taken")


def _bad(path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Finding:
    return Finding(rule=METADATA, path=path, message=message, hint=hint, at_key=at_key)


def _json(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case list():
            return "a list"
        case _:
            return "an object"


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return f'write "{_json(value)}", in quotes'
    return f'write "{value}", in quotes' if isinstance(value, int | float) else ""
