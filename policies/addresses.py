"""IP addresses and prefixes as numbers, with Go's strictness about how they are written."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_BITS: Final = re.compile(r"(0|[1-9][0-9]{0,2})\Z")
_WIDTH: Final = {4: 32, 6: 128}
_OCTETS: Final = {str(octet): octet for octet in range(256)}
"""By how each is written; a scan of many sources is many addresses, so this is on the hot path."""

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
    if ":" in text:
        return _parse_ipv6(text)
    try:
        first, second, third, fourth = text.split(".")
        return 4, (
            _OCTETS[first] << 24 | _OCTETS[second] << 16 | _OCTETS[third] << 8 | _OCTETS[fourth]
        )
    except (KeyError, ValueError):
        return None


def _parse_ipv6(text: str) -> Address | None:
    if "%" in text:
        return None
    try:
        return 6, int(ipaddress.IPv6Address(text))
    except ValueError:
        return None


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

    __slots__ = ("_levels", "prefixes")

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self.prefixes = frozenset(prefixes)
        found: dict[int, dict[int, dict[int, str]]] = {4: {}, 6: {}}
        for prefix in self.prefixes:
            shift = _WIDTH[prefix.version] - prefix.length
            found[prefix.version].setdefault(shift, {})[prefix.value >> shift] = str(prefix)
        self._levels = {version: sorted(levels.items()) for version, levels in found.items()}
        """By version: the prefixes of each length, the longest first, by their leading bits."""

    def __bool__(self) -> bool:
        return bool(self.prefixes)

    def longest(self, address: Address) -> str:
        """The longest prefix that contains the address, or the empty string.

        Costs one look-up for each length of prefix, however many prefixes there are.
        """
        version, value = address
        for shift, texts in self._levels[version]:
            text = texts.get(value >> shift)
            if text is not None:
                return text
        return ""
