"""What a rule of the linter is, and what it found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Path = tuple[str | int, ...]
"""Where in a manifest: keys and indexes; keys of labels and annotations are elements too."""


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """Cilium or the API server refuses the object."""
    WARNING = "warning"
    """Accepted, and surely not meant."""
    INFO = "info"
    """Accepted, and worth knowing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that the linter looks for; the page of rules is made from these."""

    id: str
    severity: Severity
    what: str
    """One line: what is wrong."""
    why: str
    """What comes of it."""
    mend: str
    """How to put it right."""
    wrong: str = ""
    """A manifest, or a part of one, in which it is found. See `cli.linting.page`."""
    right: str = ""
    """The same, mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Another place that a finding speaks of."""

    object: int
    """The number that the object was given when it was read."""
    path: Path
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule found in one place of one object."""

    rule: Rule
    path: Path
    message: str
    """Plain, without the path."""
    hint: str = ""
    """What to write instead, where that can be told."""
    at_key: bool = False
    """Whether the key is to blame, not its value."""
    elsewhere: Elsewhere | None = None


_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def text(path: Path) -> str:
    """A path as people write it: `spec.ingress[1].toPorts`, `metadata.labels["a.b/c"]`."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        elif part and _PLAIN.issuperset(part):
            written += f".{part}" if written else part
        else:
            written += f'["{part}"]'
    return written


def resolve(manifest: object, written: str) -> Path:
    """The path that `decoding.Field.path` wrote down, as far as the manifest has it.

    Keys may have dots in them, so the manifest decides where one ends.
    """
    found: list[str | int] = []
    value, rest = manifest, written
    while rest:
        if rest.startswith("["):
            index, _, rest = rest[1:].partition("]")
            found.append(int(index))
            value = _entry(value, int(index))
            continue
        rest = rest.removeprefix(".")
        key = _key(value, rest)
        found.append(key)
        rest = rest[len(key) :]
        value = value.get(key) if isinstance(value, Mapping) else None
    return tuple(found)


def _entry(value: object, index: int) -> object:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return value[index] if is_list and index < len(value) else None  # type: ignore[index,arg-type]


def _key(value: object, rest: str) -> str:
    keys = value if isinstance(value, Mapping) else ()
    fitting = [
        key
        for key in keys
        if isinstance(key, str)
        and key
        and rest.startswith(key)
        and rest[len(key) : len(key) + 1] in ("", ".", "[")
    ]
    if fitting:
        return max(fitting, key=len)
    ends = [place for place in (rest.find("."), rest.find("[")) if place > 0]
    return rest[: min(ends)] if ends else rest


def at(manifest: object, path: Path) -> object:
    """The value at a path, or None."""
    value = manifest
    for part in path:
        if isinstance(part, int):
            value = _entry(value, part)
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value
