"""Pieces from which the schema of a CRD is put together: JSON Schema, and how Go writes values.

Go writes a value that is zero only where its field says so. Cilium's own check compares an object
with what its types make of it, so a field says here by `GO` how it is written; by default it is
left out where it is zero. Nothing here knows what a policy is.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

Schema = dict[str, Any]
"""JSON Schema, with the keyword GO."""

GO: Final = "x-go"


class Written(StrEnum):
    """When Go's types write a field."""

    ALWAYS = "always"
    """Even where it was not given."""
    GIVEN = "given"
    """As it was given, zero too."""


def text(
    *,
    pattern: str = "",
    longest: int | None = None,
    shortest: int | None = None,
    form: str = "",
    among: Iterable[str] = (),
) -> Schema:
    """A string, maybe one that an RE2 expression finds a match in."""
    found: Schema = {"type": "string"}
    if pattern:
        found["pattern"] = pattern
    if longest is not None:
        found["maxLength"] = longest
    if shortest is not None:
        found["minLength"] = shortest
    if form:
        found["format"] = form
    if values := list(among):
        found["enum"] = values
    return found


def number(*, low: int | None = None, high: int | None = None) -> Schema:
    """A whole number within bounds."""
    found: Schema = {"type": "integer"}
    if low is not None:
        found["minimum"] = low
    if high is not None:
        found["maximum"] = high
    return found


def boolean() -> Schema:
    """True or false."""
    return {"type": "boolean"}


def a_list(
    items: Schema, *, most: int | None = None, least: int | None = None, unique: bool = False
) -> Schema:
    """A list."""
    found: Schema = {"type": "array", "items": items}
    if most is not None:
        found["maxItems"] = most
    if least is not None:
        found["minItems"] = least
    if unique:
        found["uniqueItems"] = True
    return found


def a_map(values: Schema | None = None) -> Schema:
    """An object whose keys are the user's."""
    return {"type": "object", "additionalProperties": values or text()}


def an_object(
    fields: Mapping[str, Schema],
    *,
    needs: Iterable[str] = (),
    one_of: Iterable[str] = (),
    any_of: Iterable[str] = (),
) -> Schema:
    """An object of these fields; others are none of it, and dropped."""
    found: Schema = {"type": "object", "properties": dict(fields)}
    if required := list(needs):
        found["required"] = required
    if single := list(one_of):
        found["oneOf"] = [{"required": [name]} for name in single]
    if several := list(any_of):
        found["anyOf"] = [{"required": [name]} for name in several]
    return found


def anything() -> Schema:
    """Whatever JSON can say, which nobody looks into."""
    return {}


def written(schema: Schema, when: Written) -> Schema:
    """The same, but written by Go as said."""
    return {**schema, GO: when.value}


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}
