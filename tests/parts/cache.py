"""Where real parts are kept once they were built: outside the checkout, one folder a version.

Nothing here knows any part. A build writes into a temporary folder that is renamed when it is
whole, so that a killed build leaves nothing half done, and a lock lets parallel test workers build
once. Folder: `$PICKET_PARTS`, else `$XDG_CACHE_HOME/picket-parts`, else `~/.cache/picket-parts`.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

KEPT_LINES = 15
"""How many of a failed command's last lines its error shows."""
PROGRESS_SECONDS = 5.0


class Missing(Exception):
    """A part cannot be had here; the message says why and what to install."""


def root() -> Path:
    """Return the cache's folder."""
    if given := os.environ.get("PICKET_PARTS"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "picket-parts"


def part(name: str, version: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of a part, calling `build(folder)` if it is not there yet.

    `build` gets an empty folder and may raise Missing; the folder it filled is moved when it
    returns, so nothing in it may hold its own absolute path. `version` must name everything that
    the result depends on.
    """
    home = root() / name / version
    if home.is_dir():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with _lock(home.parent / f".{version}.lock", name=name, version=version):
        if home.is_dir():
            return home
        temporary = home.parent / f".{version}.building"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        started = time.monotonic()
        say(name, version, f"building into {home}")
        try:
            build(temporary)
            temporary.rename(home)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        say(name, version, f"ready after {time.monotonic() - started:.0f} s")
    return home


def say(name: str, version: str, text: str) -> None:
    """Print a line of progress to the standard error."""
    sys.stderr.write(f"[{name} {version}] {text}\n")
    sys.stderr.flush()


def tool(name: str, *, install: str) -> str:
    """Return the path of a program. Raises Missing that says what to install."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"there is no {name} on this machine: install {install}")
    return found


def run(
    command: Sequence[str],
    *,
    label: tuple[str, str],
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a step of a build, printing its newest line every few seconds.

    `label` is (part, version); `environment` is added to the process's own. Raises Missing with
    the last lines of its output where it fails.
    """
    lines: list[str] = []
    said = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            del lines[:-KEPT_LINES]
            if time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                say(*label, line.strip()[:100])
    if process.returncode != 0:
        tail = "\n".join(lines)
        raise Missing(f"{' '.join(command[:3])} … failed with {process.returncode}:\n{tail}")


@contextlib.contextmanager
def _lock(path: Path, *, name: str, version: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(name, version, "another process is building it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
