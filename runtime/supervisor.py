"""Runs stages as child processes: starts them in order, restarts what crashed, stops in reverse.

It keeps no thread of its own: whoever owns it calls `check` every moment, from the thread that
started the children (on Linux a child is tied to the thread that made it). What a child writes is
handed on line by line.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from runtime import clock as clocks
from runtime.errors import UserError

log = structlog.get_logger()

USER_ERROR = 2
"""The exit code that says: trying again will not help, a person has to change something."""
PREFIX = "picket: "
"""How a process writes the one line of a user's mistake."""
PARENT_VARIABLE = "PICKET_PARENT_PID"
"""Tells a child whom to follow: see runtime.parent."""

FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""A child that ran for so long starts with the first backoff again."""
STOP_SECONDS = 20.0
KILL_SECONDS = 5.0

Listener = Callable[[str, str], None]
"""Told (name of the child, one line of its output), on a thread of that child."""


def log_crash(name: str, how: str, again_in: float) -> None:
    """Say in the log that a child crashed, and in how many seconds it is started again."""
    log.error("a stage crashed", stage=name, how=how, again_in=again_in)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """How one stage is started."""

    name: str
    command: tuple[str, ...]
    keeps_stdin: bool = False
    """Whether it reads what this process is given; the others read nothing."""


@dataclass(slots=True)
class _Running:
    child: Child
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None
    started: float = 0.0
    due: float = 0.0
    backoff: float = FIRST_BACKOFF_SECONDS
    restarts: int = 0
    last_words: str = ""
    finished: bool = False


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """The children of one process, all with the same environment."""

    children: tuple[Child, ...]
    environment: Mapping[str, str]
    listener: Listener
    crashed: Callable[[str, str, float], None] = log_crash
    clock: clocks.Clock = clocks.SYSTEM
    stop_seconds: float = STOP_SECONDS
    _running: list[_Running] = field(default_factory=list)

    def start(self) -> None:
        """Start all in order. Raises UserError where a program cannot be run at all."""
        for child in self.children:
            running = _Running(child)
            self._running.append(running)
            self._spawn(running)

    def check(self) -> None:
        """Notice who ended, and start again who is due. Never blocks for long.

        Raises UserError with the child's own line where one ended for a user's mistake. A child
        that ended well is finished and stays so.
        """
        for running in self._running:
            if running.process is None:
                if not running.finished and self.clock.monotonic() >= running.due:
                    running.restarts += 1
                    self._spawn(running)
                continue
            code = running.process.poll()
            if code is not None:
                self._ended(running, code)

    def pids(self) -> dict[str, int]:
        """Return the process ids of the children that run now."""
        return {
            running.child.name: running.process.pid
            for running in self._running
            if running.process is not None
        }

    def restarts(self) -> dict[str, int]:
        """Return how often each child was started again."""
        return {running.child.name: running.restarts for running in self._running}

    def finished(self, name: str) -> bool:
        """Return whether a child came to its own good end."""
        return any(running.finished for running in self._running if running.child.name == name)

    def close(self) -> None:
        """Stop all in reverse order, each asked first and killed when its time is up."""
        for running in reversed(self._running):
            process = running.process
            running.finished = True
            if process is None:
                continue
            if process.poll() is None:
                process.terminate()
                if not _gone(process, self.stop_seconds):
                    log.error("a stage did not stop in time", stage=running.child.name)
                    process.kill()
                    _gone(process, KILL_SECONDS)
            self._reap(running)

    def kill(self) -> None:
        """End all at once: nothing that was promised depends on a good ending."""
        for running in self._running:
            if running.process is not None and running.process.poll() is None:
                running.process.kill()

    def _spawn(self, running: _Running) -> None:
        child = running.child
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program
                child.command,
                stdin=None if child.keeps_stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**self.environment, PARENT_VARIABLE: str(os.getpid())},
                # Ctrl-C on the terminal is for the supervisor alone: it stops the children in
                # order.
                process_group=0,
            )
        except OSError as error:
            raise UserError(f"cannot start {child.name}: {error.strerror}") from error
        running.process = process
        running.started = self.clock.monotonic()
        running.reader = threading.Thread(
            target=self._read, args=(running, process), name=f"output of {child.name}", daemon=True
        )
        running.reader.start()

    def _read(self, running: _Running, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip()
                if line.startswith(PREFIX):
                    running.last_words = line
                self.listener(running.child.name, line)

    def _ended(self, running: _Running, code: int) -> None:
        name = running.child.name
        self._reap(running)
        if code == 0:
            running.finished = True
            return
        if code == USER_ERROR:
            running.finished = True
            words = running.last_words.removeprefix(PREFIX)
            raise UserError(words or f"{name} refused its settings")
        now = self.clock.monotonic()
        if now - running.started >= STEADY_SECONDS:
            running.backoff = FIRST_BACKOFF_SECONDS
        running.due = now + running.backoff
        self.crashed(name, _how(code), running.backoff)
        running.backoff = min(running.backoff * 2, LAST_BACKOFF_SECONDS)

    def _reap(self, running: _Running) -> None:
        if running.reader is not None:
            running.reader.join(KILL_SECONDS)
        running.process = None


def _gone(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _how(code: int) -> str:
    if code < 0:
        return signal.strsignal(-code) or f"signal {-code}"
    return f"exit code {code}"
