"""Policies of every shape, and flows that try their edges, out of a row of choices.

The same choices make the same thing, wherever they come from: Hypothesis, or the bytes of a fuzzer.
Everything that is made is valid. Nothing here knows what is right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from policies.evaluating import Outcome
from policies.flows import (
    AUTH_REQUIRED,
    POLICY_DENIED,
    POLICY_DENY,
    Direction,
    DnsRequest,
    Event,
    HttpRequest,
    KafkaRequest,
    Observed,
    Protocol,
    Query,
    Request,
    Verdict,
)
from policies.labels import LabelSet
from policies.model import CCNP, CNP, KNP, PolicyRef
from policies.options import Enforcement, Options
from policies.repository import Repository
from tests.policies import builders

Json = dict[str, Any]
Below = Callable[[int], int]
"""Chooses a number from 0 to one less than the argument; 0 makes things small."""
T = TypeVar("T")

WEB: Final = builders.a_pod("web", tier="a")
NODE: Final = LabelSet.of(["reserved:host", "k8s:role=worker"])
SUBJECTS: Final = (WEB, builders.a_pod("api"), NODE, builders.INIT)
PEERS: Final = (
    WEB,
    builders.a_pod("api"),
    builders.a_pod("api", namespace="other", tier="a"),
    builders.a_pod("db", cluster="c2"),
    NODE,
    LabelSet.of(["reserved:remote-node", "reserved:kube-apiserver", "k8s:role=worker"]),
    LabelSet.of(["reserved:health"]),
    LabelSet.of(["reserved:ingress"]),
    LabelSet.of(["reserved:unmanaged"]),
    builders.INIT,
    builders.WORLD,
    LabelSet.of(["reserved:world-ipv4", "cidr:10.1.0.0/16"]),
    LabelSet.of(["reserved:world", "fqdn:*.example.com", "fqdn:example.org"]),
)
IPS: Final = (
    *("10.0.0.1", "10.1.2.3", "10.1.2.4", "10.1.3.1", "10.96.0.1", "192.0.2.7"),
    *("2001:db8::7", "2001:db8:1::7", ""),
)
PREFIXES: Final = (
    *("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "0.0.0.0/0"),
    *("2001:db8::/32", "2001:db8:1::/48", "::/0"),
)
NUMBERS: Final = (80, 80, 53, 443, 8080, 1, 65535)
PORTS: Final = (80, 80, 80, 53, 53, 443, 8080, 8080, 8085, 8090, 8091, 1, 79, 81, 65535, 0)
ICMP_TYPES: Final = (8, 0, 3, 128, 135)
NAMES: Final = ("http", "dns")
PROTOCOLS: Final = ("TCP", "UDP", "SCTP", "ANY")
ENTITIES: Final = (
    *("world", "cluster", "all", "host", "remote-node", "kube-apiserver", "health", "init"),
    *("ingress", "unmanaged", "none"),
)
PATTERNS: Final = ({"matchPattern": "*.example.com"}, {"matchName": "example.org"})
REQUESTS: Final = (
    HttpRequest(method="GET", path="/a/1", host="shop", headers=(("X-Pass", "yes"),)),
    HttpRequest(method="POST", path="/b", host="shop.example.com"),
    DnsRequest("www.example.com"),
    DnsRequest("example.org."),
    KafkaRequest(key="produce", version=1, topic="orders"),
    KafkaRequest(key="fetch", version=1, topic="orders"),
    None,
)
METHODS: Final = ("", "GET", "GET|PUT", "P.*")
PATHS: Final = ("", "/a/.*", "/b", "/[0-9]+")
FACTS: Final[tuple[Json, ...]] = (
    {
        "kind": "Service",
        "metadata": {"name": "pods", "namespace": "shop", "labels": {"kind": "one"}},
        "spec": {"selector": {"app": "api"}},
    },
    {
        "kind": "Service",
        "metadata": {"name": "outside", "namespace": "shop", "labels": {"kind": "two"}},
        "spec": {},
    },
    {
        "kind": "EndpointSlice",
        "metadata": {
            "name": "outside-1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "outside"},
        },
        "endpoints": [{"addresses": ["10.1.2.3"]}, {"addresses": ["2001:db8::7"]}],
    },
    {
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": "offices", "labels": {"kind": "one"}},
        "spec": {"externalCIDRs": ["10.1.0.0/16", "192.0.2.0/24"]},
    },
    {
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": "partners", "labels": {"kind": "two"}},
        "spec": {"externalCIDRs": ["2001:db8:1::/48"]},
    },
    {
        "kind": "NamedPorts",
        "metadata": {"namespace": "shop"},
        "spec": {
            "pods": [
                {"labels": {"app": "web"}, "ports": [{"name": "http", "port": 8080}]},
                {
                    "labels": {"app": "api"},
                    "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
                },
            ]
        },
    },
)
_SECTIONS: Final = ("ingress", "egress", "ingressDeny", "egressDeny")


@dataclass(frozen=True, slots=True)
class World:
    """A cluster with its policies, one of its endpoints, and flows of it."""

    options: Options
    policies: tuple[Json, ...]
    subject: LabelSet
    queries: tuple[Query, ...]


def out_of(data: bytes) -> "Generator":
    """A generator whose choices are these bytes; after the last one all choices are 0."""
    left = iter(data)
    return Generator(lambda below: next(left, 0) % below)


class Generator:
    """Makes things out of choices."""

    def __init__(self, below: Below) -> None:
        self.below = below

    def world(self, *, policies: int = 4, queries: int = 12) -> World:
        """At least one flow and, most of the time, policies that select the subject."""
        made = tuple(self.policy(f"p{n}") for n in range(1 + self.below(policies)))
        return World(
            options=self.options(),
            policies=made,
            subject=self.one(SUBJECTS) if self.maybe() else WEB,
            queries=tuple(self.query(self.one(made)) for _ in range(1 + self.below(queries))),
        )

    def options(self) -> Options:
        """What the agent runs with: mostly the defaults, and fromNodes taken."""
        if not self.maybe():
            return Options(cluster_name="c1", node_selector_labels=True)
        return Options(
            cluster_name="c1",
            enforcement=self.one(tuple(Enforcement)),
            host_always_allowed=not self.maybe(2),
            default_local_cluster=not self.maybe(2),
            host_firewall=not self.maybe(),
            node_selector_labels=not self.maybe(),
        )

    def policy(self, name: str, *, namespace: str = "shop", kind: str = "") -> Json:
        """A policy of any kind, or of this one."""
        kind = kind or self.one((CNP, CNP, CCNP, KNP))
        if kind == KNP:
            return self._network_policy(name, namespace)
        clusterwide = kind == CCNP
        make = builders.a_clusterwide_policy if clusterwide else builders.a_policy
        manifest = (
            make(name, labels={"app.gitlab.com/proj": "1"}) if not clusterwide else make(name)
        )
        manifest["metadata"]["labels"] = {"app.gitlab.com/proj": "1"}
        if not self.maybe():
            manifest["metadata"]["annotations"] = {"app.gitlab.com/alert": "true"}
        if not clusterwide:
            manifest["metadata"]["namespace"] = namespace
        manifest["spec"] = self.spec(clusterwide=clusterwide)
        if self.maybe(6):
            manifest["specs"] = [self.spec(clusterwide=clusterwide)]
        return manifest

    def spec(self, *, clusterwide: bool) -> Json:
        """One of `specs`."""
        spec: Json = {}
        of_nodes = clusterwide and self.maybe()
        if of_nodes:
            spec["nodeSelector"] = self.one(({}, {"matchLabels": {"role": "worker"}}))
        else:
            spec["endpointSelector"] = self._subject()
        first = self.one(_SECTIONS)
        for section in (first, *(other for other in _SECTIONS if self.maybe(3))):
            spec[section] = self.rules(section, of_nodes=of_nodes)
        if self.maybe(5):
            spec["enableDefaultDeny"] = {
                direction.value: self.maybe(2) for direction in Direction if self.maybe(2)
            }
        return spec

    def rules(self, section: str, *, of_nodes: bool = False, most: int = 3) -> list[Json]:
        """The rules of one section, one at least."""
        return [self.rule(section, of_nodes=of_nodes) for _ in range(1 + self.below(most))]

    def rule(self, section: str, *, of_nodes: bool = False) -> Json:
        """One rule of a CiliumNetworkPolicy."""
        deny = section.endswith("Deny")
        egress = section.startswith("egress")
        rule = self._peers("to" if egress else "from", deny=deny)
        match self.below(5):
            case 0 | 1 | 2:
                l7 = not deny and self.maybe(2)
                rule["toPorts"] = [
                    self._l7_ports(egress=egress, of_nodes=of_nodes) if l7 else self._ports()
                ]
            case 3:
                rule["icmps"] = [{"fields": [self._icmp()]}]
            case _:
                pass
        if not deny and self.maybe(8):
            rule["authentication"] = {"mode": "required"}
        return rule

    def query(self, policy: Json | None = None) -> Query:
        """A flow that is of interest to rules of the policy, or to none in particular."""
        query = self._query()
        spec = policy["spec"] if policy is not None else {}
        sections = [section for section in _SECTIONS if spec.get(section)]
        if not sections:
            return query
        section = self.one(sections)
        aimed = replace(
            query,
            direction=Direction(section.removesuffix("Deny")),
            peer=query.peer if self.maybe(2) else self.one(PEERS[:6]),
        )
        entry = (self.one(spec[section]).get("toPorts") or [{}])[0]
        named = entry.get("ports") or [{"port": ""}]
        if not named[0]["port"].isdigit() or named[0]["port"] == "0":
            return aimed
        protocol = named[0]["protocol"]
        return replace(
            aimed,
            protocol=Protocol.UDP if protocol == "ANY" else Protocol[protocol],
            port=int(named[0]["port"]),
            l7=self._request_for(entry.get("rules", {})),
        )

    def _request_for(self, rules: Json) -> Request | None:
        fitting = {"http": HttpRequest, "dns": DnsRequest, "kafka": KafkaRequest}
        wanted = tuple(kind for name, kind in fitting.items() if name in rules)
        if self.maybe() or not wanted:
            return self.request()
        return self.one([request for request in REQUESTS if isinstance(request, wanted)])

    def _query(self) -> Query:
        protocol = self.one(
            (*[Protocol.TCP] * 6, *[Protocol.UDP] * 2, Protocol.ICMP, Protocol.ICMPV6, *Protocol)
        )
        of_icmp = protocol in (Protocol.ICMP, Protocol.ICMPV6)
        return Query(
            direction=self.one(tuple(Direction)),
            peer=self.one(PEERS),
            peer_ip=self.one(IPS),
            protocol=protocol,
            port=self.one(ICMP_TYPES if of_icmp else PORTS),
            l7=None if self.maybe() else self.request(),
        )

    def request(self) -> Request | None:
        """What was asked for."""
        return self.one(REQUESTS)

    def observed(self, outcome: Outcome, policies: Sequence[Json] = ()) -> Observed:
        """What Cilium says about a stopped flow: mostly what agrees with the outcome."""
        named: tuple[PolicyRef, ...] = ()
        if policies and self.maybe():
            named = (ref_of(self.one(policies)),)
        if self.maybe(8):
            outcome = self.one(tuple(Outcome))
        if outcome is not Outcome.ALLOWED and self.maybe():
            return Observed(verdict=Verdict.AUDIT, denied_by=named)
        match outcome:
            case Outcome.DENIED:
                return Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENY, denied_by=named)
            case Outcome.DEFAULT_DENY:
                return Observed(verdict=Verdict.DROPPED, drop_reason=POLICY_DENIED)
            case Outcome.ALLOWED if self.maybe():
                return Observed(verdict=Verdict.DROPPED, drop_reason=AUTH_REQUIRED)
            case Outcome.ALLOWED:
                return Observed(verdict=Verdict.DROPPED, event=Event.L7)

    def one(self, values: Sequence[T]) -> T:
        """One of these, the first where nothing else is chosen."""
        return values[self.below(len(values))]

    def maybe(self, of: int = 4) -> bool:
        """Whether something rare is so."""
        return self.below(of) == of - 1

    # Parts.

    def _subject(self) -> Json:
        match self.below(8):
            case 0 | 1 | 2 | 3:
                return {"matchLabels": {"app": "web"}}
            case 4 | 5:
                return {}
            case 6:
                return {"matchLabels": {"reserved:init": ""}}
            case _:
                return self.selector()

    def selector(self) -> Json:  # noqa: PLR0911 (as many shapes)
        """A label selector of pods."""
        match self.below(7):
            case 0:
                return {"matchLabels": {"app": self.one(("api", "web", "db"))}}
            case 1:
                return {}
            case 2:
                return {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "other"}}
            case 3:
                key = self.one(("tier", "any:app", "k8s:io.kubernetes.pod.namespace"))
                operator = self.one(("Exists", "DoesNotExist"))
                return {"matchExpressions": [{"key": key, "operator": operator}]}
            case 4:
                values = ["web", "db"] if self.maybe(2) else ["api"]
                operator = self.one(("In", "NotIn"))
                return {
                    "matchExpressions": [{"key": "app", "operator": operator, "values": values}]
                }
            case 5:
                return {"matchLabels": {self.one(("reserved:host", "reserved:health")): ""}}
            case _:
                return {"matchLabels": {"app": "db", "io.cilium.k8s.policy.cluster": "c2"}}

    def _peers(self, prefix: str, *, deny: bool) -> Json:
        if self.maybe(3):
            return {}
        kinds: tuple[str, ...] = ("Endpoints", "Endpoints", "Entities", "CIDR", "CIDRSet", "Nodes")
        if prefix == "to":
            kinds += ("Services",) if deny else ("Services", "FQDNs", "FQDNs")
        kind = "Groups" if self.maybe(16) else self.one(kinds)
        count = 0 if self.maybe(12) else 1 + self.below(2)
        return {f"{prefix}{kind}": [self._peer(kind) for _ in range(count)]}

    def _peer(self, kind: str) -> Any:  # noqa: PLR0911 (as many kinds)
        match kind:
            case "Endpoints":
                return self.selector()
            case "Entities":
                return self.one(ENTITIES)
            case "CIDR":
                return self.one(PREFIXES)
            case "CIDRSet":
                return self._cidr_rule()
            case "Nodes":
                return self.one(({}, {"matchLabels": {"role": "worker"}}))
            case "Groups":
                return {"aws": {"securityGroupsIds": ["sg-1"]}}
            case "Services":
                return self._service()
            case _:
                return self.one(PATTERNS)

    def _cidr_rule(self) -> Json:
        match self.below(4):
            case 0:
                return {"cidr": self.one(PREFIXES)}
            case 1:
                return {"cidr": "10.0.0.0/8", "except": [self.one(PREFIXES[1:4])]}
            case 2:
                made: Json = {"cidrGroupRef": self.one(("offices", "partners", "unknown"))}
                return made | ({"except": ["10.1.2.0/24"]} if self.maybe(2) else {})
            case _:
                return {"cidrGroupSelector": {"matchLabels": {"kind": self.one(("one", "two"))}}}

    def _service(self) -> Json:
        if self.maybe(2):
            labels = {"kind": self.one(("one", "two"))}
            return {"k8sServiceSelector": {"selector": {"matchLabels": labels}}}
        name = self.one(("pods", "outside", "unknown"))
        return {"k8sService": {"serviceName": name, "namespace": "shop"}}

    def _ports(self) -> Json:
        return {"ports": [self._port() for _ in range(0 if self.maybe(12) else 1 + self.below(2))]}

    def _port(self) -> Json:
        protocol = self.one(PROTOCOLS)
        match self.below(5):
            case 0 | 1:
                return {"port": str(self.one(NUMBERS)), "protocol": protocol}
            case 2:
                return {"port": "8080", "endPort": 8090, "protocol": protocol}
            case 3:
                return {"port": self.one(NAMES), "protocol": protocol}
            case _:
                return {"port": "0", "protocol": protocol}

    def _l7_ports(self, *, egress: bool, of_nodes: bool) -> Json:
        if of_nodes:
            return self._ports()
        if egress and self.maybe(2):
            dns = [self.one((*PATTERNS, {"matchPattern": "*"})) for _ in range(1 + self.below(2))]
            return {"ports": [{"port": "53", "protocol": "ANY"}], "rules": {"dns": dns}}
        entry: Json = {"ports": [{"port": self.one(("80", "80", "8080")), "protocol": "TCP"}]}
        match self.below(6):
            case 0 | 1 | 2:
                entry["rules"] = {"http": [self._http() for _ in range(1 + self.below(2))]}
            case 3:
                entry["rules"] = {"kafka": [{"role": "produce", "topic": "orders"}]}
            case 4:
                entry["rules"] = {"l7proto": "other"}
            case _:
                entry["serverNames"] = ["shop.example.com"]
        return entry

    def _http(self) -> Json:
        rule: Json = {"method": self.one(METHODS), "path": self.one(PATHS)}
        match self.below(4):
            case 0:
                rule["headers"] = ["X-Pass yes"]
            case 1:
                rule["headerMatches"] = [{"name": "X-Pass"}]
            case 2:
                rule["host"] = "shop.*"
            case _:
                pass
        return rule

    def _icmp(self) -> Json:
        match self.below(3):
            case 0:
                return {"type": self.one(ICMP_TYPES)}
            case 1:
                return {"type": "EchoRequest", "family": self.one(("IPv4", "IPv6"))}
            case _:
                return {"type": self.one(ICMP_TYPES), "family": "IPv6"}

    # NetworkPolicies.

    def _network_policy(self, name: str, namespace: str) -> Json:
        spec: Json = {"podSelector": self._pods()}
        if self.maybe(2):
            spec["policyTypes"] = self.one((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
        for section, among in (("ingress", "from"), ("egress", "to")):
            if not self.maybe(3):
                spec[section] = [self._network_rule(among) for _ in range(self.below(3))]
        return builders.a_network_policy(name, namespace=namespace, **spec)

    def _network_rule(self, among: str) -> Json:
        rule: Json = {}
        if not self.maybe():
            rule[among] = [self._network_peer() for _ in range(1 + self.below(2))]
        if self.maybe(2):
            rule["ports"] = [self._network_port()]
        return rule

    def _network_peer(self) -> Json:
        spaces = self.one(({}, {"matchLabels": {"kubernetes.io/metadata.name": "other"}}))
        match self.below(4):
            case 0:
                return {"podSelector": self._pods()}
            case 1:
                return {"namespaceSelector": spaces}
            case 2:
                return {"podSelector": self._pods(), "namespaceSelector": spaces}
            case _:
                block: Json = {"cidr": "10.0.0.0/8"}
                return {"ipBlock": block | ({"except": ["10.1.0.0/16"]} if self.maybe(2) else {})}

    def _network_port(self) -> Json:
        match self.below(4):
            case 0:
                return {"port": self.one(NUMBERS), "protocol": self.one(PROTOCOLS[:3])}
            case 1:
                return {"port": 8080, "endPort": 8090}
            case 2:
                return {"port": self.one(NAMES)}
            case _:
                return {"protocol": "UDP"}

    def _pods(self) -> Json:
        return self.one(
            (
                {"matchLabels": {"app": "web"}},
                {},
                {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]},
            )
        )


def fact_key(fact: Json) -> str:
    """Under what an object that policies refer to is kept."""
    return f"{fact['kind']}/{fact['metadata'].get('name', '')}"


def ref_of(manifest: Json) -> PolicyRef:
    """What a policy is called."""
    metadata = manifest["metadata"]
    return PolicyRef(manifest["kind"], metadata.get("namespace", ""), metadata["name"])


def loaded(
    world: World,
    policies: tuple[Json, ...] | None = None,
    *,
    facts: Sequence[Json] = FACTS,
) -> Repository:
    """A repository of the world's objects; each policy under its own name."""
    repository = Repository(world.options)
    for fact in facts:
        repository.apply(fact_key(fact), fact, since=None)
    for manifest in world.policies if policies is None else policies:
        repository.apply(manifest["metadata"]["name"], manifest, since=None)
    return repository


def neighbours(queries: tuple[Query, ...]) -> list[Query]:
    """The flows, and others like them but for a port or an address beside theirs."""
    return [
        replace(query, peer_ip=ip, port=port)
        for query in queries
        for port in (query.port, max(query.port - 1, 0), query.port + 1)
        for ip in (query.peer_ip, *IPS[1:4], IPS[-2])
    ]
