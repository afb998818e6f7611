"""The folder in which `picket up` keeps what must outlive it: log, alerts, token, output."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import UserError

TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class State:
    """One state folder; nothing is made until `prepare`."""

    folder: Path

    @property
    def token(self) -> Path:
        """Return the file with the API's token."""
        return self.folder / "token"

    @property
    def log(self) -> Path:
        """Return the embedded log's file."""
        return self.folder / "log.db"

    @property
    def alerts(self) -> Path:
        """Return the embedded database's file."""
        return self.folder / "alerts.db"

    @property
    def api(self) -> Path:
        """Return the file with the address at which the API was last started."""
        return self.folder / "api"

    @property
    def output(self) -> Path:
        """Return the folder with what the stages write."""
        return self.folder / "output"

    @property
    def settings(self) -> Path:
        """Return the file by which the stages are told their settings."""
        return self.folder / "stages.toml"

    def prepare(self) -> None:
        """Make the folders and the token where they are missing. Raises UserError."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.output.mkdir(mode=0o700, exist_ok=True)
            if not self.token.exists():
                write_private(self.token, secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        except OSError as error:
            raise UserError(f"cannot use state folder {self.folder}: {error.strerror}") from error


def folder(environment: Mapping[str, str], given: Path | None = None) -> State:
    """Return the state folder: as given, else $XDG_STATE_HOME/picket, else its default."""
    if given is not None:
        return State(given.expanduser().absolute())
    base = environment.get("XDG_STATE_HOME", "")
    # The specification has relative paths ignored.
    root = Path(base) if base.startswith("/") else Path("~/.local/state").expanduser()
    return State(root / "picket")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(path)
