"""What a process does when it is told to stop: it sets an event, and the loop that sees it ends."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stopping(stop: threading.Event, *, again: Callable[[], None] | None = None) -> None:
    """Set `stop` on SIGINT and SIGTERM; call `again` when one comes once more."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and again is not None:
            again()
        stop.set()

    for number in SIGNALS:
        signal.signal(number, handle)
