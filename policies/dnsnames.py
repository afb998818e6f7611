"""DNS names and patterns as `toFQDNs` and DNS rules write them.

Case does not matter, nor does a final dot. `*` stays within one label, a leading `**.` spans
labels, and a bare `*` is every name. Matching is by re2, in linear time.
"""

import functools
from dataclasses import dataclass
from typing import Any, Final

import re2

_CHARACTERS: Final = "[-a-zA-Z0-9_]"
_NAME: Final = re2.compile(r"[-a-zA-Z0-9_.]+")
_PATTERN: Final = re2.compile(r"[-a-zA-Z0-9_.*]+")
_EVERYTHING: Final = re2.compile(r"[*]+[.]?")
_SUBDOMAINS: Final = re2.compile(r"[*]{2,}[.]")
_LONGEST: Final = 255


def canonical(name: str) -> str:
    """A name or pattern in the spelling in which two equal ones are equal."""
    lowered = name.strip().lower()
    return lowered if lowered == "." else lowered.removesuffix(".")


def is_name(text: str) -> bool:
    """Whether Cilium takes it as `matchName`."""
    return _NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether Cilium takes it as `matchPattern`."""
    return len(text.strip()) <= _LONGEST and _PATTERN.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class DnsPattern:
    """What one `matchName` or `matchPattern` means; equal patterns are equal values."""

    text: str
    """Canonical. A name is a pattern without a wildcard."""

    def matches(self, name: str) -> bool:
        """Whether a queried name is one of these."""
        wanted = canonical(name)
        if "*" not in self.text:
            return wanted == self.text
        if _EVERYTHING.fullmatch(self.text) is not None:
            return True
        try:
            return _compiled(self.text).fullmatch(wanted) is not None
        except UnicodeEncodeError:
            # Half a character, as JSON can have it: no name has that.
            return False

    def __str__(self) -> str:
        return self.text or "no name"


@functools.lru_cache(maxsize=4_096)
def _compiled(pattern: str) -> Any:
    lead = ""
    if (found := _SUBDOMAINS.match(pattern)) is not None:
        # Only at the start do several stars span labels, one at least.
        pattern = pattern[found.end() :]
        lead = f"({_CHARACTERS}+[.])+"
    body = "".join(
        f"{_CHARACTERS}*" if c == "*" else "[.]" if c == "." else re2.escape(c) for c in pattern
    )
    return re2.compile(lead + body)
