"""A bounded cache of two generations, made so that a hit costs one dict lookup.

Hot loops read `young` themselves; only on a miss do they call `find`. It must never forget while
somebody counts on an entry: values stay valid after they left, they are just not found again.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Generations(Generic[Key, Value]):
    """At most twice `size` entries; what was not used for a whole generation is forgotten."""

    __slots__ = ("_old", "_size", "young")

    young: dict[Key, Value]
    """The entries used since the last turn: the same dict object for ever."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("a cache needs room for at least one entry")
        self.young = {}
        self._old: dict[Key, Value] = {}
        self._size = size

    def find(self, key: Key) -> Value | None:
        """Return the entry, which then counts as used."""
        value = self.young.get(key)
        return self.recall(key) if value is None else value

    def recall(self, key: Key) -> Value | None:
        """Return an entry that is known not to be in `young`; it then counts as used."""
        value = self._old.get(key)
        if value is not None:
            self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Keep an entry, forgetting the older generation if the younger one is full."""
        if len(self.young) >= self._size:
            self._old = self.young.copy()
            self.young.clear()
        self.young[key] = value

    def retain(self, keep: Callable[[Value], bool]) -> None:
        """Forget the entries for whose value `keep` says no."""
        for generation in (self.young, self._old):
            for key in [key for key, value in generation.items() if not keep(value)]:
                del generation[key]

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())
