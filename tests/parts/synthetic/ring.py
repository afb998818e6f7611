"""The ring in which a node keeps its newest events, by the rules of Hubble's own.

The arithmetic is that of Cilium 1.19 (pkg/hubble/container), with its consequences, which clients
meet: the newest event cannot be read until the next one is written; a reader that is overrun is
told of each event that it missed; and a reader that starts at an empty ring sees nothing until the
ring has been filled once. One thread writes, any number reads.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Event = TypeVar("Event")


@dataclass(frozen=True, slots=True)
class Chunk(Generic[Event]):
    """What a reader got: `lost` events that were overwritten, then `events`, then `position`."""

    lost: int
    events: Sequence[Event]
    position: int


class Ring(Generic[Event]):
    """A ring of `capacity` readable events, which must be a power of two less one."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1 or capacity > 65535 or capacity & (capacity + 1):
            raise ValueError(f"a ring holds 1, 3, 7, … 65535 events, not {capacity}")
        self.capacity = capacity
        self._size = capacity + 1
        self._slots: list[Event | None] = [None] * self._size
        self._written = 0
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Return how many events it holds, the unreadable newest one included."""
        return self.capacity if self._written >= self._size else self._written

    def write(self, events: Sequence[Event]) -> None:
        """Append events, and wake readers once."""
        for event in events:
            # Counted first: what it overwrites is then out of reach, and it is not yet in it.
            self._written += 1
            self._slots[(self._written - 1) & self.capacity] = event
        self.wake()

    def wake(self) -> None:
        """Let waiting readers look again, for whatever reason."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, position: int, seconds: float) -> None:
        """Wait until something may be read at `position`, or someone calls `wake`, or for long."""
        with self._changed:
            if not self._readable(position):
                self._changed.wait(seconds)

    def newest(self) -> int:
        """Return the position of the newest event that can be read; negative where none can."""
        return self._written - 2

    def oldest(self) -> int:
        """Return the position from which the whole ring is read."""
        return self._written - self._size if self._written > self._size else 0

    def look(self, position: int) -> Event | None:
        """Return the event there. None: it is overwritten, or was never there."""
        last = self._written - 1
        event = self._slots[position & self.capacity]
        return event if last - self._size < position < last else None

    def read(self, position: int, *, at_most: int) -> Chunk[Event]:
        """Read on from a position; an empty chunk says that there is nothing yet."""
        last = self._written - 1
        if self._slots[position & self.capacity] is None:
            return Chunk(0, (), position)
        lost = 0
        if position <= last - self._size:
            start = last - self._size + 1
            lost, position = start - position, start
            if self._slots[position & self.capacity] is None:
                return Chunk(lost, (), position)
        end = min(last, position + at_most)
        slots = [self._slots[index & self.capacity] for index in range(position, end)]
        # What the writer overtook meanwhile is a later event than the one wanted.
        overtaken = min(max(self._written - self._size - position, 0), len(slots))
        events = [event for event in slots[overtaken:] if event is not None]
        return Chunk(lost + overtaken, events, max(position, end))

    def _readable(self, position: int) -> bool:
        return self._slots[position & self.capacity] is not None and position < self._written - 1
