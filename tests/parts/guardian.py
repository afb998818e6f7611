"""Runs a server for as long as the test session lives, and no longer.

A small process between the session and the server: it starts the server as its child and watches
the session's process; whichever way that ends (also by kill -9), the server is stopped by its
process id and its folder removed. This file runs by itself and imports nothing of the project.

    python guardian.py WATCHED_PID FOLDER_TO_REMOVE COMMAND ARGUMENT…
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TICK_SECONDS = 0.2
TERMINATE_SECONDS = 20.0
PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str], *, log: Path, folder: Path, watched: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a server under a guardian, its output going to `log`.

    `folder` is removed when the session ends without `stop`; `watched` is the session's process,
    by default the one that `session_pid` names.
    """
    watched = session_pid() if watched is None else watched
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, __file__, str(watched), str(folder), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(guardian: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    """End the server, with SIGTERM or with SIGKILL, and wait for it. Keeps the folder."""
    guardian.send_signal(signal.SIGUSR1 if kill else signal.SIGTERM)
    guardian.wait(TERMINATE_SECONDS + 10)


def leave(guardian: subprocess.Popen[bytes]) -> None:
    """Let a server go on without whoever started it: it ends with the session."""
    # Or Python would warn, at its own end, of a child that still runs.
    guardian.returncode = 0


def freeze(guardian: subprocess.Popen[bytes]) -> None:
    """Stop the server's clock (SIGSTOP), or let it go on where it stands still."""
    guardian.send_signal(signal.SIGUSR2)


def session_pid() -> int:
    """Return the process of the whole test session: xdist's controller, else this one."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def _main(watched: int, folder: Path, command: Sequence[str]) -> int:
    asked: list[int] = []
    frozen: list[bool] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda got, _frame: asked.append(got))

    def toggle(_got: int, _frame: object) -> None:
        child.send_signal(signal.SIGCONT if frozen else signal.SIGSTOP)
        frozen[:] = [] if frozen else [True]

    child = subprocess.Popen(command, preexec_fn=_die_with_parent)  # noqa: PLW1509 - one thread
    signal.signal(signal.SIGUSR2, toggle)
    while child.poll() is None:
        if asked:
            _end(child, kill=signal.SIGUSR1 in asked)
        elif not _alive(watched):
            _end(child, kill=True)
            shutil.rmtree(folder, ignore_errors=True)
        else:
            time.sleep(TICK_SECONDS)  # a signal cuts this short
    return child.returncode


def _end(child: subprocess.Popen[bytes], *, kill: bool) -> None:
    if not kill:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(TERMINATE_SECONDS)
            return
    child.kill()
    child.wait()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _die_with_parent() -> None:
    # Only Linux has it; elsewhere a killed guardian leaves its server behind.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
