"""IP addresses and prefixes as numbers, with Go's strictness about how they are written."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_BITS: Final = re.compile(r"(0|[1-9][0-9]{0,2})\Z")
_WIDTH: Final = {4: 32, 6: 128}

Address = tuple[int, int]
"""IP version and number."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A CIDR with its host bits cleared."""

    version: int
    value: int
    length: int

    def contains(self, address: Address) -> bool:
        """Whether the address lies within."""
        if address[0] != self.version:
            return False
        shift = _WIDTH[self.version] - self.length
        return (address[1] ^ self.value) >> shift == 0

    def __str__(self) -> str:
        kind = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        return f"{kind(self.value)}/{self.length}"


def parse_address(text: str) -> Address | None:
    """The address, or None where it is none (empty, a zone, leading zeros)."""
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.version, int(address)


def parse_prefix(text: str) -> Prefix:
    """`address/bits`, host bits allowed.

    Raises ValueError for anything else, a netmask or a bare address included.
    """
    head, slash, bits = text.partition("/")
    address = parse_address(head)
    if address is None or not slash or _BITS.match(bits) is None:
        raise ValueError(f"{text!r} is not a CIDR")
    version, value = address
    length = int(bits)
    if length > _WIDTH[version]:
        raise ValueError(f"{text!r} has too long a prefix")
    shift = _WIDTH[version] - length
    return Prefix(version, value >> shift << shift, length)


def of_address(address: Address) -> Prefix:
    """The prefix of one address alone."""
    version, value = address
    return Prefix(version, value, _WIDTH[version])


class PrefixTable:
    """Longest-prefix lookup over a fixed set of prefixes."""

    __slots__ = ("_levels", "_texts")

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        known = set(prefixes)
        self._texts = {(p.version, p.length, p.value): str(p) for p in known}
        self._levels: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for version, length in {(p.version, p.length) for p in known}:
            self._levels[version].append((length, _WIDTH[version] - length))
        for levels in self._levels.values():
            levels.sort(reverse=True)

    def __bool__(self) -> bool:
        return bool(self._texts)

    def longest(self, address: Address) -> str:
        """The longest prefix that contains the address, or the empty string."""
        version, value = address
        texts = self._texts
        for length, shift in self._levels[version]:
            text = texts.get((version, length, value >> shift << shift))
            if text is not None:
                return text
        return ""
