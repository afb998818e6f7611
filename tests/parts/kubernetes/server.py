"""One server of a control plane: started under the guardian, awaited, stopped, killed, started again.

It knows no server in particular.
"""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.parts import cache, guardian

TICK_SECONDS = 0.05
LOG_LINES = 20


@dataclass(slots=True, kw_only=True)
class Server:
    """A server with its files in a folder; whoever started it stops it."""

    name: str
    folder: Path
    """Removed when the session ends without `stop`."""
    command: Callable[[], list[str]]
    ready: Callable[[], bool]
    """Whether it answers, and it is this very one that does."""
    seconds: float = 120.0
    """It is awaited for so long: four seconds of work, on a machine that may compile meanwhile."""
    _guardian: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Return the file with its output."""
        return self.folder / f"{self.name}.log"

    @property
    def running(self) -> bool:
        """Return whether its process was started here and has not ended."""
        return self._guardian is not None and self._guardian.poll() is None

    def start(self) -> None:
        """Start it, and wait until it is ready. Raises Missing with the end of its log."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it and do not wait."""
        assert self._guardian is None, f"{self.name} was started already"
        self._guardian = guardian.start(self.command(), log=self.log, folder=self.folder)

    def wait(self) -> None:
        """Wait until it is ready. Raises Missing with the end of its log."""
        deadline = time.monotonic() + self.seconds
        while not (self.running and self.ready()):
            if not self.running or time.monotonic() > deadline:
                self.stop(kill=True)
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])
                raise cache.Missing(f"{self.name} did not come up:\n{tail}")
            time.sleep(TICK_SECONDS)

    def stop(self, *, kill: bool = False) -> None:
        """End it in good order, or kill -9 it. Idempotent."""
        process, self._guardian = self._guardian, None
        if process is not None:
            guardian.stop(process, kill=kill)

    def leave(self) -> None:
        """Let it go on to the session's end. Idempotent."""
        process, self._guardian = self._guardian, None
        if process is not None:
            guardian.leave(process)

    def restart(self, *, kill: bool = False) -> None:
        """Stop it and start it again."""
        self.stop(kill=kill)
        self.start()

    def freeze(self) -> None:
        """Have it hang with its connections open, or go on again."""
        if self._guardian is not None:
            guardian.freeze(self._guardian)
