"""Settings of the agent."""

from pathlib import Path

from pydantic import Field, field_validator

from runtime.settings import Settings

CLUSTER_PATTERN = r"^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"


class AgentSettings(Settings):
    """What the agent is told."""

    cluster: str = Field(
        default="default",
        pattern=CLUSTER_PATTERN,
        description="Name of the cluster that the manifests belong to.",
    )
    policies: Path = Field(
        description="Folder of manifests (or one file): policies, and the namespaces, services, "
        "endpoint slices and CIDR groups that they refer to."
    )
    rescan_seconds: float = Field(
        default=30.0,
        ge=1,
        description="How often the folder is read anyway, where changes are not announced.",
    )
    health_host: str = Field(
        default="127.0.0.1", description="Address on which the health port listens."
    )
    health_port: int = Field(
        default=0, ge=0, le=65535, description="Port of /livez, /readyz and /metrics; 0 is none."
    )

    @field_validator("policies")
    @classmethod
    def _exists(cls, value: Path) -> Path:
        if not value.exists():
            raise ValueError(f"{value} does not exist")
        return value.absolute()
