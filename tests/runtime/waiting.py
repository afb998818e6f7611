"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

import threading
import time
from collections.abc import Callable

STEP = 0.02


def eventually(condition: Callable[[], object], *, seconds: float = 20.0) -> object:
    """Return the first true value of `condition`; fail when the time is up."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {seconds} s: {condition}")
        pause.wait(STEP)
