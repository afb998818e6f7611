"""Settings of the agent."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from runtime.settings import Settings

CLUSTER_PATTERN = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"


class AgentSettings(Settings):
    """What the agent is told."""

    cluster: str = Field(
        default="default",
        pattern=CLUSTER_PATTERN,
        description="Name of the cluster that the manifests belong to.",
    )
    policies: Path | None = Field(
        default=None,
        description="Folder of manifests (or one file): policies, and the namespaces, services, "
        "endpoint slices and CIDR groups that they refer to.",
    )
    kubeconfig: Path | None = Field(
        default=None, description="Kubeconfig of the cluster to read, instead of a folder."
    )
    kube_context: str | None = Field(
        default=None, description="Context of the kubeconfig; its current one without."
    )
    in_cluster: bool = Field(
        default=False,
        description="Whether to read the cluster that the agent runs in, as its pod's service "
        "account, instead of a folder.",
    )
    cilium_namespace: str = Field(
        default="kube-system",
        pattern=NAME_PATTERN,
        description="Namespace of Cilium's ConfigMap, whose options change verdicts.",
    )
    cilium_config: str = Field(
        default="cilium-config", pattern=NAME_PATTERN, description="Name of Cilium's ConfigMap."
    )
    rescan_seconds: float = Field(
        default=30.0,
        ge=1,
        description="How often a folder is read anyway, where changes are not announced.",
    )
    health_host: str = Field(
        default="127.0.0.1", description="Address on which the health port listens."
    )
    health_port: int = Field(
        default=0, ge=0, le=65535, description="Port of /livez, /readyz and /metrics; 0 is none."
    )

    @field_validator("policies", "kubeconfig")
    @classmethod
    def _exists(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        if not value.exists():
            raise ValueError(f"{value} does not exist")
        return value.absolute()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [self.policies is not None, self.kubeconfig is not None, self.in_cluster]
        if sum(given) != 1:
            raise ValueError("give exactly one of --policies, --kubeconfig and --in-cluster")
        if self.kube_context is not None and self.kubeconfig is None:
            raise ValueError("--kube-context is one of a --kubeconfig")
        return self
