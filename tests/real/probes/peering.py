"""Inventing the peers of a rule: entries of each kind, about the population."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from tests.real.probes.kinds import Kind

Json = dict[str, Any]
Value = TypeVar("Value")

NAMESPACE: Final = "io.kubernetes.pod.namespace"
TEAM: Final = "io.cilium.k8s.namespace.labels.team"
ENTITIES: Final = (
    *("all", "world", "cluster", "host", "remote-node", "kube-apiserver"),
    *("world", "cluster", "host", "remote-node", "health", "init", "ingress", "unmanaged", "none"),
)
CIDRS: Final = (
    *("203.0.113.0/24", "203.0.113.10/32", "203.0.113.8/29", "203.0.113.128/25", "0.0.0.0/0"),
    *("203.0.112.0/23", "203.0.113.77/32", "203.0.113.64/26"),
    *("10.244.0.0/16", "198.18.0.0/15"),
)
"""The last two are those of pods and nodes, which such a rule is not about."""
EXCEPTS: Final = ("203.0.113.128/25", "203.0.113.10/32", "203.0.113.64/26", "203.0.113.0/28")
PATTERNS: Final = (
    *("*.example.com", "api.example.com", "*", "**.example.com", "ap*.example.com"),
    *("*.example.org", "API.Example.com", "*.*.example.com"),
)
SERVICES: Final = (("shop", "backend"), ("pay", "api"), ("shop", "legacy"), ("shop", "legacy"))
LABELS: Final[Sequence[tuple[str, tuple[str, ...]]]] = (
    ("app", ("frontend", "backend", "db", "worker", "api", "batch", "attacker")),
    ("tier", ("web", "api", "data")),
    ("env", ("prod", "test")),
)


class Chance(random.Random):
    """What is decided by chance."""

    def maybe(self, probability: float) -> bool:
        """Return true so often."""
        return self.random() < probability

    def several(self, values: Sequence[Value], *, least: int = 1) -> list[Value]:
        """Return one or two of the values."""
        count = self.randint(least, max(least, 2))
        return self.sample(list(values), min(count, len(values)))


class Peers:
    """Inventor of peers."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        self._makers: dict[Kind, tuple[str, Callable[[], Any]]] = {
            Kind.ENDPOINTS: ("Endpoints", self.labels),
            Kind.EXPRESSIONS: ("Endpoints", lambda: {"matchExpressions": [self.expression()]}),
            Kind.EVERY_ENDPOINT: ("Endpoints", dict),
            Kind.NAMESPACES: ("Endpoints", self._namespaces),
            Kind.ENTITIES: ("Entities", lambda: chance.choice(ENTITIES)),
            Kind.CIDR: ("CIDR", lambda: chance.choice(CIDRS)),
            Kind.EXCEPT: ("CIDRSet", self._block),
            Kind.GROUP: ("CIDRSet", self._group),
            Kind.GROUPS: ("CIDRSet", self._groups),
            Kind.FQDN: ("FQDNs", lambda: name(chance.choice(PATTERNS[:-1]))),
            Kind.SERVICE: ("Services", self._service),
            Kind.SERVICES: ("Services", self._services),
            Kind.NODES: ("Nodes", self._nodes),
        }

    def rule(self, kind: Kind, side: str) -> Json:
        """Return a rule that names peers of a kind, and no ports yet; `side` is `from` or `to`."""
        if kind is Kind.ANY:
            return {}
        if kind is Kind.NOBODY:
            return {f"{side}Endpoints": []}
        suffix, make = self._makers[kind]
        return {side + suffix: [make() for _ in range(self.chance.choice((1, 1, 2)))]}

    def selector(self) -> Json:
        """Return a selector of some pods."""
        if self.chance.maybe(0.3):
            return {"matchExpressions": [self.expression()]}
        return self.labels()

    def labels(self) -> Json:
        """Return a selector by one label, of whatever source."""
        key, values = self.chance.choice(LABELS)
        prefix = self.chance.choice(("", "", "", "k8s:", "any:"))
        return {"matchLabels": {f"{prefix}{key}": self.chance.choice(values)}}

    def expression(self) -> Json:
        """Return an expression of any operator."""
        key, values = self.chance.choice(LABELS)
        operator = self.chance.choice(("In", "In", "NotIn", "Exists", "DoesNotExist"))
        made: Json = {"key": key, "operator": operator}
        if operator in {"In", "NotIn"}:
            made["values"] = self.chance.several(values, least=1 + (operator == "In"))
        return made

    def _namespaces(self) -> Json:
        key, space = f"k8s:{NAMESPACE}", self.chance.choice(("shop", "pay", "evil"))
        made: Json = self.chance.choice(
            (
                {"matchLabels": {key: space}},
                {"matchLabels": {NAMESPACE: space}},
                {"matchLabels": {TEAM: self.chance.choice(("red", "blue"))}},
                {"matchExpressions": [{"key": key, "operator": "Exists"}]},
                {"matchExpressions": [{"key": TEAM, "operator": "DoesNotExist"}]},
                {"matchExpressions": [{"key": key, "operator": "NotIn", "values": [space]}]},
            )
        )
        if self.chance.maybe(0.4):
            made.setdefault("matchLabels", {}).update(self.labels()["matchLabels"])
        return made

    def _block(self) -> Json:
        cidr = self.chance.choice(("203.0.113.0/24", "203.0.112.0/23", "0.0.0.0/0"))
        return {"cidr": cidr, "except": self.chance.several(EXCEPTS)}

    def _group(self) -> Json:
        entry: Json = {"cidrGroupRef": self.chance.choice(("partners", "strangers"))}
        if self.chance.maybe(0.3):
            entry["except"] = ["203.0.113.200/32"]
        return entry

    def _groups(self) -> Json:
        tier = self.chance.choice(("partner", "stranger"))
        if self.chance.maybe(0.6):
            return {"cidrGroupSelector": {"matchLabels": {"tier": tier}}}
        operator = self.chance.choice(("In", "NotIn", "NotIn", "Exists", "DoesNotExist"))
        expression: Json = {
            "key": self.chance.choice(("tier", "tier", "area")),
            "operator": operator,
        }
        if operator.endswith("In"):
            expression["values"] = [tier]
        return {"cidrGroupSelector": {"matchExpressions": [expression]}}

    def _service(self) -> Json:
        space, service = self.chance.choice(SERVICES)
        return {"k8sService": {"serviceName": service, "namespace": space}}

    def _services(self) -> Json:
        made: Json = {"selector": {"matchLabels": {"tier": self.chance.choice(("api", "old"))}}}
        if self.chance.maybe(0.4):
            made["namespace"] = "shop"
        return {"k8sServiceSelector": made}

    def _nodes(self) -> Json:
        host = {"kubernetes.io/hostname": self.chance.choice(("n1", "n2"))}
        return {} if self.chance.maybe(0.25) else {"matchLabels": host}


def name(pattern: str) -> Json:
    """Return an entry of `toFQDNs` or of DNS rules."""
    return {"matchPattern" if "*" in pattern else "matchName": pattern}
