"""What DNS patterns and header conditions mean, written to be obviously right and not to be fast.

Independent of the package under test: from Cilium's documentation alone.
"""

import functools
import string
from collections.abc import Sequence

from policies.requests import REDACTED, HeaderMatch, Part

_IN_NAME = frozenset(string.ascii_letters + string.digits + "-_")
_LONGEST = 255


def is_name(text: str) -> bool:
    """Letters, digits, dashes, underscores and dots."""
    return bool(text) and all(c in _IN_NAME or c == "." for c in text)


def is_pattern(text: str) -> bool:
    """The same, and stars; no longer than a DNS name may be."""
    return 0 < len(text) <= _LONGEST and all(c in _IN_NAME or c in ".*" for c in text)


def matches(pattern: str, name: str) -> bool:
    """Whether a name is one of the pattern's, as a person would try it, letter by letter."""
    pattern, name = _folded(pattern), _folded(name)
    if "*" not in pattern:
        return pattern == name
    if not pattern.rstrip(".").strip("*") and pattern.count(".") <= 1:
        return True
    stars = len(pattern) - len(pattern.lstrip("*"))
    if stars > 1 and pattern[stars : stars + 1] == ".":
        rest = pattern[stars + 1 :]
        labels = name.split(".")
        return any(
            all(_is_label(label) for label in labels[:count])
            and _tries(rest, ".".join(labels[count:]))
            for count in range(1, len(labels))
        )
    return _tries(pattern, name)


def _folded(text: str) -> str:
    text = text.strip().lower()
    return text[:-1] if text.endswith(".") and text != "." else text


def _is_label(text: str) -> bool:
    return bool(text) and all(c in _IN_NAME for c in text)


def _tries(pattern: str, name: str) -> bool:
    @functools.cache
    def at(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(name)
        if pattern[i] == "*":
            return at(i + 1, j) or (j < len(name) and name[j] in _IN_NAME and at(i, j + 1))
        return j < len(name) and name[j] == pattern[i] and at(i + 1, j + 1)

    return at(0, 0)


def missed_headers(wanted: Sequence[HeaderMatch], given: Sequence[tuple[str, str]]) -> set[Part]:
    """What a request lacks of the headers that a rule asks for, one condition after the other."""
    missed = set()
    for header in wanted:
        values = [value for name, value in given if name.casefold() == header.name.casefold()]
        if header.secret or (header.value is not None and REDACTED in values):
            missed.add(Part.HIDDEN)
        elif not values or (header.value is not None and header.value not in values):
            missed.add(Part.HEADERS)
    return missed
