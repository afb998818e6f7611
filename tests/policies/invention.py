"""Invented policies that Cilium's engine takes; the same seed invents the same.

Nothing here knows what is right: both the engine and we are asked.
"""

import copy
import random

from tests.policies.worlds import (
    APPS,
    CLUSTER,
    GROUPS,
    NAMES,
    NAMESPACE,
    NAMESPACE_LABEL,
    NAMESPACES,
    NUMBERS,
    PROTOCOLS,
    Json,
    World,
)

ICMP4 = ("EchoRequest", "Echo", "DestinationUnreachable", "TimeExceeded", "Timestamp", 8, 3, 11, 13)
ICMP6 = ("EchoRequest", "PacketTooBig", "RouterSolicitation", "NeighborSolicitation", 128, 2, 135)
ENTITIES = (
    *("all", "world", "cluster", "host", "init", "ingress", "unmanaged", "remote-node", "health"),
    *("none", "kube-apiserver"),
)
CIDRS = (
    *("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "192.168.0.0/16", "0.0.0.0/0"),
    *("8.8.8.0/24", "10.1.2.3/8", "10.128.0.0/9"),
)
CIDRS6 = ("2001:db8::/32", "2001:db8::5/128", "::/0", "fd00::/8", "2001:db8:1::/48")


class Inventor:
    """Policies for a world."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.web = False

    def scenario(self, name: str, *, policies: int = 4, queries: int = 24) -> Json:
        """Policies that mean something, and flows to try."""
        self.web = self._maybe(0.3)
        world = World(self.chance)
        return {
            "id": name,
            "options": world.options,
            "policies": [self.policy(index) for index in range(self._count(1, policies))],
            "cidr_groups": GROUPS,
            "endpoints": world.endpoints,
            "queries": world.queries(queries, web=self.web),
        }

    def policy(self, index: int = 0) -> Json:
        """One policy of any kind that Cilium's engine takes."""
        kind = self.chance.choice(("CNP", "CNP", "CCNP", "KNP"))
        name = f"p{index}"
        if kind == "KNP":
            return {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": name, "namespace": self.chance.choice(NAMESPACES)},
                "spec": self._network_spec(),
            }
        clusterwide = kind == "CCNP"
        made: Json = {
            "apiVersion": "cilium.io/v2",
            "kind": f"Cilium{'Clusterwide' if clusterwide else ''}NetworkPolicy",
            "metadata": {"name": name},
        }
        if not clusterwide:
            made["metadata"]["namespace"] = self._pick(*NAMESPACES, *NAMESPACES[:2])
        if self._maybe(0.8):
            made["spec"] = self._spec(clusterwide=clusterwide)
        if "spec" not in made or self._maybe(0.1):
            made["specs"] = [self._spec(clusterwide=clusterwide) for _ in range(self._count(1, 2))]
        return made

    def _spec(self, *, clusterwide: bool) -> Json:
        spec: Json = {}
        if clusterwide and self._maybe(0.15):
            spec["nodeSelector"] = self._pick({}, {"matchLabels": {"node-role": "worker"}})
        else:
            every = self._maybe(0.9 if self.web else 0.5)
            spec["endpointSelector"] = {} if every else self._selector(peer=False)
        sections = [name for name in _SECTIONS if self._maybe(0.45)] or ["ingress"]
        host = "nodeSelector" in spec
        for section in sections:
            deny = section.endswith("Deny")
            least = 1 if len(sections) == 1 else 0
            rules = [
                self._rule(section.removesuffix("Deny"), deny=deny, host=host)
                for _ in range(self._count(least, 2))
            ]
            spec[section] = rules
        if not any(spec[section] for section in sections):
            spec[sections[0]] = [{}]
        if self._maybe(0.2):
            spec["enableDefaultDeny"] = {
                name: self._maybe(0.4) for name in ("ingress", "egress") if self._maybe(0.7)
            }
        return spec

    def _rule(self, section: str, *, deny: bool, host: bool) -> Json:
        prefix = "from" if section == "ingress" else "to"
        rule: Json = {}
        if self._maybe(0.05):
            return rule
        kinds = ["Endpoints", "Endpoints", "Entities", "CIDR", "CIDRSet", ""]
        if section == "egress" and not deny:
            kinds.append("FQDNs")
        kind = self.chance.choice(kinds)
        if kind:
            least = 0 if self._maybe(0.08) and kind != "FQDNs" else 1
            rule[prefix + kind] = [self._peer(kind) for _ in range(self._count(least, 3))]
            if self._maybe(0.06):
                beside = self._pick("Endpoints", "Entities", "CIDR", "CIDRSet", "Groups", "FQDNs")
                if beside != "FQDNs" or (section == "egress" and not deny):
                    rule.setdefault(prefix + beside, [])
        shape = self.chance.random() * (0.6 if self.web else 1.0)
        if shape < 0.55:
            rule["toPorts"] = [
                self._ports(section, deny=deny, host=host) for _ in range(self._count(0, 2))
            ]
        elif shape < 0.7:
            rule["icmps"] = [{"fields": [self._icmp() for _ in range(self._count(1, 2))]}]
        return rule

    def _peer(self, kind: str) -> Json:
        match kind:
            case "Endpoints":
                return self._selector()
            case "Entities":
                return self.chance.choice(ENTITIES)
            case "CIDR":
                return self.chance.choice(CIDRS + CIDRS6)
            case "FQDNs":
                return self._pick({"matchName": "example.com"}, {"matchPattern": "*.example.org"})
        return self._group() if self._maybe(0.3) else self._block()

    def _block(self) -> Json:
        made: Json = {"cidr": self.chance.choice(CIDRS)}
        if self._maybe(0.5):
            made = {"cidr": "10.0.0.0/8", "except": [self._pick(*CIDRS[1:4], "10.128.0.0/9")]}
        return made

    def _group(self) -> Json:
        made: Json = {"cidrGroupRef": self._pick("partners", "cdn", "plain", "nosuch")}
        if self._maybe(0.7):
            made = {"cidrGroupSelector": {}}
            if self._maybe(0.4):
                made["cidrGroupSelector"]["matchLabels"] = {"tier": self._pick("partner", "cdn")}
            if self._maybe(0.7):
                expressions = [self._about_groups() for _ in range(self._count(1, 2))]
                made["cidrGroupSelector"]["matchExpressions"] = expressions
        if self._maybe(0.3):
            made["except"] = ["10.1.2.0/28"]
        return made

    def _about_groups(self) -> Json:
        operator = self._pick("In", "NotIn", "Exists", "DoesNotExist")
        made: Json = {"key": self._pick("tier", "tier", "area"), "operator": operator}
        if operator in ("In", "NotIn"):
            made["values"] = self._pick(["partner"], ["cdn"], ["partner", "cdn"], ["eu"])
        return made

    def _ports(self, section: str, *, deny: bool, host: bool) -> Json:
        entry: Json = {}
        if self._maybe(0.92):
            entry["ports"] = [self._port() for _ in range(self._count(0, 3))]
        simple = entry.get("ports") and not deny and not host
        if simple and self._maybe(0.8 if self.web else 0.15):
            entry["ports"] = [{"port": self._pick("80", "8080", "443", "http"), "protocol": "TCP"}]
            if self._maybe(0.2) and entry["ports"][0]["port"] not in NAMES:
                entry["ports"][0]["endPort"] = 65535
            entry["rules"] = self._pick({"http": [{"method": "GET"}]}, {"http": []}, {})
        elif simple and section == "egress" and self._maybe(0.2):
            entry["ports"] = [{"port": "53", "protocol": self._pick("UDP", "ANY", "TCP")}]
            entry["rules"] = {"dns": [{"matchPattern": "*"}]}
        return entry

    def _port(self) -> Json:
        made: Json = {"port": str(self.chance.choice((*NUMBERS, *NAMES, 0, "HTTP")))}
        if made["port"].isdigit() and made["port"] != "0" and self._maybe(0.25):
            made["endPort"] = min(65535, int(made["port"]) + self.chance.choice((1, 7, 100, 40000)))
        if self._maybe(0.75):
            made["protocol"] = self.chance.choice((*PROTOCOLS, "ANY"))
        return made

    def _icmp(self) -> Json:
        if self._maybe(0.5):
            return {"type": self.chance.choice(ICMP4)} | self._pick({}, {"family": "IPv4"})
        return {"family": "IPv6", "type": self.chance.choice(ICMP6)}

    def _selector(self, *, peer: bool = True) -> Json:
        made: Json = {}
        prefix = self._pick("", "", "k8s:", "any:", "k8s.") if self._maybe(0.5) else ""
        if self._maybe(0.45):
            made["matchLabels"] = {f"{prefix}app": self.chance.choice(APPS)}
        if self._maybe(0.3 if peer else 0.08):
            made.setdefault("matchLabels", {})[self._pick("k8s:", "any:", "") + NAMESPACE] = (
                self.chance.choice(NAMESPACES)
            )
        if self._maybe(0.1):
            made.setdefault("matchLabels", {})[f"k8s:{CLUSTER}"] = self._pick("c1", "c1", "c2")
        if self._maybe(0.06):
            key = f"reserved:{self._pick('host', 'world', 'remote-node', 'health', 'none', 'all')}"
            made.setdefault("matchLabels", {})[key] = ""
        if self._maybe(0.2):
            made["matchExpressions"] = [self._expression() for _ in range(self._count(1, 2))]
        return made

    def _expression(self) -> Json:
        key = self.chance.choice(
            (
                *("app", "env", "k8s:env", "any:app", "app.kubernetes.io/name", "container:image"),
                *(f"k8s:{NAMESPACE}", f"k8s:{NAMESPACE_LABEL}.team", f"{NAMESPACE_LABEL}.team"),
                *(NAMESPACE, "io.cilium.k8s.policy.serviceaccount", f"k8s:{CLUSTER}", CLUSTER),
            )
        )
        operator = self._pick("In", "NotIn", "Exists", "DoesNotExist")
        made: Json = {"key": key, "operator": operator}
        if operator in ("In", "NotIn"):
            values = (*APPS, *NAMESPACES, "prod", "red", "c1", "c2", "shop", "x")
            made["values"] = [self.chance.choice(values) for _ in range(self._count(1, 3))]
        return made

    def _network_spec(self) -> Json:
        spec: Json = {"podSelector": self._network_selector()}
        for section, side in (("ingress", "from"), ("egress", "to")):
            if self._maybe(0.6):
                rules = []
                for _ in range(self._count(0, 2)):
                    rule: Json = {}
                    if self._maybe(0.7):
                        rule[side] = [self._network_peer() for _ in range(self._count(0, 2))]
                    if self._maybe(0.5):
                        rule["ports"] = [self._network_port() for _ in range(self._count(0, 2))]
                    rules.append(rule)
                spec[section] = rules
        types = [name for name in ("Ingress", "Egress") if name.lower() in spec or self._maybe(0.4)]
        if types and ("egress" in spec or self._maybe(0.7)):
            spec["policyTypes"] = types
        return spec

    def _network_selector(self) -> Json:
        made: Json = {}
        if self._maybe(0.6):
            made["matchLabels"] = {"app": self.chance.choice(APPS)}
        if self._maybe(0.06):
            made.setdefault("matchLabels", {})[NAMESPACE] = self.chance.choice(NAMESPACES)
        if self._maybe(0.3):
            expression = self._expression()
            expression["key"] = self._pick("app", "env", "app.kubernetes.io/name", NAMESPACE)
            made["matchExpressions"] = [expression]
        return made

    def _network_peer(self) -> Json:
        if self._maybe(0.3):
            return {"ipBlock": self._block()}
        peer: Json = {}
        if self._maybe(0.6):
            peer["podSelector"] = self._network_selector()
        if not peer or self._maybe(0.5):
            peer["namespaceSelector"] = self._pick(
                {},
                {"matchLabels": {"team": "red"}},
                {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
                {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["red"]}]},
                {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
            )
        return peer

    def _network_port(self) -> Json:
        made: Json = {}
        if self._maybe(0.7):
            made["protocol"] = self.chance.choice(PROTOCOLS)
        if self._maybe(0.8):
            made["port"] = self.chance.choice((*NUMBERS, *NAMES))
            if isinstance(made["port"], int) and self._maybe(0.3):
                made["endPort"] = min(65535, made["port"] + self.chance.choice((1, 7, 100)))
        return made

    def _count(self, low: int, high: int) -> int:
        return self.chance.randint(low, high)

    def _maybe(self, share: float) -> bool:
        return self.chance.random() < share

    def _pick(self, *values: Json) -> Json:
        return copy.deepcopy(self.chance.choice(values))


_SECTIONS = ("ingress", "egress", "ingressDeny", "egressDeny")
