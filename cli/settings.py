"""Settings of `picket up`: what the whole is told; each stage has further ones of its own."""

from pathlib import Path

from pydantic import Field, field_validator

from agent.settings import CLUSTER_PATTERN
from runtime.settings import Settings

LISTEN = "127.0.0.1:8080"


class UpSettings(Settings):
    """What a first run needs, and nothing else."""

    flows: str | None = Field(
        default=None,
        description="Capture to read: JSON lines, plain or gzip, or - for standard input.",
    )
    follow: bool = Field(default=False, description="Wait for more at the end of the capture.")
    relay: str | None = Field(
        default=None, description="HOST:PORT of Hubble relay, instead of a capture."
    )
    policies: Path | None = Field(default=None, description="Folder of manifests, or one file.")
    kubeconfig: Path | None = Field(
        default=None, description="Kubeconfig of the cluster to read policies from, instead."
    )
    kube_context: str | None = Field(
        default=None, description="Context of the kubeconfig; its current one without."
    )
    cluster: str = Field(
        default="default", pattern=CLUSTER_PATTERN, description="Name of the cluster."
    )
    listen: str = Field(default=LISTEN, description="HOST:PORT of the API and the page.")
    database: str | None = Field(
        default=None, description="Database URL, instead of a file in the state folder."
    )
    gitlab: str | None = Field(
        default=None,
        description='Projects to deliver to, as JSON: [{"project", "url", "token_file"}, …]; '
        "easier in --config, as [[alert-api.gitlab]].",
    )

    @field_validator("listen", "relay")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            address(value)
        return value


def address(listen: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT. Raises ValueError."""
    host, colon, port = listen.rpartition(":")
    # Not 0 either: nobody would know where to look.
    is_port = port.isdecimal() and 0 < int(port) < 65536
    if not colon or not host or "/" in host or not is_port:
        raise ValueError(f"{listen!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
