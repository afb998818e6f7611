"""Rules about requests: HTTP, DNS, Kafka and TLS server names, as the proxies enforce them.

HTTP expressions match in full and by re2, in linear time. A flow does not show all of a request: a
secret header, a redacted value, a Kafka client and a server name stay unknown, and what is unknown
is never taken for met. Rules of other kinds are not evaluated; `L7Rules.unevaluated` says so.
"""

import functools
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import re2

from policies.dnsnames import DnsPattern

REDACTED: Final = "HUBBLE_REDACTED"
"""What Hubble puts in the place of a value that it does not show."""
_MEMORY: Final = 8 << 20
"""Bytes that one compiled expression may take: what Envoy grants, so it refuses the same ones."""
_ESCAPES: Final = re.compile(r"\\(?:Q.*?(?:\\E|\Z)|(.))", re.DOTALL)
"""A backslash and what it is about; a quotation as a whole."""
_TOO_LARGE: Final = "pattern too large"
"""What re2 says of an expression that reads well and would take more."""
_COMPILED: Final = 1_024


class Mismatch(StrEnum):
    """What Envoy does where a header differs; only the absence of an action denies."""

    LOG = "LOG"
    ADD = "ADD"
    DELETE = "DELETE"
    REPLACE = "REPLACE"


class Part(StrEnum):
    """What of a request a rule has a condition on; the value is what a sentence calls it."""

    PATH = "path"
    HOST = "host"
    METHOD = "method"
    HEADERS = "headers"
    HIDDEN = "header values"
    """Of a header that the flow does not show, or whose value the policy does not."""
    NAME = "name"
    SERVER = "server name"
    TOPIC = "topic"
    KEY = "API key"
    VERSION = "API version"
    CLIENT = "client"


UNSEEN: Final = frozenset({Part.HIDDEN, Part.SERVER, Part.CLIENT})
"""What no flow shows: who misses no more than that may have passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderMatch:
    """A header that must be there, and with this value unless that is None."""

    name: str
    value: str | None = None
    secret: bool = False
    """The value stands in a Kubernetes secret, which is not read."""

    def missed(self, headers: tuple[tuple[str, str], ...]) -> Part | None:
        """What a request with these headers lacks of it, if anything."""
        name = self.name.lower()
        values = [value for key, value in headers if key.lower() == name]
        if self.secret or (self.value is not None and REDACTED in values):
            return Part.HIDDEN
        has_it = bool(values) if self.value is None else self.value in values
        return None if has_it else Part.HEADERS


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRule:
    """One entry of `rules.http`; an empty expression is no condition."""

    method: str = ""
    path: str = ""
    host: str = ""
    headers: tuple[HeaderMatch, ...] = ()

    def missed(
        self, *, method: str, path: str, host: str, headers: tuple[tuple[str, str], ...]
    ) -> tuple[Part, ...]:
        """The parts of a request that do not certainly meet this rule; none: it passes."""
        missed = []
        if not _full(self.path, path):
            missed.append(Part.PATH)
        if not _full(self.host, host):
            missed.append(Part.HOST)
        if not _full(self.method, method):
            missed.append(Part.METHOD)
        lacking = {header.missed(headers) for header in self.headers}
        missed += [part for part in (Part.HEADERS, Part.HIDDEN) if part in lacking]
        return tuple(missed)

    def matches(
        self, *, method: str, path: str, host: str, headers: tuple[tuple[str, str], ...]
    ) -> bool:
        """Whether a request passes this rule."""
        return not self.missed(method=method, path=path, host=host, headers=headers)

    def __str__(self) -> str:
        parts = [self.method or "any method", self.path or "any path"]
        if self.host:
            parts.append(f"host {self.host}")
        parts += [f"header {h.name}" for h in self.headers]
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaRule:
    """One entry of `rules.kafka`; what is empty is no condition."""

    keys: tuple[str, ...] = ()
    """The API keys that its `role` or `apiKey` means, in small letters."""
    version: int | None = None
    topic: str = ""
    client: str = ""
    called: str = ""
    """Its role or API key as its owner wrote it."""

    def missed(self, *, key: str, version: int, topic: str) -> tuple[Part, ...]:
        """The parts of a request that do not certainly meet this rule; flows have no client.

        A request of a kind that has no topic passes whatever topic the rule names.
        """
        missed = []
        if self.topic and topic != self.topic and key.lower() in _WITH_TOPIC:
            missed.append(Part.TOPIC)
        if self.keys and key.lower() not in self.keys:
            missed.append(Part.KEY)
        if self.version is not None and version != self.version:
            missed.append(Part.VERSION)
        if self.client:
            missed.append(Part.CLIENT)
        return tuple(missed)

    def __str__(self) -> str:
        parts = [self.called or "any request"]
        if self.version is not None:
            parts.append(f"version {self.version}")
        if self.topic:
            parts.append(f"topic {self.topic}")
        if self.client:
            parts.append(f"client {self.client}")
        return " ".join(parts)


# Kafka's names for the kinds of requests that name topics.
_WITH_TOPIC: Final = frozenset(
    {
        "produce",
        "fetch",
        "offsets",
        "metadata",
        "leaderandisr",
        "stopreplica",
        "updatemetadata",
        "offsetcommit",
        "offsetfetch",
        "createtopics",
        "deletetopics",
        "deleterecords",
        "offsetforleaderepoch",
        "addpartitionstotxn",
        "writetxnmarkers",
        "txnoffsetcommit",
        "34",
        "35",
        "37",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class L7Rules:
    """The rules of one entry of toPorts: one kind is not None, and server names beside it."""

    path: str
    http: tuple[HttpRule, ...] | None = None
    dns: tuple[DnsPattern, ...] | None = None
    kafka: tuple[KafkaRule, ...] | None = None
    server_names: tuple[str, ...] | None = None
    """`serverNames`: which servers a TLS client may name. No flow shows which one it named."""
    unevaluated: str = ""
    """Which kind of rule this is where it is not evaluated: `l7proto`, `listener` or `TLS`."""

    def __str__(self) -> str:
        for kind, rules in (("HTTP", self.http), ("DNS", self.dns), ("Kafka", self.kafka)):
            if rules is not None:
                return f"{kind} {', '.join(str(rule) for rule in rules)}"
        if self.server_names is not None:
            return f"TLS server name {', '.join(self.server_names)}"
        return self.unevaluated


@functools.lru_cache(maxsize=_COMPILED)
def _compiled(expression: str) -> tuple[Any, bool]:
    r"""The compiled expression, None where there is none; and whether it is one of the language.

    Go's regexp reads the same language, but for `\C`, which it refuses; and it takes larger ones.
    """
    if any(escape[1] == "C" for escape in _ESCAPES.finditer(expression)):
        return None, False
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return re2.compile(expression, options), True
    except UnicodeEncodeError:
        return None, False
    except re2.error as error:
        return None, _TOO_LARGE in str(error)


def is_expression(text: str) -> bool:
    """Whether Cilium takes the expression, as Go's regexp does."""
    return _compiled(text)[1]


def compiles(text: str) -> bool:
    """Whether Envoy takes it as well: what is too large for it lets no request pass."""
    return _compiled(text)[0] is not None


def _full(expression: str, text: str) -> bool:
    if not expression:
        return True
    found, _ = _compiled(expression)
    try:
        return found is not None and found.fullmatch(text) is not None
    except UnicodeEncodeError:
        # Half a character, as JSON can have it: no request has such a text, so none is meant.
        return False
