"""What the TLS of relay's connection needs, as it stands in files at one moment.

Whoever renews the files may be at it just now, so what does not fit together is told, not raised.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from collector.settings import CollectorSettings
from runtime.errors import UserError


@dataclass(frozen=True, slots=True)
class Secrets:
    """All PEM; None where the settings name no file."""

    ca: bytes | None
    certificate: bytes | None
    key: bytes | None

    def __repr__(self) -> str:
        """Return no key: this may end up in a log."""
        return f"{type(self).__name__}(…)"

    def problem(self) -> str | None:
        """Return why nobody could use these, in a few words."""
        try:
            if self.ca is not None:
                x509.load_pem_x509_certificates(self.ca)
        except (ValueError, UnsupportedAlgorithm):
            return "the authorities are not whole"
        try:
            validity = self.validity()
        except (ValueError, UnsupportedAlgorithm):
            return "the certificate is not whole"
        if validity is None or self.certificate is None or self.key is None:
            return None
        try:
            key = serialization.load_pem_private_key(self.key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return "the key is not whole"
        leaf = x509.load_pem_x509_certificates(self.certificate)[0]
        if key.public_key() != leaf.public_key():
            return "certificate and key do not belong together"
        return None

    def validity(self) -> tuple[dt.datetime, dt.datetime] | None:
        """Return since when and until when our own certificate is valid; None without one.

        Raises ValueError or UnsupportedAlgorithm where it is not whole.
        """
        if self.certificate is None:
            return None
        leaf = x509.load_pem_x509_certificates(self.certificate)[0]
        return leaf.not_valid_before_utc, leaf.not_valid_after_utc


def read(settings: CollectorSettings) -> Secrets:
    """Read the files of the settings. Raises UserError where one is none of that kind."""
    return Secrets(
        ca=_pem(settings.tls_ca_file),
        certificate=_pem(settings.tls_certificate_file),
        key=_pem(settings.tls_key_file),
    )


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if b"-----BEGIN" not in content:
        raise UserError(f"{path} is not a PEM file")
    return content
