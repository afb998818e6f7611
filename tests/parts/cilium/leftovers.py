"""Instances of the cluster on this machine: their numbers, and taking away what one leaves.

A number gives an instance its names and its addresses. All its processes carry the number in their
environment, its namespaces and mounts live by them alone, and its one veth carries it in its name:
so ending the processes and deleting the veth leaves nothing, whoever was killed and when. A keeper,
a process between the instance and the machine, does it when the owner's process has ended in
whatever way; where the keeper was killed too, the next instance does. Touches nothing of others.

    python -m tests.parts.cilium.leftovers NUMBER
"""

import contextlib
import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HOME = Path("/var/tmp/picket-cilium")
"""One for the whole machine, as the names of namespaces and veths are."""
VARIABLE = "PICKET_CILIUM"
NUMBERS = range(1, 250)
ROOT = Path(__file__).parents[3]
GONE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A number that is taken, and a keeper that gives it back."""

    number: int
    keeper: subprocess.Popen[bytes]

    @property
    def folder(self) -> Path:
        """Return where its files lie."""
        return HOME / str(self.number)

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the environment that each of its processes must have."""
        return {**os.environ, VARIABLE: str(self.number)}

    @property
    def veth(self) -> str:
        """Return the name of its end of the one veth outside of its namespaces."""
        return veth(self.number)

    def give_back(self) -> None:
        """End all of it, and wait until it is gone. Idempotent."""
        assert self.keeper.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.keeper.stdin.close()
        self.keeper.wait(GONE_SECONDS * 2)


def claim() -> Instance:
    """Take a number that is free, after taking away what dead instances left."""
    HOME.mkdir(parents=True, exist_ok=True)
    with _turn():
        sweep()
        used = _addresses()
        free = [number for number in NUMBERS if f"198.18.{number}." not in used]
        number = random.choice([each for each in free if not (HOME / str(each)).exists()])
        (HOME / str(number)).mkdir()
        with _lock(number) as lock:
            assert lock is not None
            keeper = subprocess.Popen(
                [sys.executable, "-m", __name__, str(number)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                pass_fds=[lock],  # the keeper's from now on
                start_new_session=True,
            )
    return Instance(number, keeper)


def sweep() -> list[int]:
    """Take away the instances whose keeper is gone; return their numbers."""
    swept = []
    for number in sorted(int(path.name) for path in HOME.iterdir() if path.name.isdigit()):
        with _lock(number) as lock:
            if lock is not None:
                remove(number)
                swept.append(number)
    return swept


def remove(number: int) -> None:
    """End the instance's processes, which ends its namespaces; delete its veth and its folder."""
    deadline = time.monotonic() + GONE_SECONDS
    while kill_all(number) and time.monotonic() < deadline:
        time.sleep(0.05)
    if Path(f"/sys/class/net/{veth(number)}").exists():
        # It goes with its other end too, some time after that one's namespace.
        subprocess.run(["ip", "link", "del", veth(number)], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(HOME / str(number), ignore_errors=True)


def kill_all(number: int) -> int:
    """Send SIGKILL to each process of the instance; return how many there were."""
    mark = f"\0{VARIABLE}={number}\0".encode()
    killed = 0
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        # The process that was looked at is the one that is ended, whatever becomes of its number.
        with contextlib.suppress(OSError):
            process = os.pidfd_open(int(path.name))
            try:
                if mark in b"\0" + (path / "environ").read_bytes():
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    killed += 1
            finally:
                os.close(process)
    return killed


def veth(number: int) -> str:
    """Return the name of the instance's veth."""
    return f"picket{number}"


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Let one process at a time take a number."""
    descriptor = os.open(HOME, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _lock(number: int) -> Iterator[int | None]:
    """Hold the instance's lock, or get None where its keeper lives."""
    descriptor = os.open(HOME / str(number) / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _addresses() -> str:
    """Return the machine's addresses and routes, to stay clear of them."""
    command = ["ip", "-4", "route", "show", "table", "all"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _keep(number: int) -> None:
    """Wait for the owner's end, then take everything away."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin.read()
    remove(number)


if __name__ == "__main__":
    _keep(int(sys.argv[1]))
