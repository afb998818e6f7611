"""Time as a value that is handed in, so that a test can move it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """Two readings: `now` for people and records, `monotonic` for waiting."""

    now: Callable[[], float] = time.time
    """Seconds since the epoch, UTC."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds since some start; never goes back."""

    def utc(self) -> datetime:
        """Return `now` as an aware datetime."""
        return datetime.fromtimestamp(self.now(), tz=UTC)


SYSTEM = Clock()
