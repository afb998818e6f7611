"""Which fields of an object its type does not know, and whether Go's types would write it the same.

Both walks follow the schema; neither judges values, so an object of the wrong shape is taken as far
as its shape goes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.crd import metadata
from policies.crd.shapes import GO, Schema, Written

Path = tuple[str | int, ...]

_OPEN: Final = frozenset({"matchLabels", "matchExpressions"})
"""Cilium's own check does not look beneath these."""


def unknown(schema: Schema, value: object, path: Path = ()) -> Iterator[Path]:
    """The paths of fields that the API server would drop, or refuse where it is strict."""
    if isinstance(value, Mapping):
        properties, others = schema.get("properties"), schema.get("additionalProperties")
        for key, inner in value.items():
            if properties is not None and key in properties:
                yield from unknown(properties[key], inner, (*path, key))
            elif others is not None:
                yield from unknown(others, inner, (*path, key))
            elif properties is not None:
                yield (*path, key)
    elif isinstance(value, list | tuple) and (items := schema.get("items")) is not None:
        for index, inner in enumerate(value):
            yield from unknown(items, inner, (*path, index))


def without_nulls(schema: Schema, value: Any) -> Any:
    """The same value less the fields that are null, which the API server drops where it may."""
    if isinstance(value, Mapping):
        properties: Mapping[str, Schema] = schema.get("properties") or {}
        others: Schema | None = schema.get("additionalProperties")
        return {
            key: without_nulls(properties.get(key) or others or {}, inner)
            for key, inner in value.items()
            if inner is not None or (key not in properties and others is None)
        }
    if isinstance(value, list | tuple) and (items := schema.get("items")) is not None:
        return [without_nulls(items, inner) for inner in value]
    return value


def is_kept(schema: Schema, value: object, path: Path = ()) -> bool:
    """Whether Go's types write a valid object with the very fields that it has.

    Objects and lists without any value in them count for nothing.
    """
    if path and path[-1] in _OPEN:
        return not _opens(value)
    if isinstance(value, list | tuple):
        items: Schema = schema.get("items") or {}
        return all(is_kept(items, inner, (*path, index)) for index, inner in enumerate(value))
    if not isinstance(value, Mapping) or not schema:
        return True
    return _has_all(schema, value, path) and all(
        _is_field_kept(schema, key, inner, (*path, key)) for key, inner in value.items()
    )


def _has_all(schema: Schema, value: Mapping[str, Any], path: Path) -> bool:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    return path == ("metadata",) or all(
        name in value for name, field in properties.items() if field.get(GO) == Written.ALWAYS.value
    )


def _is_field_kept(schema: Schema, key: str, value: object, path: Path) -> bool:
    if path in metadata.IGNORED:
        return True
    field = (schema.get("properties") or {}).get(key)
    if field is None:
        others = schema.get("additionalProperties")
        return is_kept(others, value, path) if others is not None else not _has_leaf(value)
    if field.get(GO) is None and (value is None or value in ("", 0)):
        # 0 is False, too: zero, which is left out.
        return False
    if value is None and field.get(GO) == Written.GIVEN.value:
        return False
    return is_kept(field, value, path)


def _opens(value: object) -> bool:
    """Whether there is an open field in it, which that check then takes for the one to stop at."""
    match value:
        case Mapping():
            return any(
                (key in _OPEN and isinstance(inner, Mapping | list | tuple) and _has_leaf(inner))
                or _opens(inner)
                for key, inner in value.items()
            )
        case list() | tuple():
            return any(_opens(inner) for inner in value)
        case _:
            return False


def _has_leaf(value: object) -> bool:
    match value:
        case Mapping():
            return any(_has_leaf(inner) for inner in value.values())
        case list() | tuple():
            return any(_has_leaf(inner) for inner in value)
        case _:
            return True
