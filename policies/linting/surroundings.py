"""What else is known while a policy is linted: namespaces, services, DNS rules and the like.

A rule that needs such knowledge stays silent where nothing of that kind was given.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from policies import inventory, options, parsing
from policies.addresses import Prefix
from policies.decoding import PolicyRejected
from policies.inventory import CidrGroup, NamedPorts, Service
from policies.labels import K8S, NAMESPACE_KEY, NAMESPACE_LABELS_PREFIX, LabelSet
from policies.model import CCNP, CNP, KINDS, KNP, Policy

Json = Mapping[str, Any]

_NAME_LABEL: Final = "kubernetes.io/metadata.name"
_ALWAYS_THERE: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_GROUPS: Final = {CNP: "cilium.io", CCNP: "cilium.io", KNP: "networking.k8s.io"}
OTHERS: Final = {
    "Namespace": "",
    "Service": "",
    "CiliumCIDRGroup": "cilium.io",
    "NamedPorts": "picket.dev",
    "AgentOptions": "picket.dev",
}
"""Kinds besides policies that are looked at, and their API groups."""


def group_of(manifest: Json) -> str:
    """The API group of an object; empty for the core group and where there is none."""
    version = manifest.get("apiVersion")
    group, slash, _ = version.partition("/") if isinstance(version, str) else ("", "", "")
    return group if slash else ""


def is_policy(manifest: Json) -> bool:
    """Whether it is one of the kinds that the rules are about; others have a NetworkPolicy too."""
    kind = manifest.get("kind")
    return isinstance(kind, str) and kind in KINDS and group_of(manifest) == _GROUPS[kind]


@dataclass(slots=True)
class Surroundings:
    """Gathered from all objects before the first is linted."""

    node_selector_labels: bool = False
    cluster_cidrs: tuple[Prefix, ...] = ()
    namespaces: dict[str, LabelSet] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)
    cidr_groups: list[CidrGroup] = field(default_factory=list)
    named_ports: list[NamedPorts] = field(default_factory=list)
    dns_rules: dict[str, set[str]] = field(default_factory=dict)
    """Patterns of names that may be looked up, by the namespace of the policy; '' clusterwide."""

    def take(self, manifest: Json) -> None:
        """Learn from an object that is no policy. What is malformed teaches nothing."""
        kind = manifest.get("kind")
        if not isinstance(kind, str) or OTHERS.get(kind) != group_of(manifest):
            return
        try:
            match kind:
                case "Namespace":
                    self._namespace(manifest)
                case "Service":
                    self.services.append(inventory.service(manifest))
                case "CiliumCIDRGroup":
                    self.cidr_groups.append(inventory.cidr_group(manifest))
                case "NamedPorts":
                    self.named_ports += inventory.named_ports(manifest)
                case _:
                    found = options.parse(manifest)
                    self.node_selector_labels |= found.node_selector_labels
        except PolicyRejected:
            return

    def parse(self, manifest: Json) -> Policy | None:
        """The policy, remembered for what it says about DNS; None where the engine refuses it."""
        try:
            policy = parsing.parse(manifest, node_selector_labels=self.node_selector_labels)
        except PolicyRejected:
            return None
        for rule in policy.rules:
            for entry in rule.egress.allow:
                for port in entry.ports or ():
                    if port.l7 is not None and port.l7.dns:
                        known = self.dns_rules.setdefault(policy.ref.namespace, set())
                        known |= {pattern.text for pattern in port.l7.dns}
        return policy

    def dns_patterns(self, namespace: str) -> Iterable[str]:
        """What pods of a namespace may look up, by any policy that is known."""
        if not namespace:
            return {pattern for patterns in self.dns_rules.values() for pattern in patterns}
        return self.dns_rules.get(namespace, set()) | self.dns_rules.get("", set())

    def _namespace(self, manifest: Json) -> None:
        metadata = manifest["metadata"] if isinstance(manifest.get("metadata"), Mapping) else {}
        name, labels = metadata.get("name"), metadata.get("labels") or {}
        if not isinstance(name, str) or not isinstance(labels, Mapping):
            return
        if not self.namespaces:
            for known in _ALWAYS_THERE:
                self.namespaces[known] = _labels(known, {})
        self.namespaces[name] = _labels(name, labels)


def _labels(name: str, labels: Mapping[str, Any]) -> LabelSet:
    known = {**labels, _NAME_LABEL: name}
    return LabelSet.of(
        [
            f"{K8S}:{NAMESPACE_KEY}={name}",
            *(f"{K8S}:{NAMESPACE_LABELS_PREFIX}.{key}={value}" for key, value in known.items()),
        ]
    )
