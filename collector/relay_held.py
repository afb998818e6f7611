"""What a standby received: the last minute of it, memory permitting, for when it takes over."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

HELD_SECONDS = 60.0
"""Longer than a takeover lasts."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    at: float
    raws: list[bytes]
    size: int


@dataclass(slots=True)
class Held:
    """Responses in the order received, at most about `limit` bytes."""

    limit: int
    size: int = 0
    """In bytes."""
    _chunks: deque[_Chunk] = field(default_factory=deque)

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def keep(self, raws: Sequence[bytes], *, at: float) -> None:
        """Add what was received at `at`, in monotonic seconds, and drop what is too old or much."""
        if raws:
            chunk = _Chunk(at, list(raws), sum(map(len, raws)))
            self._chunks.append(chunk)
            self.size += chunk.size
        while self._chunks and (self.size > self.limit or at - self._chunks[0].at > HELD_SECONDS):
            self.size -= self._chunks.popleft().size

    def take(self) -> list[bytes]:
        """Return the oldest piece of it."""
        chunk = self._chunks.popleft()
        self.size -= chunk.size
        return chunk.raws

    def clear(self) -> None:
        """Forget all of it."""
        self._chunks.clear()
        self.size = 0
