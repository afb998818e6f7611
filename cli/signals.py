"""What a process does when it is told to stop: it sets an event, and the loop that sees it ends."""

import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stopping(stop: threading.Event, *, again: Callable[[], None] | None = None) -> None:
    """Set `stop` on SIGINT, SIGTERM and SIGHUP; call `again` when one comes once more.

    What was ignored when this process began stays so: that is what nohup is for.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and again is not None:
            again()
        stop.set()

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)
