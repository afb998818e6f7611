"""A thread that does one job until it is told to stop, and whose death is noticed."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Worker:
    """A part of the stage: `work` loops on its own thread until the event is set."""

    name: str
    work: Callable[[threading.Event], None]
    died: threading.Event
    """Set when any worker ends by itself."""
    error: BaseException | None = field(init=False, default=None)
    _stop: threading.Event = field(init=False, default_factory=threading.Event)
    _thread: threading.Thread | None = field(init=False, default=None)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask it to stop, and wait. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def check(self) -> None:
        """Raise what ended the thread, if it ended by itself."""
        if self.error is not None:
            raise self.error

    def problem(self) -> str | None:
        """Return what is wrong with it, for the health checks."""
        if self._thread is None or not self._thread.is_alive():
            return f"{self.name} does not run"
        return None

    def _run(self) -> None:
        try:
            self.work(self._stop)
        except BaseException as error:  # noqa: BLE001 - raised by whoever supervises
            self.error = error
        else:
            if not self._stop.is_set():
                self.error = RuntimeError(f"{self.name} ended by itself")
        if self.error is not None:
            self.died.set()
