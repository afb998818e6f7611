"""What a control plane's clients trust and show: certificates, tokens, kubeconfig files.

All of it lies in the control plane's folder; nothing here talks to a server.
"""

import json
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.parts import certificates

CLUSTER = "demo"
NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
SERVICE_ADDRESS = "10.96.0.1"
"""Of the service `kubernetes`: the first address of commands.SERVICES."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The files of a folder."""

    folder: Path

    @property
    def ca_file(self) -> Path:
        """Return the authority of the API server's certificate and of client certificates."""
        return self.folder / "ca.pem"

    @property
    def server(self) -> tuple[Path, Path]:
        """Return the API server's certificate and key."""
        return self.folder / "api.pem", self.folder / "api-key.pem"

    @property
    def service_accounts(self) -> tuple[Path, Path]:
        """Return the private and the public key of service accounts' tokens."""
        return self.folder / "accounts-key.pem", self.folder / "accounts.pem"

    @property
    def tokens_file(self) -> Path:
        """Return the API server's file of fixed tokens."""
        return self.folder / "tokens.csv"

    @property
    def token(self) -> str:
        """Return the token of the one who may do all."""
        return self.tokens_file.read_text("utf-8").partition(",")[0]

    def trust(self) -> ssl.SSLContext:
        """Return what a client's TLS needs."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def kubeconfig(self, name: str, *, url: str, token: str) -> Path:
        """Write a kubeconfig file for a token and return it."""
        path = self.folder / f"{name}.kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": CLUSTER,
                    "cluster": {"server": url, "certificate-authority": str(self.ca_file)},
                }
            ],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": CLUSTER, "context": {"cluster": CLUSTER, "user": name}}],
            "current-context": CLUSTER,
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
        return path


def make(folder: Path, addresses: Sequence[str]) -> Keys:
    """Make all of it, the server's certificate being for these addresses and loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    keys = Keys(folder)
    authority = certificates.Authority.new("kubernetes")
    keys.ca_file.write_bytes(authority.pem)
    every = tuple(dict.fromkeys(("127.0.0.1", SERVICE_ADDRESS, *addresses)))
    pair = authority.sign("kube-apiserver", addresses=every, names=NAMES)
    for path, content in zip(keys.server, (pair.certificate, pair.key), strict=True):
        path.write_bytes(content)
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = keys.service_accounts
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    keys.tokens_file.write_text(f'{secrets.token_hex(16)},admin,admin,"system:masters"\n', "utf-8")
    return keys
