"""Everything that Cilium's engine refuses in a policy, not only the first thing.

The engine stops at the first fault. So a fault is put aside (its list entry becomes one that nobody
refuses, at the same index), and the rest is tried again.
"""

import copy
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from policies import parsing
from policies.decoding import PolicyRejected
from policies.linting import findings
from policies.linting.findings import Finding, Path, Rule, Severity
from policies.model import KNP, Entity

REFUSED: Final = Rule(
    id="refused-by-cilium",
    severity=Severity.ERROR,
    what="Cilium's policy engine refuses the policy.",
    why=(
        "The API server may well store such an object, but no agent takes it: none of its rules is"
        " in force, not even those without fault, and nothing is stopped or told."
    ),
    mend="Follow the message; the path says which value Cilium does not take.",
    wrong="""\
        ingress:
          - fromCIDR: ["10.0.0.0/33"]
        """,
    right="""\
        ingress:
          - fromCIDR: ["10.0.0.0/24"]
        """,
)

_ENTITY: Final = re.compile(r"unsupported entity '(.*)'\Z")
_MOST: Final = 100
"""Faults that are looked for in one policy."""
_ANYWHERE: Final = "0.0.0.0/0"
_HARMLESS: Final[dict[str, Any]] = {
    name: harmless
    for names, harmless in (
        (("ingress", "ingressDeny", "egress", "egressDeny", "toPorts", "icmps"), {}),
        (("fromEndpoints", "toEndpoints", "fromGroups", "toGroups", "http", "l7", "kafka"), {}),
        (("fromEntities", "toEntities"), "all"),
        (("fromCIDR", "toCIDR"), _ANYWHERE),
        (("fromCIDRSet", "toCIDRSet"), {"cidr": _ANYWHERE}),
        (("toFQDNs", "dns"), {"matchName": "a"}),
        (("toServices",), {"k8sService": {"serviceName": "a"}}),
        (("from", "to"), {"podSelector": {}}),
        (("matchExpressions",), {"key": "a", "operator": "Exists"}),
        (("fields",), {"type": 8}),
        (("specs",), {"endpointSelector": {}, "ingress": [{}]}),
    )
    for name in names
}
"""What may stand in a list in place of a fault, by the list's name."""
_PORT: Final = {"port": "1", "protocol": "TCP"}
_KUBERNETES_PORT: Final = {"port": 1}


def refusals(manifest: Mapping[str, Any], *, node_selector_labels: bool) -> Iterator[Finding]:
    """What the engine refuses, each with its place."""
    trial: Any = manifest
    seen: set[tuple[Path, str]] = set()
    aside: list[Path] = []
    for _ in range(_MOST):
        try:
            parsing.parse(trial, node_selector_labels=node_selector_labels)
        except PolicyRejected as error:
            path, message = findings.resolve(trial, error.path), error.message
        else:
            return
        again = (path, message) in seen
        if not again and not any(path[: len(one)] == one for one in aside):
            place = (*path, *_label(findings.at(trial, path), path, message))
            yield Finding(rule=REFUSED, path=place, message=message, hint=_hint(message))
        seen.add((path, message))
        if trial is manifest:
            trial = copy.deepcopy(dict(manifest))
        put = _put_aside(trial, path, again=again)
        if put is None:
            return
        aside += [put] if isinstance(put[-1], int) else []


def _hint(message: str) -> str:
    if message.startswith("must be a string, not a"):
        return "write it in quotes"
    if found := _ENTITY.match(message):
        return close(found[1], tuple(Entity))
    return ""


def close(written: str, known: Sequence[str]) -> str:
    """A hint at the value that may have been meant."""
    lowered = {name.lower(): name for name in known}
    wanted = written.strip().lower().replace("_", "-")
    found = difflib.get_close_matches(wanted, lowered, n=1, cutoff=0.7)
    return f"did you mean {lowered[found[0]]}?" if found else ""


def _label(value: Any, path: Path, message: str) -> Path:
    """Which label of a selector a message is about."""
    if path[-1:] == ("matchLabels",) and isinstance(value, dict):
        for key, written in value.items():
            bare = str(key).partition(":")[2] or str(key)
            if repr(written) in message or f"{bare!r}" in message:
                return (key,)
    return ()


def _put_aside(trial: Any, path: Path, *, again: bool) -> Path | None:
    """Make the fault harmless; the path of what was changed, None where nothing helps."""
    if path[:1] == ("metadata",):
        return _metadata(trial, path)
    if path[:1] not in (("spec",), ("specs",)):
        return None
    root = 1 if path[0] == "spec" else 2
    places = [end for end in range(len(path), root, -1) if isinstance(path[end - 1], int)]
    for end in places[1:] if again else places:
        name = path[end - 2]
        harmless: Any = _HARMLESS.get(str(name))
        if name == "ports":
            harmless = _KUBERNETES_PORT if trial.get("kind") == KNP else _PORT
        if harmless is not None and _replaced(trial, path[:end], harmless):
            return path[:end]
    if again and not places:
        return None
    return _repaired(trial, path, root)


def _replaced(trial: Any, path: Path, harmless: Any) -> bool:
    container = findings.at(trial, path[:-1])
    place = path[-1]
    if not isinstance(container, list) or not isinstance(place, int):
        return False
    container[place] = copy.deepcopy(harmless)
    return True


def _metadata(trial: Any, path: Path) -> Path | None:
    metadata = trial.get("metadata")
    if not isinstance(metadata, dict):
        trial["metadata"] = {"name": "a"}
    elif len(path) < 2:
        return None
    elif path[1] == "name":
        metadata["name"] = "a"
    else:
        metadata.pop(path[1], None)
    return path[:2]


def _repaired(trial: Any, path: Path, root: int) -> Path | None:
    """Give a spec what it lacks, or take away what it may not have."""
    spec = findings.at(trial, path[:root])
    if not isinstance(spec, dict):
        trial.pop("specs", None)
        trial["spec"] = copy.deepcopy(_HARMLESS["specs"])
        return path[:1]
    if len(path) > root:
        name = str(path[root])
        spec.pop(name, None)
        if name in _SECTIONS:
            spec[name] = [{}]
        elif name in _SELECTORS and not any(other in spec for other in _SELECTORS):
            spec["podSelector" if trial.get("kind") == KNP else "endpointSelector"] = {}
    elif not any(spec.get(name) for name in _SECTIONS):
        spec["ingress"] = [{}]
    else:
        spec["endpointSelector"] = {}
    return path[: root + 1]


_SECTIONS: Final = ("ingress", "ingressDeny", "egress", "egressDeny")
_SELECTORS: Final = ("endpointSelector", "nodeSelector", "podSelector")
