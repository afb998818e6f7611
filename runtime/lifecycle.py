"""Starting parts in order, running until told to stop, stopping them in reverse.

A stage is one `App`: parts (servers, threads, connections) and one `run` that loops on the calling
thread. Only the stop event crosses threads. Closing is bounded: what does not close in time is
named in the log and left to the end of the process.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

log = structlog.get_logger()

CLOSE_SECONDS = 10.0


class Part(Protocol):
    """Something that is started before the run and closed after it."""

    def start(self) -> None:
        """Come up, or raise; must not block for long."""

    def close(self) -> None:
        """Go down. Idempotent."""


@dataclass(slots=True, kw_only=True)
class App:
    """One stage, built and not yet started."""

    name: str
    run: Callable[[threading.Event], None]
    """Loops until the event is set, then returns; an exception ends the process."""
    parts: tuple[Part, ...] = ()
    """Started in this order before the run, closed in reverse after it."""
    closing: tuple[Callable[[], None], ...] = ()
    """What was opened while building, closed in reverse at the very end."""
    stop: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> None:
        """Start the parts, run, and close whatever was started, also after an error."""
        started: list[Part] = []
        try:
            for part in self.parts:
                part.start()
                started.append(part)
            log.info("started", stage=self.name)
            self.run(self.stop)
        finally:
            closers = [*self.closing, *(part.close for part in started)]
            for closer in reversed(closers):
                close_bounded(closer, seconds=CLOSE_SECONDS)
            log.info("stopped", stage=self.name)


def close_bounded(closer: Callable[[], None], *, seconds: float) -> bool:
    """Call `closer` on a thread and wait `seconds`; return whether it came back.

    An exception of the closer is logged, never raised: the other parts still have to close.
    """
    name = getattr(closer, "__qualname__", repr(closer))

    def call() -> None:
        try:
            closer()
        except Exception:
            log.exception("closing failed", part=name)

    thread = threading.Thread(target=call, name=f"close {name}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        log.error("closing took too long", part=name, seconds=seconds)
        return False
    return True
