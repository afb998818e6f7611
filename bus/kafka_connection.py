"""How to reach a Kafka cluster: addresses, TLS and SASL, and a first look at the door.

The first look exists because the client answers a wrong certificate or password with a timeout: it
goes on trying. A person needs to read what is wrong at once. Secrets are read from their files here
and are never part of a message.
"""

import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient
from kafka.net.sasl.oauth import AbstractTokenProvider

from bus import kafka_errors, port
from runtime.settings import read_secret

LOOK_SECONDS = 5.0
BOOTSTRAP_MS = 10_000
REQUEST_MS = 8_000
RECONNECT_MS = 1_000
METADATA_MS = 30_000
STOP_MS = 2_000

Client = TypeVar("Client")


class TokenFile(AbstractTokenProvider):  # type: ignore[misc] # the client has no types
    """Reads an OAUTHBEARER token from its file for each connection, so that it may be renewed."""

    def __init__(self, path: Path) -> None:
        """Remember the path."""
        super().__init__()
        self._path = path

    def token(self) -> str:
        """Return the token as it stands in the file now."""
        return read_secret(self._path, what="the token for Kafka")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where a cluster is and how to sign in to it."""

    servers: tuple[str, ...]
    tls: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    mechanism: str | None = None
    user: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None

    def options(self) -> dict[str, Any]:
        """Return the client's options that every connection needs.

        Raises UserError where a secret cannot be read, Misconfigured where TLS files are wrong.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.servers),
            "security_protocol": _PROTOCOLS[self.tls, self.mechanism is not None],
            "bootstrap_timeout_ms": BOOTSTRAP_MS,
            "request_timeout_ms": REQUEST_MS,
            "reconnect_backoff_max_ms": RECONNECT_MS,
            "metadata_max_age_ms": METADATA_MS,
        }
        if self.tls:
            options["ssl_context"] = self._context()
        if self.mechanism is not None:
            options["sasl_mechanism"] = self.mechanism
        if self.token_file is not None:
            provider = TokenFile(self.token_file)
            provider.token()
            options["sasl_oauth_token_provider"] = provider
        if self.password_file is not None:
            options["sasl_plain_username"] = self.user
            options["sasl_plain_password"] = read_secret(
                self.password_file, what="the password for Kafka"
            )
        return options

    def look(self) -> None:
        """Connect to one server, shake hands and sign in.

        Raises Unavailable where none can be reached, Misconfigured where one can and refuses.
        """
        problems = []
        for index, server in enumerate(self.servers):
            host, _, number = server.rpartition(":")
            name = host.strip("[]")
            try:
                with socket.create_connection((name, int(number)), LOOK_SECONDS) as raw:
                    if self.tls:
                        self._context().wrap_socket(raw, server_hostname=name).close()
                if self.mechanism is not None:
                    self._sign_in(index)
            except port.Unavailable as error:
                problems.append(f"{server}: {error}")
            except ssl.SSLCertVerificationError as error:
                raise port.Misconfigured(
                    f"the certificate of Kafka at {server} is not trusted: {error.verify_message};"
                    " check kafka_ca_file"
                ) from error
            except ssl.SSLError as error:
                raise port.Misconfigured(
                    f"Kafka at {server} does not shake hands over TLS: {error.reason or error};"
                    " check its port and kafka_tls"
                ) from error
            except OSError as error:
                problems.append(f"{server}: {error.strerror or error}")
            else:
                return
        raise port.Unavailable("no Kafka server can be reached: " + "; ".join(problems))

    def _sign_in(self, index: int) -> None:
        """Sign in to one server; the client's own start would only try again until its timeout."""
        client = KafkaNetClient(**self.options())
        manager = client._manager  # noqa: SLF001 - there is no public way to one connection

        async def connect() -> None:
            await manager.get_connection(
                f"bootstrap-{index}", pop_on_close=False, refresh_metadata_on_err=False
            )

        try:
            with kafka_errors.translated(f"signing in to Kafka with {self.mechanism}"):
                client._net.run(connect)  # noqa: SLF001
        finally:
            client.close()

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(
                cafile=None if self.ca_file is None else str(self.ca_file)
            )
            if self.certificate_file is not None and self.key_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise port.Misconfigured(
                f"cannot use the TLS files for Kafka (kafka_ca_file {self.ca_file},"
                f" kafka_certificate_file {self.certificate_file}): {error}"
            ) from error
        return context


def made(kind: Callable[..., Client], **options: Any) -> Client:
    """Return one of the client's objects; where it cannot be made, nothing of it stays behind.

    While a cluster is away the client's own constructors leave a thread and a socket at each try.
    """
    begun: list[KafkaNetClient] = []

    def begin(**configs: Any) -> KafkaNetClient:
        begun.append(KafkaNetClient(**configs))
        return begun[-1]

    try:
        return kind(**options, kafka_client=begin)
    except BaseException:
        for client in begun:
            client._net.stop(timeout_ms=STOP_MS)  # noqa: SLF001 - closing alone would wait for ever
            client.close()
        raise


_PROTOCOLS: Mapping[tuple[bool, bool], str] = {
    (False, False): "PLAINTEXT",
    (False, True): "SASL_PLAINTEXT",
    (True, False): "SSL",
    (True, True): "SASL_SSL",
}
