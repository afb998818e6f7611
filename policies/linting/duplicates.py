"""Objects that stand in the given files twice."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.linting.findings import Elsewhere, Finding, Rule, Severity
from policies.model import CCNP

OBJECT: Final = Rule(
    id="duplicate-object",
    severity=Severity.ERROR,
    what="The same kind, namespace and name stand in one folder twice.",
    why=(
        "Whichever is applied last wins, and which one that is changes with the order of files."
        " Picket's agent takes neither."
    ),
    mend="Keep one, or give the other its own name.",
)
ELSEWHERE: Final = Rule(
    id="same-object-elsewhere",
    severity=Severity.INFO,
    what="The same kind, namespace and name stand in files of two folders.",
    why=(
        "That is well where each folder is for a cluster of its own, and a mistake where both are"
        " applied to one: then the last one wins."
    ),
    mend="Lint the folders apart, or keep one.",
)
CONTENT: Final = Rule(
    id="duplicate-policy",
    severity=Severity.WARNING,
    what="Two policies of one namespace say the same under two names.",
    why="One of them changes nothing; whoever mends one will forget the other.",
    mend="Keep one.",
)


class Duplicates:
    """Remembers what was seen; ask once for each object, in order."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, ...], list[tuple[int, str]]] = {}
        self._contents: dict[tuple[str, ...], int] = {}

    def check(self, number: int, manifest: Mapping[str, Any], folder: str) -> Iterator[Finding]:
        """Whether an object like this one came before; one in the same folder is worse."""
        metadata = manifest.get("metadata")
        if not isinstance(metadata, Mapping):
            return
        kind, name = str(manifest.get("kind")), metadata.get("name")
        namespace = "" if kind == CCNP else metadata.get("namespace") or ""
        if not isinstance(name, str) or not name or not isinstance(namespace, str):
            return
        earlier = self._names.setdefault((kind, namespace, name), [])
        same_folder = [other for other, where in earlier if where == folder]
        full = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
        if same_folder:
            yield _finding(OBJECT, f"{full} was given before", same_folder[0], "here")
        elif earlier:
            message = f"{full} stands in another folder, too"
            yield _finding(ELSEWHERE, message, earlier[0][0], "here")
        earlier.append((number, folder))
        same = self._contents.setdefault((folder, kind, namespace, _content(manifest)), number)
        if same != number and not same_folder:
            message = f"{name} says the same as another policy"
            yield _finding(CONTENT, message, same, "this one")


def _finding(rule: Rule, message: str, other: int, note: str) -> Finding:
    path = ("metadata", "name")
    elsewhere = Elsewhere(object=other, path=path, note=note)
    return Finding(rule=rule, path=path, message=message, elsewhere=elsewhere)


def _content(manifest: Mapping[str, Any]) -> str:
    """All that decides, alerts included: two projects may each want to be told."""
    metadata = manifest["metadata"]
    specs = [
        {key: value for key, value in spec.items() if key != "description"}
        for spec in (manifest.get("spec"), *(_list(manifest.get("specs"))))
        if isinstance(spec, Mapping)
    ]
    told = [
        {k: v for k, v in (metadata.get(part) or {}).items() if "/" in str(k)}
        for part in ("labels", "annotations")
        if isinstance(metadata.get(part) or {}, Mapping)
    ]
    return json.dumps([specs, told], sort_keys=True, default=str)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
