"""Which log to open, from settings: a file's path is the embedded one, `kafka://…` is Kafka."""

from enum import StrEnum
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from bus import embedded, port
from runtime import clock
from runtime.errors import UserError
from runtime.settings import Settings

KAFKA = "kafka://"
FILE = "file://"
KAFKA_PORT = 9092


class Sasl(StrEnum):
    """How to sign in to Kafka."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


class BusSettings(Settings):
    """Where the log is and how to get in."""

    bus: str = Field(
        description="The log: a file's path for the embedded one, or"
        " kafka://HOST:PORT,HOST:PORT for Apache Kafka."
    )
    kafka_tls: bool = Field(default=False, description="Whether to speak TLS with Kafka.")
    kafka_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that Kafka's certificate may be signed by;"
        " without it the system's are used.",
    )
    kafka_certificate_file: Path | None = Field(
        default=None, description="PEM file of the client's certificate for Kafka."
    )
    kafka_key_file: Path | None = Field(
        default=None, description="PEM file of the client certificate's key."
    )
    kafka_sasl: Sasl | None = Field(
        default=None, description="How to sign in to Kafka; without it nobody signs in."
    )
    kafka_user: str | None = Field(
        default=None, description="The user for PLAIN and the SCRAM mechanisms."
    )
    kafka_password_file: Path | None = Field(
        default=None, description="File that holds the password of that user."
    )
    kafka_token_file: Path | None = Field(
        default=None,
        description="File that holds the token for OAUTHBEARER; read again for each connection.",
    )

    @field_validator("bus")
    @classmethod
    def _known(cls, value: str) -> str:
        if value.startswith(KAFKA):
            servers(value)
        elif value.startswith(FILE):
            if urlsplit(value).netloc not in {"", "localhost"}:
                raise ValueError("a file:// address must name a file of this machine")
        elif "://" in value:
            raise ValueError("must be a file's path or kafka://HOST:PORT,HOST:PORT")
        if not value.strip():
            raise ValueError("must name a file or kafka://HOST:PORT")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kafka_sasl is Sasl.OAUTHBEARER:
            if self.kafka_token_file is None:
                raise ValueError("kafka_sasl OAUTHBEARER needs kafka_token_file")
        elif self.kafka_sasl is not None and None in {self.kafka_user, self.kafka_password_file}:
            raise ValueError(
                f"kafka_sasl {self.kafka_sasl.value} needs kafka_user and kafka_password_file"
            )
        if (self.kafka_certificate_file is None) != (self.kafka_key_file is None):
            raise ValueError("kafka_certificate_file and kafka_key_file go together")
        if not self.kafka_tls and {self.kafka_ca_file, self.kafka_certificate_file} != {None}:
            raise ValueError("kafka_ca_file and kafka_certificate_file need kafka_tls")
        return self

    @property
    def is_kafka(self) -> bool:
        """Return whether the log is Kafka."""
        return self.bus.startswith(KAFKA)


def open_log(settings: BusSettings, *, time: clock.Clock = clock.SYSTEM) -> port.Log:
    """Open the log that the settings name.

    `time` moves the embedded log's leases and retention. Raises UserError where a secret's file
    cannot be read, Misconfigured and Unavailable as the log's own calls do.
    """
    if not settings.is_kafka:
        return embedded.EmbeddedLog(file(settings.bus), time=time)
    # Loaded here, since an embedded run should not pay for a Kafka client.
    from bus import kafka, kafka_connection  # noqa: PLC0415

    for path in (
        settings.kafka_ca_file,
        settings.kafka_certificate_file,
        settings.kafka_key_file,
        settings.kafka_password_file,
        settings.kafka_token_file,
    ):
        if path is not None and not path.is_file():
            raise UserError(f"there is no file {path}")
    sasl = settings.kafka_sasl
    return kafka.KafkaLog(
        kafka_connection.Cluster(
            servers=servers(settings.bus),
            tls=settings.kafka_tls,
            ca_file=settings.kafka_ca_file,
            certificate_file=settings.kafka_certificate_file,
            key_file=settings.kafka_key_file,
            mechanism=None if sasl is None else sasl.value,
            user=settings.kafka_user,
            password_file=settings.kafka_password_file,
            token_file=settings.kafka_token_file,
        )
    )


def file(bus: str) -> Path:
    """Return the path of an embedded log, written as a path or as file:///…."""
    if bus.startswith(FILE):
        return Path(unquote(urlsplit(bus).path))
    return Path(bus).expanduser()


def servers(bus: str) -> tuple[str, ...]:
    """Return `host:port` of each server in kafka://…. Raises ValueError where one is no address."""
    found = []
    for item in bus.removeprefix(KAFKA).rstrip("/").split(","):
        parts = urlsplit("//" + item.strip())
        # Reading the port raises ValueError where it is no number.
        number = parts.port or KAFKA_PORT
        if not parts.hostname or parts.path or parts.query or parts.username:
            raise ValueError(f"{item or 'nothing'!r} is no HOST:PORT of a Kafka server")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        found.append(f"{host}:{number}")
    return tuple(found)
