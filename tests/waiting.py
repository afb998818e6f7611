"""Waiting for a condition, with a deadline and a word of what was waited for.

The one place where a test or a benchmark lets time pass.
"""

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def until(
    look: Callable[[], Value],
    *,
    what: str = "",
    seconds: float = 60.0,
    every: float = 0.02,
    despite: tuple[type[Exception], ...] = (),
) -> Value:
    """Return the first true answer of `look`; an exception of `despite` is as good as none.

    Raises AssertionError after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(*despite):
            if answer := look():
                return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or look}: not within {seconds} s")
        time.sleep(every)


def for_seconds(seconds: float, *, check: Callable[[], None]) -> None:
    """Let a load run for so long, checking all the while that nothing broke."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check()
        time.sleep(0.2)
