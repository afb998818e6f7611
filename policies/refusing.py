"""What L7 rules make of one request, and how near it came to passing.

A request passes where one rule takes it. Where a rule is missed in nothing but what no flow shows,
nobody can say. Nothing here looks at L3 or L4.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from policies.flows import DnsRequest, HttpRequest, KafkaRequest, Request
from policies.requests import UNSEEN, L7Rules, Part


class Passing(Enum):
    """Whether a request meets one of the rules of a set."""

    PASSES = auto()
    FAILS = auto()
    UNSEEN = auto()
    """It depends on what no flow shows."""
    OTHER_KIND = auto()
    """The rules are about requests of another kind, or the flow has none."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one set of rules makes of a request."""

    passing: Passing
    distance: int = 0
    """How much of the nearest rule it misses."""
    miss: str = ""
    """That as a sentence says it, such as `had another method`; empty where it passes."""


_OBJECTS: Final = frozenset({Part.PATH, Part.TOPIC, Part.NAME})
"""What a request is about: a rule for another one is further off than any other."""
_FAR: Final = 10
_UNNAMED: Final = "named another server, or none"


def judge(l7: L7Rules, request: Request | None) -> Judgement:
    """What a set of rules makes of a request; None: a connection of which nothing was seen."""
    if request is None:
        if l7.server_names is None:
            return Judgement(Passing.OTHER_KIND)
        return Judgement(Passing.UNSEEN, 1, _UNNAMED)
    rules = _missed(l7, request)
    if rules is None:
        return Judgement(Passing.OTHER_KIND)
    if not rules:
        return Judgement(Passing.FAILS, _FAR, "had no chance")
    name, missed = min(rules, key=lambda rule: _distance(rule[1]))
    if not missed:
        return Judgement(Passing.PASSES)
    unseen = any(UNSEEN.issuperset(parts) for _, parts in rules)
    said = _said(request, missed)
    if len(rules) > 1 and not isinstance(request, DnsRequest):
        said += f" than {name}"
    return Judgement(Passing.UNSEEN if unseen else Passing.FAILS, _distance(missed), said)


def _distance(missed: tuple[Part, ...]) -> int:
    return len(missed) + (0 if _OBJECTS.isdisjoint(missed) else _FAR)


def _missed(l7: L7Rules, request: Request) -> list[tuple[str, tuple[Part, ...]]] | None:
    """Each rule, and the parts of the request that do not meet it; None: no rules for its kind."""
    match request:
        case HttpRequest(method=method, path=path, host=host, headers=headers):
            if l7.http is None:
                return None
            return [
                (str(rule), rule.missed(method=method, path=path, host=host, headers=headers))
                for rule in l7.http
            ]
        case DnsRequest(name):
            if l7.dns is None:
                return None
            return [(str(rule), () if rule.matches(name) else (Part.NAME,)) for rule in l7.dns]
        case KafkaRequest(key=key, version=version, topic=topic):
            if l7.kafka is None:
                return None
            return [
                (str(rule), rule.missed(key=key, version=version, topic=topic)) for rule in l7.kafka
            ]


def _said(request: Request, missed: tuple[Part, ...]) -> str:
    if isinstance(request, DnsRequest):
        return "asked for another name"
    words = [f"other {part}" if part in _PLURAL else f"another {part}" for part in missed]
    return "had " + " and ".join(words)


_PLURAL: Final = frozenset({Part.HEADERS, Part.HIDDEN})
