"""What a process does when it is told to stop: it sets an event, and the loop that sees it ends."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stopping(stop: threading.Event, *, again: Callable[[], None] | None = None) -> None:
    """Set `stop` on SIGINT, SIGTERM and SIGHUP; call `again` when one comes once more.

    A shell has what it starts in the background ignore SIGINT; whoever sends it all the same means
    it. SIGHUP stays ignored where it was: that is what nohup is for.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and again is not None:
            again()
        stop.set()

    for number in SIGNALS:
        signal.signal(number, handle)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)
