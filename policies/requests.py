"""Rules about requests: HTTP and DNS, as Envoy and Cilium's DNS proxy enforce them.

HTTP expressions match in full and by re2, in linear time. Kafka and generic rules are not
evaluated; `L7Rules.unevaluated` says so.
"""

from dataclasses import dataclass
from enum import StrEnum

import re2

from policies.dnsnames import DnsPattern


class Mismatch(StrEnum):
    """What Envoy does where a header differs; only the absence of an action denies."""

    LOG = "LOG"
    ADD = "ADD"
    DELETE = "DELETE"
    REPLACE = "REPLACE"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMatch:
    """A header that must be there, and with this value unless that is None."""

    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRule:
    """One entry of `rules.http`; an empty expression is no condition."""

    method: str = ""
    path: str = ""
    host: str = ""
    headers: tuple[HeaderMatch, ...] = ()

    def matches(
        self, *, method: str, path: str, host: str, headers: tuple[tuple[str, str], ...]
    ) -> bool:
        """Whether a request passes this rule."""
        return (
            _full(self.method, method)
            and _full(self.path, path)
            and _full(self.host, host)
            and all(_has(header, headers) for header in self.headers)
        )

    def __str__(self) -> str:
        parts = [self.method or "any method", self.path or "any path"]
        if self.host:
            parts.append(f"host {self.host}")
        parts += [f"header {h.name}" for h in self.headers]
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class L7Rules:
    """The rules of one entry of toPorts: at most one kind is not None."""

    path: str
    http: tuple[HttpRule, ...] | None = None
    dns: tuple[DnsPattern, ...] | None = None
    unevaluated: str = ""
    """Which kind of rule this is where it is not evaluated, such as `kafka`."""

    def __str__(self) -> str:
        if self.http is not None:
            return "HTTP " + ", ".join(str(rule) for rule in self.http)
        if self.dns is not None:
            return "DNS " + ", ".join(str(rule) for rule in self.dns)
        return self.unevaluated


def compiles(expression: str) -> bool:
    """Whether re2, and so Go's regexp and Envoy, takes the expression."""
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(expression, options)
    except re2.error:
        return False
    return True


def _full(expression: str, text: str) -> bool:
    if not expression:
        return True
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options).fullmatch(text) is not None
    except re2.error:
        return False


def _has(wanted: HeaderMatch, headers: tuple[tuple[str, str], ...]) -> bool:
    name = wanted.name.lower()
    values = [value for key, value in headers if key.lower() == name]
    if wanted.value is None:
        return bool(values)
    return wanted.value in values
