"""From a file's text to the objects in it, each with its line. Pure: no file is opened here.

YAML 1.2 with many documents, JSON, and lists of objects. A file is taken whole or not at all: half
a file would look as if the other half had been deleted.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from agent import kinds, versions

MAX_FILE_BYTES = 20 * 1024 * 1024
MAX_VALUES = 2_000_000
"""Values in one file, aliases counted as often as they are used: a few lines can name billions."""


class Unreadable(Exception):
    """A file that cannot be taken; `line` counts from 1, None where no line is to blame."""

    def __init__(self, reason: str, *, line: int | None = None) -> None:
        """Keep where and why."""
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One object that matching needs, ready to be published."""

    identity: kinds.Identity
    manifest: dict[str, Any]
    """As in the file, with its namespace filled in and without managedFields."""
    line: int
    meaning: bytes
    """See versions.meaning."""
    changed_at: datetime | None
    """The newest change that managedFields tell of."""
    created_at: datetime | None
    """Its creationTimestamp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What one file holds."""

    documents: tuple[Document, ...] = ()
    ignored: tuple[str, ...] = field(default=())
    """The kinds of objects that matching has no use for, one entry an object."""


def parse(text: str) -> Contents:
    """Read a file's text. Raises Unreadable."""
    documents: list[Document] = []
    ignored: list[str] = []
    try:
        for manifest, line in _objects(text):
            if kinds.is_needed(manifest):
                documents.append(_document(manifest, line))
            else:
                ignored.append(str(manifest.get("kind") or "unknown"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "is not valid YAML"
        raise Unreadable(reason, line=mark.line + 1 if mark else None) from error
    except YAMLError as error:
        raise Unreadable(str(error).partition("\n")[0] or "is not valid YAML") from error
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    except ValueError as error:  # such as a timestamp of month 13
        raise Unreadable(str(error)) from error
    return Contents(documents=tuple(documents), ignored=tuple(ignored))


def _objects(text: str) -> Iterator[tuple[dict[str, Any], int]]:
    yaml = YAML(typ="safe", pure=True)
    budget = [MAX_VALUES]
    for node in yaml.compose_all(text):
        if node is None:
            continue
        if not isinstance(node, MappingNode):
            raise Unreadable("holds something that is no object", line=node.start_mark.line + 1)
        _charge(node, budget)
        value = yaml.constructor.construct_document(node)
        line = node.start_mark.line + 1
        items = value.get("items")
        kind = value.get("kind")
        if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
            lines = _item_lines(node)
            for item, item_line in zip(items, lines, strict=True):
                if not isinstance(item, dict):
                    raise Unreadable(f"an item of {kind} is no object", line=item_line)
                yield _typed(_plain(item, item_line), kind, value.get("apiVersion")), item_line
        elif value:
            yield _plain(value, line), line


def _charge(node: Node, budget: list[int]) -> None:
    """Count what `node` unfolds to, before anything is built of it."""
    stack: list[Node] = [node]
    while stack:
        current = stack.pop()
        budget[0] -= 1
        if budget[0] < 0:
            raise Unreadable(f"unfolds to more than {MAX_VALUES:,} values", line=1)
        if isinstance(current, MappingNode):
            for key, value in current.value:
                stack += (key, value)
        elif isinstance(current, SequenceNode):
            stack += current.value


def _item_lines(node: MappingNode) -> list[int]:
    for key, value in node.value:
        if key.value == "items" and isinstance(value, SequenceNode):
            return [item.start_mark.line + 1 for item in value.value]
    return []


def _typed(item: dict[str, Any], list_kind: str, version: object) -> dict[str, Any]:
    """Give an item of a typed list, such as NetworkPolicyList, the type that it may leave out."""
    if list_kind == "List" or "kind" in item:
        return item
    return {"apiVersion": version, "kind": list_kind.removesuffix("List"), **item}


def _plain(value: Any, line: int) -> Any:
    """Return the value as JSON has it: YAML knows times, bytes and keys that are no strings."""
    if isinstance(value, dict):
        return {_key(key, line): _plain(item, line) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, line) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise Unreadable(f"holds a value of type {type(value).__name__}", line=line)


def _key(key: object, line: int) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool | int | float):
        return json.dumps(key)
    raise Unreadable("holds a key that is no string", line=line)


def _document(manifest: dict[str, Any], line: int) -> Document:
    kind: str = manifest["kind"]
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict):
        raise Unreadable(f"{kind} has no metadata", line=line)
    name = metadata.get("name")
    if not isinstance(name, str) or not name or "/" in name:
        raise Unreadable(f"{kind} has no name", line=line)
    for part in ("labels", "annotations"):
        pairs = metadata.get(part)
        if pairs is not None and not (
            isinstance(pairs, dict) and all(isinstance(value, str) for value in pairs.values())
        ):
            raise Unreadable(f"{kind} {name}: {part} must map text to text; quote it", line=line)
    kept = {
        key: value for key, value in metadata.items() if key not in {"managedFields", "namespace"}
    }
    namespace = ""
    if kinds.is_namespaced(kind):
        namespace = metadata.get("namespace") or kinds.DEFAULT_NAMESPACE
        if not isinstance(namespace, str) or "/" in namespace:
            raise Unreadable(f"{kind} {name}: namespace must be text", line=line)
        kept["namespace"] = namespace
    try:
        json.dumps(manifest, allow_nan=False)
    except ValueError:
        raise Unreadable(f"{kind} {name} holds a number that JSON has not", line=line) from None
    published = {**manifest, "metadata": kept}
    return Document(
        identity=kinds.Identity(kind, namespace, name),
        manifest=published,
        line=line,
        meaning=versions.meaning(published),
        changed_at=versions.changed_at(metadata),
        created_at=versions.created_at(metadata),
    )
