"""Policy sets, invented by number: the same seed and number give the same set.

Every set is valid: Cilium's schema and its engine take it. Left out is what no packet here can try:
HTTP rules (they need Envoy), groups of a cloud provider, authentication (it needs SPIRE), SCTP, and
what is known as a bug of the engine (`toServices` in `egressDeny`, which it never resolves and then
takes for anyone; `toServices` without a service, and an empty `toFQDNs`, with ports).
"""

from collections.abc import Callable
from typing import Any, Final

from tests.real.probes.kinds import Kind
from tests.real.probes.peering import EXCEPTS, LABELS, NAMESPACE, PATTERNS, Chance, Peers, name
from tests.real.probes.population import CLOSED, PORTS

Json = dict[str, Any]

NAMESPACES: Final = ("shop", "shop", "pay", "evil")
SECTIONS: Final = ("ingress", "egress", "ingressDeny", "egressDeny")
EGRESS_ONLY: Final = (Kind.FQDN, Kind.SERVICE, Kind.SERVICES)
FOCUS: Final = tuple(Kind)


class Inventor:
    """One set of policies about the population."""

    def __init__(self, seed: int, number: int, attempt: int = 0) -> None:
        """`attempt`: where the set before it can not be tried."""
        self.chance = Chance(f"{seed}/{number}/{attempt}")
        self.peers = Peers(self.chance)
        self.number = number
        self.focus = FOCUS[number % len(FOCUS)]

    def policies(self) -> list[Json]:
        """Return the set: one to six policies, of which the first is about the set's own kind."""
        makers: list[Callable[[], Json]] = [self._cilium] * 5 + [self._network] * 2
        made = [self._cilium(self.focus)]
        made += [self.chance.choice(makers)() for _ in range(self.chance.randrange(6))]
        for index, each in enumerate(made):
            each["metadata"]["name"] = f"set{self.number}-{index}"
        return made

    def _cilium(self, focus: Kind | None = None) -> Json:
        clusterwide = self.chance.maybe(0.28)
        made: Json = {
            "apiVersion": "cilium.io/v2",
            "kind": f"Cilium{'Clusterwide' if clusterwide else ''}NetworkPolicy",
            "metadata": {},
        }
        if not clusterwide:
            made["metadata"]["namespace"] = self.chance.choice(NAMESPACES)
        if self.chance.maybe(0.12):
            made["specs"] = [self._spec(focus), self._spec(None)]
        else:
            made["spec"] = self._spec(focus)
        return made

    def _spec(self, focus: Kind | None) -> Json:
        spec: Json = {"endpointSelector": {} if self.chance.maybe(0.4) else self.peers.selector()}
        sections = [name for name in SECTIONS if self.chance.maybe(0.55 if len(name) < 8 else 0.25)]
        if focus is not None:
            sections.insert(
                0, "egress" if focus in EGRESS_ONLY else self.chance.choice(SECTIONS[:2])
            )
        for section in dict.fromkeys(sections or [self.chance.choice(SECTIONS)]):
            rules = [self._rule(section, None) for _ in range(self.chance.randint(1, 2))]
            if focus is not None and section == sections[0]:
                rules[0] = self._rule(section, focus)
            if any("toFQDNs" in rule for rule in rules):
                rules.append(self._names())
            spec[section] = rules
        if self.chance.maybe(0.15):
            which = [name for name in SECTIONS[:2] if self.chance.maybe(0.7)]
            spec["enableDefaultDeny"] = {name: self.chance.maybe(0.4) for name in which}
        return spec

    def _rule(self, section: str, focus: Kind | None) -> Json:
        direction, deny = section.removesuffix("Deny"), section.endswith("Deny")
        kind = focus or self._kind(direction, deny=deny)
        rule = self.peers.rule(kind, "from" if direction == "ingress" else "to")
        shape = self.chance.random()
        if shape < 0.5 or (kind is Kind.ANY and shape < 0.85):
            count = self.chance.choice((1, 1, 2))
            rule["toPorts"] = [{"ports": [self._port() for _ in range(count)]}]
        elif shape < 0.6 or (kind is Kind.ANY and shape < 0.97):
            rule["icmps"] = [{"fields": [self._icmp()]}]
        elif shape < 0.63:
            rule["toPorts"] = [{}]
        return rule

    def _kind(self, direction: str, *, deny: bool) -> Kind:
        kinds = [
            *(Kind.ENDPOINTS, Kind.ENDPOINTS, Kind.EXPRESSIONS, Kind.EVERY_ENDPOINT),
            *(Kind.NAMESPACES, Kind.ENTITIES, Kind.ENTITIES, Kind.CIDR, Kind.EXCEPT),
            *(Kind.GROUP, Kind.GROUPS, Kind.NODES, Kind.ANY, Kind.ANY, Kind.NOBODY),
        ]
        if direction == "egress" and not deny:
            kinds += [Kind.SERVICE, Kind.SERVICES, Kind.FQDN, Kind.FQDN]
        return self.chance.choice(kinds)

    def _port(self) -> Json:
        shape = self.chance.random()
        if shape < 0.2:
            return {
                "port": self.chance.choice(("http", "metrics", "sql", "HTTP")),
                "protocol": "TCP",
            }
        protocol = self.chance.choice(("TCP", "TCP", "UDP", "ANY", None))
        made: Json = {"port": str(self.chance.choice((*PORTS, CLOSED)))}
        if shape < 0.4:
            low, high = self.chance.choice(((5000, 8080), (8000, 9999), (5432, 5433), (1, 65535)))
            made = {"port": str(low), "endPort": high}
        elif shape < 0.45:
            made = {"port": "0"}
        return made if protocol is None else {**made, "protocol": protocol}

    def _icmp(self) -> Json:
        kind = self.chance.choice(("EchoRequest", "EchoRequest", 8, "DestinationUnreachable", 11))
        return {"type": kind} | self.chance.choice(({}, {"family": "IPv4"}))

    def _names(self) -> Json:
        """Return the rule by which Cilium learns the addresses of names."""
        names = self.chance.several(PATTERNS)
        port = {"port": "53", "protocol": self.chance.choice(("UDP", "ANY"))}
        peer = self.chance.choice(
            (
                {"matchLabels": {f"k8s:{NAMESPACE}": "kube-system", "k8s-app": "kube-dns"}},
                {"matchLabels": {f"k8s:{NAMESPACE}": "kube-system"}},
            )
        )
        return {
            "toEndpoints": [peer],
            "toPorts": [{"ports": [port], "rules": {"dns": [name(each) for each in names]}}],
        }

    def _network(self) -> Json:
        spec: Json = {"podSelector": {} if self.chance.maybe(0.4) else self._network_selector()}
        types = self.chance.several(("Ingress", "Egress"))
        for way in types:
            side = "from" if way == "Ingress" else "to"
            spec[way.lower()] = [
                self._network_rule(side) for _ in range(self.chance.choice((0, 1, 1, 2)))
            ]
        if "Egress" in types or self.chance.maybe(0.5):
            spec["policyTypes"] = types
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": self.chance.choice(NAMESPACES)},
            "spec": spec,
        }

    def _network_rule(self, side: str) -> Json:
        rule: Json = {}
        if self.chance.maybe(0.85):
            rule[side] = [self._network_peer() for _ in range(self.chance.choice((1, 1, 2)))]
        if self.chance.maybe(0.5):
            port = self._port()
            if port.get("protocol") == "ANY":
                del port["protocol"]
            if port["port"] == "0":
                del port["port"]
            elif port["port"].isdigit():
                port["port"] = int(port["port"])
            else:
                port["port"] = port["port"].lower()
            rule["ports"] = [port]
        return rule

    def _network_peer(self) -> Json:
        match self.chance.choice(("pods", "pods", "spaces", "both", "block")):
            case "pods":
                return {"podSelector": {} if self.chance.maybe(0.2) else self._network_selector()}
            case "spaces":
                return {"namespaceSelector": self._network_spaces()}
            case "both":
                return {
                    "namespaceSelector": self._network_spaces(),
                    "podSelector": self._network_selector(),
                }
        made: Json = {"cidr": self.chance.choice(("203.0.113.0/24", "0.0.0.0/0", "10.244.0.0/16"))}
        if self.chance.maybe(0.5) and not made["cidr"].startswith("10."):
            made["except"] = self.chance.several(EXCEPTS)
        return {"ipBlock": made}

    def _network_selector(self) -> Json:
        if self.chance.maybe(0.3):
            return {"matchExpressions": [self.peers.expression()]}
        key, values = self.chance.choice(LABELS)
        return {"matchLabels": {key: self.chance.choice(values)}}

    def _network_spaces(self) -> Json:
        return self.chance.choice(
            (
                {},
                {"matchLabels": {"team": self.chance.choice(("red", "blue"))}},
                {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]},
                {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
            )
        )
