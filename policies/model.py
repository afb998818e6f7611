"""Policies once parsed: what they select and allow, and where in the manifest it says so.

Nothing here knows a cluster: services, CIDR groups, named ports and the cluster's name are looked
up when a policy is compiled for a subject.
"""

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import Final, NamedTuple

from policies.addresses import Prefix
from policies.dnsnames import DnsPattern
from policies.requests import L7Rules
from policies.selectors import Selector

CNP: Final = "CiliumNetworkPolicy"
CCNP: Final = "CiliumClusterwideNetworkPolicy"
KNP: Final = "NetworkPolicy"
KINDS: Final = frozenset({CNP, CCNP, KNP})


class PolicyRef(NamedTuple):
    """Which policy; `namespace` is empty for a clusterwide one. Compared and hashed very often."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    @property
    def short(self) -> str:
        """As a sentence calls it."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Severity(StrEnum):
    """The severities of GitLab's alerts."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Threshold:
    """Alert once `count` flows were stopped within `seconds`."""

    count: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerting:
    """Who is told about a stopped flow, and how."""

    project: str
    severity: Severity = Severity.MEDIUM
    threshold: Threshold | None = None
    group_by: tuple[str, ...] = ()
    runbook: str | None = None
    resolve_after: int | None = None
    """Seconds of quiet after which the alert resolves; None is the server's default."""


class Entity(StrEnum):
    """Names of `fromEntities` and `toEntities`."""

    ALL = "all"
    WORLD = "world"
    WORLD_IPV4 = "world-ipv4"
    WORLD_IPV6 = "world-ipv6"
    CLUSTER = "cluster"
    HOST = "host"
    INIT = "init"
    INGRESS = "ingress"
    UNMANAGED = "unmanaged"
    REMOTE_NODE = "remote-node"
    HEALTH = "health"
    NONE = "none"
    KUBE_APISERVER = "kube-apiserver"


@dataclass(frozen=True, slots=True)
class EndpointPeer:
    """Endpoints by labels; `any_cluster` where the selector is not bound to the local cluster."""

    selector: Selector
    any_cluster: bool = False

    def __str__(self) -> str:
        if text := str(self.selector):
            return text
        namespaces = [name for added in self.selector.implied for name in sorted(added.values)]
        return f"any pod in namespace {namespaces[0]}" if namespaces else "any pod"


@dataclass(frozen=True, slots=True)
class EntityPeer:
    """A class of endpoints that has no labels of its own."""

    entity: Entity

    def __str__(self) -> str:
        return self.entity.value


@dataclass(frozen=True, slots=True)
class CidrPeer:
    """Addresses outside of the cluster."""

    prefix: Prefix
    excepts: tuple[Prefix, ...] = ()

    def __str__(self) -> str:
        if not self.excepts:
            return str(self.prefix)
        return f"{self.prefix} except {', '.join(str(p) for p in self.excepts)}"


@dataclass(frozen=True, slots=True)
class CidrGroupPeer:
    """The CIDRs of a CiliumCIDRGroup by name, or peers by the labels of the groups they are in."""

    name: str
    selector: Selector | None
    excepts: tuple[Prefix, ...] = ()

    def __str__(self) -> str:
        return f"CIDR group {self.name or self.selector or 'of any label or none'}"


@dataclass(frozen=True, slots=True)
class FqdnPeer:
    """Addresses that a DNS answer gave for such a name."""

    pattern: DnsPattern

    def __str__(self) -> str:
        return str(self.pattern)


@dataclass(frozen=True, slots=True)
class ServicePeer:
    """What stands behind a service, by its name or by its labels; no namespace means all."""

    name: str
    selector: Selector | None
    namespace: str

    def __str__(self) -> str:
        what = self.name or str(self.selector)
        return f"service {self.namespace}/{what}" if self.namespace else f"service {what}"


@dataclass(frozen=True, slots=True)
class NodePeer:
    """Nodes by their labels."""

    selector: Selector

    def __str__(self) -> str:
        return f"nodes {self.selector}".rstrip()


@dataclass(frozen=True, slots=True)
class CloudGroupPeer:
    """Addresses that a cloud provider is asked for: not evaluated."""

    def __str__(self) -> str:
        return "cloud provider groups"


Peer = (
    EndpointPeer
    | EntityPeer
    | CidrPeer
    | CidrGroupPeer
    | FqdnPeer
    | ServicePeer
    | NodePeer
    | CloudGroupPeer
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMatch:
    """One port, range, ICMP type or name of one protocol."""

    path: str
    protocol: int
    """A number of `flows.Protocol`."""
    low: int = 0
    high: int = 65535
    name: str = ""
    """A named port, lower-cased; then `low` means nothing, and `high` ends a range, unless 0."""
    l7: L7Rules | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRule:
    """One entry of ingress, ingressDeny, egress or egressDeny."""

    path: str
    peers: tuple[Peer, ...] | None
    """None: any peer. Empty: no peer at all."""
    ports: tuple[PortMatch, ...] | None
    """None: every port of every protocol. Empty: none at all."""
    ports_text: str
    """The ports as the manifest has them, for sentences."""
    requires_auth: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDirection:
    """What one rule says about one direction."""

    default_deny: bool
    allow: tuple[PeerRule, ...] = ()
    deny: tuple[PeerRule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.allow or self.deny)


class Need(Enum):
    """What a rule has to look up in the cluster."""

    SERVICES = auto()
    CIDR_GROUPS = auto()
    NAMED_PORTS = auto()
    NODE_LABELS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One `spec` or entry of `specs`."""

    path: str
    subject: Selector
    selects_nodes: bool = False
    ingress: RuleDirection
    egress: RuleDirection
    needs: frozenset[Need] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy object."""

    ref: PolicyRef
    rules: tuple[Rule, ...]
    alerting: Alerting | None = None
    warnings: tuple[str, ...] = field(default=())
    """What its owner should know: values that were not understood and therefore not used."""
