"""An enricher in a process of its own that dies at a chosen moment, for `test_exactly_once`.

Run as `python -m tests.enricher.victim LOG START MOMENT COUNT`: kills itself at the COUNT-th
transaction, `before` its commit with everything produced, or `after` it.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import prometheus_client

from bus import embedded_producing
from bus.embedded import EmbeddedLog
from enricher import app, session
from enricher.settings import EnricherSettings
from runtime.clock import Clock
from tests.enricher import builders

FASTER = 30
"""So many seconds pass in one: retries and leases take as long as they take."""
LEASE_SECONDS = 15.0


def fast_clock(start: float) -> Clock:
    """Return a clock that all processes share: the capture's end at `start`, then fast."""
    return Clock(
        now=lambda: builders.CAPTURE_END + (time.time() - start) * FASTER,
        monotonic=lambda: time.monotonic() * FASTER,
    )


def open_log(path: Path, start: float) -> EmbeddedLog:
    """Open the log that victims and survivors share."""
    return EmbeddedLog(path, time=fast_clock(start), lease_seconds=LEASE_SECONDS)


def dying(moment: str, count: int) -> None:
    """Have this process killed at a transaction."""
    original = embedded_producing.Producer.transaction
    left = count

    @contextlib.contextmanager
    def transaction(
        self: embedded_producing.Producer,
    ) -> Iterator[embedded_producing.Transaction]:
        nonlocal left
        left -= 1
        with original(self) as inner:
            yield inner
            if moment == "before" and left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        if moment == "after" and left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    embedded_producing.Producer.transaction = transaction  # type: ignore[method-assign]


def enrich(path: Path, start: float, stop: threading.Event) -> None:
    """Run an enricher with small batches until the event is set."""
    session.POLL_RECORDS = 4  # type: ignore[misc]
    log = open_log(path, start)
    built = app.build(
        EnricherSettings(batch_seconds=0.000_001),
        log=log,
        clock=fast_clock(start),
        registry=prometheus_client.CollectorRegistry(),
    )
    built.stop = stop
    built.serve()
    log.close()


if __name__ == "__main__":
    dying(sys.argv[3], int(sys.argv[4]))
    enrich(Path(sys.argv[1]), float(sys.argv[2]), threading.Event())
