"""The options of the Cilium agent that change verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from policies.decoding import Field, PolicyRejected


class Enforcement(StrEnum):
    """Cilium's `enable-policy`."""

    DEFAULT = "default"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The defaults are those of Cilium 1.19 in Kubernetes, but for the host firewall."""

    cluster_name: str = ""
    """Cilium's own name of the cluster; empty: that of the subject's identity."""
    enforcement: Enforcement = Enforcement.DEFAULT
    host_always_allowed: bool = True
    """`allow-localhost`: the host reaches local endpoints unless a rule denies it."""
    default_local_cluster: bool = True
    """`policy-default-local-cluster`: peer selectors that name no cluster mean the local one."""
    host_firewall: bool = True
    """`enable-host-firewall`: policies by nodeSelector are enforced at the host.

    On unless known to be off: where it is off, nothing is stopped at the host that would have to be
    explained.
    """
    node_selector_labels: bool = False
    """`enable-node-selector-labels`: fromNodes and toNodes are taken."""


def parse(manifest: Mapping[str, object]) -> Options:
    """The options of an AgentOptions object. Raises PolicyRejected.

    `spec` names them as Cilium's configuration does, in camel case: clusterName, enablePolicy,
    allowLocalhost (`always`, `auto` or `policy`), policyDefaultLocalCluster, enableHostFirewall,
    enableNodeSelectorLabels.
    """
    spec = Field("", manifest)["spec"]
    mode = spec["enablePolicy"].text("default")
    if mode not in tuple(Enforcement):
        raise PolicyRejected("spec.enablePolicy", "must be default, always or never")
    localhost = spec["allowLocalhost"].text("auto")
    if localhost not in ("auto", "always", "policy"):
        raise PolicyRejected("spec.allowLocalhost", "must be auto, always or policy")
    return Options(
        cluster_name=spec["clusterName"].text(),
        enforcement=Enforcement(mode),
        host_always_allowed=localhost != "policy",
        default_local_cluster=spec["policyDefaultLocalCluster"].boolean() is not False,
        host_firewall=spec["enableHostFirewall"].boolean() is not False,
        node_selector_labels=spec["enableNodeSelectorLabels"].boolean() is True,
    )
