"""Which objects matching needs, and how their keys on picket.policies are made. Pure.

Kinds are told apart by API group as well: other projects have a NetworkPolicy and a Service too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SYNCED = "synced"
DEFAULT_NAMESPACE = "default"

_NAMESPACED = {
    "CiliumNetworkPolicy": True,
    "CiliumClusterwideNetworkPolicy": False,
    "CiliumCIDRGroup": False,
    "NetworkPolicy": True,
    "Namespace": False,
    "Service": True,
    "EndpointSlice": True,
    "NamedPorts": False,
    "AgentOptions": False,
}
_GROUP = {
    "CiliumNetworkPolicy": "cilium.io",
    "CiliumClusterwideNetworkPolicy": "cilium.io",
    "CiliumCIDRGroup": "cilium.io",
    "NetworkPolicy": "networking.k8s.io",
    "Namespace": "",
    "Service": "",
    "EndpointSlice": "discovery.k8s.io",
    "NamedPorts": "picket.dev",
    "AgentOptions": "picket.dev",
}
KINDS = frozenset(_NAMESPACED)
POLICIES = frozenset(kind for kind in KINDS if kind.endswith("NetworkPolicy"))


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """One object of one cluster; the namespace is empty for what has none."""

    kind: str
    namespace: str
    name: str

    def key(self, cluster: str) -> str:
        """Return its key on picket.policies."""
        return f"{cluster}/{self.kind}/{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


def synced_key(cluster: str) -> str:
    """Return the key of the marker that says a cluster's objects are complete."""
    return f"{cluster}/{SYNCED}"


def is_needed(manifest: Mapping[str, Any]) -> bool:
    """Return whether matching has a use for this object."""
    kind = manifest.get("kind")
    version = manifest.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        return False
    group, slash, _ = version.partition("/")
    return _GROUP.get(kind) == (group if slash else "")


def is_namespaced(kind: str) -> bool:
    """Return whether objects of a needed kind live in a namespace."""
    return _NAMESPACED[kind]
