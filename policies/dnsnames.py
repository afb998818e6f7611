"""DNS names and patterns as `toFQDNs` and DNS rules write them.

Case does not matter, nor does a final dot. `*` stays within one label, a leading `**.` spans
labels, and a bare `*` is every name. Matching is by re2, in linear time.
"""

from dataclasses import dataclass
from typing import Final

import re2

_CHARACTERS: Final = "[-a-zA-Z0-9_]"
_NAME: Final = re2.compile(r"[-a-zA-Z0-9_.]+")
_PATTERN: Final = re2.compile(r"[-a-zA-Z0-9_.*]+")


def canonical(name: str) -> str:
    """A name or pattern in the spelling in which two equal ones are equal."""
    lowered = name.strip().lower()
    return lowered if lowered == "." else lowered.removesuffix(".")


def is_name(text: str) -> bool:
    """Whether Cilium takes it as `matchName`."""
    return _NAME.fullmatch(text) is not None


def is_pattern(text: str) -> bool:
    """Whether Cilium takes it as `matchPattern`."""
    return _PATTERN.fullmatch(text) is not None


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
        return re2.fullmatch(self._expression(), wanted) is not None

    def _expression(self) -> str:
        if self.text == "*":
            return f"({_CHARACTERS}+[.]?)*"
        text = self.text
        lead = ""
        if text.startswith("**."):
            text = text.removeprefix("**.")
            lead = f"({_CHARACTERS}+[.])+"
        body = "".join(
            f"{_CHARACTERS}*" if c == "*" else "[.]" if c == "." else re2.escape(c) for c in text
        )
        return lead + body

    def __str__(self) -> str:
        return self.text
