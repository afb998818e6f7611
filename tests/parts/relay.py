"""A real hubble-relay and hubble, built from Cilium's module, and a relay that runs on loopback.

Relay dies with the test session. It needs a peer service to learn nodes from: tests.parts.nodes.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from schemas.hubble import observer_pb2, observer_pb2_grpc
from tests.parts import cache, certificates, demand, go, guardian, ports

VERSION = "v1.19.6"
GO = "1.25.0"
"""The Go that the module's go.mod asks for."""
COMMIT = "9a8982433e"
RECIPE = 4
"""Raised whenever what is built below changes."""
NAMED = {
    "github.com/cilium/cilium/pkg/version.ciliumVersion": (
        f"{VERSION.removeprefix('v')} {COMMIT} 2026-07-16T14:53:30Z"
    ),
    "github.com/cilium/cilium/hubble/pkg.Version": VERSION,
}
"""As the release names itself: relay tells its clients, and hubble compares."""
MODULE = go.Module("github.com/cilium/cilium", VERSION)
SERVER_NAME = "ui.hubble-relay.cilium.io"
"""A name by the pattern that Cilium's own certificates carry."""
START_SECONDS = 30.0
LINGER_SECONDS = 16.0
"""How long relay may take to end after SIGTERM while a client is attached."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs, built."""

    relay: Path
    hubble: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What relay shows its clients, and what they need to trust it."""

    folder: Path
    mutual: bool

    @property
    def ca_file(self) -> Path:
        """Return the authority of relay's certificate and of its clients'."""
        return self.folder / "ca.pem"

    @property
    def wrong_ca_file(self) -> Path:
        """Return an authority that signed nothing here."""
        return self.folder / "wrong-ca.pem"

    @property
    def client(self) -> tuple[Path, Path]:
        """Return a client's certificate and key that relay trusts where TLS is mutual."""
        return self.folder / "client.pem", self.folder / "client-key.pem"

    @property
    def server(self) -> tuple[Path, Path]:
        """Return relay's own certificate and key."""
        return self.folder / "server.pem", self.folder / "server-key.pem"


@dataclass(slots=True, kw_only=True)
class Relay:
    """A running relay; whoever started it stops it. Ports stay over restarts."""

    folder: Path
    peers: str
    """Address of the peer service."""
    cluster: str = "demo"
    tls: Tls | None = None
    retry_seconds: float = 1.0
    """Before relay asks a lost peer service again (its own default: 30 s)."""
    port: int = field(default_factory=ports.steady)
    health_port: int = field(default_factory=ports.steady)
    _guardian: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Return host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """Return the file with its output."""
        return self.folder / "relay.log"

    def start(self, *, nodes: int | None = 1) -> None:
        """Start and wait until so many nodes are connected; None waits for an answer only.

        Raises Missing, with the end of its log, where that does not come about.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [str(programs().relay), "serve", f"--listen-address={self.address}"]
        command += [f"--health-listen-address=127.0.0.1:{self.health_port}"]
        command += [f"--peer-service={self.peers}", f"--cluster-name={self.cluster}"]
        command += [
            f"--retry-timeout={self.retry_seconds}s",
            "--gops=false",
            "--disable-client-tls",
        ]
        command += self._tls_flags()
        self._guardian = guardian.start(command, log=self.log, folder=self.folder)
        deadline = time.monotonic() + START_SECONDS
        while not self._ready(nodes):
            if self._guardian.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
                raise cache.Missing(f"relay did not come up:\n{tail}")
            time.sleep(0.05)

    def stop(self, *, kill: bool = True) -> None:
        """Kill -9 it, or end it in good order, which may take LINGER_SECONDS. Idempotent."""
        process, self._guardian = self._guardian, None
        if process is not None:
            guardian.stop(process, kill=kill)

    def restart(self, *, nodes: int | None = 1, kill: bool = True) -> None:
        """Stop and start it on the same ports."""
        self.stop(kill=kill)
        self.start(nodes=nodes)

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """Open a channel to it, as a client that trusts it."""
        if self.tls is None:
            with grpc.insecure_channel(self.address) as channel:
                yield channel
            return
        pair = [path.read_bytes() for path in self.tls.client] if self.tls.mutual else [None, None]
        credentials = grpc.ssl_channel_credentials(
            self.tls.ca_file.read_bytes(), private_key=pair[1], certificate_chain=pair[0]
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        with grpc.secure_channel(self.address, credentials, options) as channel:
            yield channel

    def status(self) -> observer_pb2.ServerStatusResponse:
        """Ask for its status. Raises grpc.RpcError where it does not answer."""
        with self.channel() as channel:
            request = observer_pb2.ServerStatusRequest()
            return observer_pb2_grpc.ObserverStub(channel).ServerStatus(request, timeout=2)

    def _ready(self, nodes: int | None) -> bool:
        try:
            status = self.status()
        except grpc.RpcError:
            return False
        return nodes is None or (
            status.num_connected_nodes.value == nodes and status.num_unavailable_nodes.value == 0
        )

    def _tls_flags(self) -> list[str]:
        if self.tls is None:
            return ["--disable-server-tls"]
        certificate, key = self.tls.server
        flags = [
            f"--tls-relay-server-cert-file={certificate}",
            f"--tls-relay-server-key-file={key}",
        ]
        if self.tls.mutual:
            flags.append(f"--tls-relay-client-ca-files={self.tls.ca_file}")
        return flags


def programs() -> Programs:
    """Return relay and hubble, building them where they are not there yet. Raises Missing."""
    home = cache.part("hubble", f"{VERSION}-{RECIPE}", _build)
    return Programs(relay=home / "hubble-relay", hubble=home / "hubble")


def reference() -> Path:
    """Return Hubble's own observer as a program: see reference/main.go. Raises Missing."""
    return beside("reference", Path(__file__).parent / "reference")


def beside(name: str, source: Path) -> Path:
    """Return a Go program of our own that is built with Cilium's packages. Raises Missing."""
    written = b"".join(path.read_bytes() for path in sorted(source.glob("*.go")))
    version = f"{VERSION}-{hashlib.sha256(written).hexdigest()[:12]}"

    def build(folder: Path) -> None:
        place = f"picket-{name}"
        go.build(MODULE, {name: f"./{place}"}, into=folder, at_least=GO, sources={place: source})

    return cache.part(name, version, build) / name


def certify(folder: Path, *, mutual: bool = False) -> Tls:
    """Make the certificates of a relay that speaks TLS; `mutual`: its clients need one too."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = certificates.Authority.new("Hubble")
    tls = Tls(folder=folder, mutual=mutual)
    tls.ca_file.write_bytes(authority.pem)
    tls.wrong_ca_file.write_bytes(certificates.Authority.new("another").pem)
    for name, files in ((SERVER_NAME, tls.server), ("picket", tls.client)):
        pair = authority.sign(name)
        files[0].write_bytes(pair.certificate)
        files[1].write_bytes(pair.key)
    return tls


@contextlib.contextmanager
def running(
    folder: Path,
    peers: str,
    *,
    nodes: int | None = 1,
    tls: Tls | None = None,
    cluster: str = "demo",
) -> Iterator[Relay]:
    """Run a relay in front of a peer service."""
    relay = Relay(folder=folder, peers=peers, tls=tls, cluster=cluster)
    relay.start(nodes=nodes)
    try:
        yield relay
    finally:
        relay.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def hubble() -> Programs:
    """Relay and hubble, built; a test that asks for them does not run where they cannot be had."""
    try:
        return programs()
    except cache.Missing as missing:
        demand.require("hubble-relay", str(missing))
        raise


def _build(folder: Path) -> None:
    wanted = {"hubble-relay": "./hubble-relay", "hubble": "./hubble"}
    go.build(MODULE, wanted, into=folder, at_least=GO, variables=NAMED)
    for name in wanted:
        if not os.access(folder / name, os.X_OK):
            raise cache.Missing(f"{name} was not built")
