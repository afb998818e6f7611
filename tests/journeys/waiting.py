"""Waiting for a condition, with a deadline and a word of what was waited for."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def until(
    look: Callable[[], Value], *, what: str, seconds: float = 30.0, every: float = 0.1
) -> Value:
    """Return the first true answer of `look`. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(every)
    return answer


def for_seconds(seconds: float, *, check: Callable[[], None]) -> None:
    """Let a load run for so long, checking all the while that nothing broke."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check()
        time.sleep(0.2)
