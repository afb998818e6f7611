"""Whether a changed JSON Schema still fits the one before it. Pure.

Both sides of an upgrade count: an old consumer meets new messages, and a new consumer meets what is
still in the log. So a change may add optional fields and enum values; anything else is a new
message type. The words looked at are those that pydantic writes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]

_EXACT = ("type", "format", "const", "pattern")
_BOUNDS = (("minimum", 1), ("maximum", -1), ("minItems", 1), ("maxItems", -1))
"""Each with the direction in which it becomes tighter."""


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """Return what breaks one side or the other, each with its place; nothing where all is well."""
    return list(_Comparison(old, new).parts(old, new, "$"))


@dataclass(slots=True)
class _Comparison:
    old_root: Schema
    new_root: Schema
    seen: set[tuple[str, str]] = field(default_factory=set)

    def parts(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        """Yield what changed for the worse between two parts at the same place."""
        pair = (str(old.get("$ref", "")), str(new.get("$ref", "")))
        if all(pair):
            if pair in self.seen:
                return
            self.seen.add(pair)
        old, new = _resolved(old, self.old_root), _resolved(new, self.new_root)
        yield from _values(old, new, where)
        yield from self._properties(old, new, where)
        for word in ("items", "additionalProperties"):
            before, after = old.get(word), new.get(word)
            if isinstance(before, Mapping) and isinstance(after, Mapping):
                yield from self.parts(before, after, f"{where}[]")
            elif after is False and before is not False:
                yield f"{where}: {word} became forbidden"
        yield from self._alternatives(old.get("anyOf", []), new.get("anyOf", []), where)

    def _properties(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        properties = new.get("properties", {})
        before, after = set(old.get("required", [])), set(new.get("required", []))
        for name in sorted(after - before):
            yield f"{where}.{name}: is required now, and older messages may have none"
        for name, part in old.get("properties", {}).items():
            if name not in properties:
                yield f"{where}.{name}: is gone"
                continue
            if name in before - after:
                yield f"{where}.{name}: was always there and is optional now"
            yield from self.parts(part, properties[name], f"{where}.{name}")

    def _alternatives(self, old: list[Schema], new: list[Schema], where: str) -> Iterator[str]:
        if len(old) != len(new):
            yield f"{where}: had {len(old)} alternatives and has {len(new)}"
            return
        for before, after in zip(old, new, strict=True):
            yield from self.parts(before, after, where)


def _values(old: Schema, new: Schema, where: str) -> Iterator[str]:
    for word in _EXACT:
        if old.get(word) != new.get(word):
            yield f"{where}: {word} was {old.get(word)!r} and is {new.get(word)!r}"
    for value in old.get("enum", []):
        if value not in new.get("enum", []):
            yield f"{where}: the value {value!r} is gone"
    for word, direction in _BOUNDS:
        before, after = old.get(word), new.get(word)
        if after is not None and (before is None or (after - before) * direction > 0):
            yield f"{where}: {word} was {before} and is {after}"


def _resolved(part: Schema, root: Schema) -> Schema:
    reference = part.get("$ref")
    if reference is None:
        return part
    found: Any = root
    for step in str(reference).removeprefix("#/").split("/"):
        found = found[step]
    assert isinstance(found, Mapping)
    return found
