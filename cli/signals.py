"""What a process does when it is told to stop: it sets an event, and the loop that sees it ends."""

import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stopping(stop: threading.Event, *, again: Callable[[], None] | None = None) -> None:
    """Set `stop` on SIGINT, SIGTERM and SIGHUP; call `again` when one comes once more.

    Both happen on a thread. A handler runs in the midst of whatever the main thread does, and may
    wait for no lock: an event that the main thread waits for has one, and it may just hold it.

    A shell has what it starts in the background ignore SIGINT; whoever sends it all the same means
    it. SIGHUP stays ignored where it was: that is what nohup is for.
    """
    # Of all queues this one may be put into by a handler.
    heard: queue.SimpleQueue[int] = queue.SimpleQueue()

    def handle(number: int, _frame: FrameType | None) -> None:
        heard.put(number)

    def listen() -> None:
        while heard.get():
            if stop.is_set() and again is not None:
                again()
            stop.set()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in SIGNALS:
        signal.signal(number, handle)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)
