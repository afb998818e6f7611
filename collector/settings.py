"""Settings of the collector: which cluster, where its flows come from, which of them are wanted."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from collector import filters
from runtime.settings import Settings

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
STDIN = "-"


class CollectorSettings(Settings):
    """One collector reads one cluster: from its relay, or from a capture."""

    cluster: str = Field(
        default="default",
        min_length=1,
        max_length=253,
        description="The cluster's name, under which its flows stand in the log.",
    )
    cluster_uid: str = Field(
        default="",
        description="UID of the cluster's namespace kube-system; binds the name to this cluster,"
        " so that another one of the same name is refused.",
    )
    relay: str | None = Field(default=None, description="HOST:PORT of Hubble relay.")
    flows: str | None = Field(
        default=None,
        description="A capture in place of a relay: a file of JSON lines, plain or gzip,"
        " or - for the standard input.",
    )
    follow: bool = Field(
        default=False, description="Whether to wait for more at the end of the capture."
    )
    filter: filters.Choice = Field(
        default=filters.Choice.DENIED,
        description="Which flows to collect: denied (what policies stopped or would have stopped),"
        " verdicts (what they allowed as well), or all.",
    )
    allow: str | None = Field(
        default=None,
        description="Own choice of flows: Hubble's flow filters as JSON, one or a list, or @FILE;"
        " a flow that any of them matches is wanted.",
    )
    deny: str | None = Field(
        default=None,
        description="Flow filters as JSON, or @FILE: a flow that any of them matches is left out.",
    )
    tls: bool = Field(default=False, description="Whether relay speaks TLS.")
    tls_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that relay's certificate may be signed by;"
        " without it the system's are used.",
    )
    tls_certificate_file: Path | None = Field(
        default=None, description="PEM file of the client's certificate for relay."
    )
    tls_key_file: Path | None = Field(
        default=None, description="PEM file of the client certificate's key."
    )
    tls_server_name: str | None = Field(
        default=None,
        description="The name that relay's certificate must carry, where it is not the address;"
        " such as ui.hubble-relay.cilium.io.",
    )
    read_ahead: bool = Field(
        default=True,
        description="Whether to ask the nodes for their newest flows, beside the stream, when a"
        " trickle of flows from many nodes would wait in relay's sorting.",
    )
    batch_bytes: int = Field(
        default=512 * KIBIBYTE,
        ge=KIBIBYTE,
        le=900 * KIBIBYTE,
        description="About how many bytes of flows go into one record.",
    )
    delay_ms: int = Field(
        default=80, ge=1, le=1000, description="How many milliseconds flows wait for others."
    )
    buffer_bytes: int = Field(
        default=64 * MEBIBYTE,
        ge=MEBIBYTE,
        description="How many bytes of flows are held while the log is away;"
        " then relay has to wait, and nodes lose what their rings cannot hold.",
    )
    checkpoint_seconds: float = Field(
        default=10.0, gt=0, le=30, description="Seconds between two checkpoints, at most 30."
    )
    retention_hours: float = Field(
        default=24.0,
        gt=0,
        description="How many hours back flows are asked for at most, after a long absence.",
    )
    redact: bool = Field(
        default=False,
        description="Whether to take Authorization, cookies and query values out of HTTP flows"
        " before they reach the log.",
    )
    standby: bool = Field(
        default=True,
        description="Whether to wait, with the stream attached, while another collector of this"
        " cluster is active; otherwise that is an error.",
    )
    health_host: str = Field(default="127.0.0.1", description="Where the health port listens.")
    health_port: int = Field(
        default=0, ge=0, le=65535, description="The health port; 0 opens none."
    )

    @field_validator("relay")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        host, colon, port = value.rpartition(":")
        well_formed = colon and host and "/" not in host and port.isdecimal()
        if not well_formed or not 0 < int(port) < 65536:
            raise ValueError(f"{value!r} is not HOST:PORT")
        return value

    @field_validator("allow", "deny")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            filters.parse(value)
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.relay is None) == (self.flows is None):
            raise ValueError("give either relay or flows")
        if self.follow and self.flows is None:
            raise ValueError("follow is for a capture; relay is followed anyway")
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file go together")
        if not self.tls and (self.tls_ca_file, self.tls_certificate_file) != (None, None):
            raise ValueError("tls_ca_file and tls_certificate_file need tls")
        if self.flows is not None and (wrong := filters.not_evaluated(self.wanted)):
            raise ValueError(f"a capture cannot be filtered by {', '.join(wrong)}")
        return self

    @property
    def wanted(self) -> filters.Filters:
        """Return the filters that the settings ask for."""
        return filters.chosen(self.filter, allow=self.allow, deny=self.deny)
