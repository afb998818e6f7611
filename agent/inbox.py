"""Between the threads that listen to the API server and the one that publishes.

Bounded by what the items weigh: while nothing can be published, whoever puts has to wait, and the
API server keeps the rest.
"""

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

LIMIT = 500


class Inbox(Generic[Item]):
    """Put by many threads, taken by one."""

    def __init__(self, limit: int = LIMIT) -> None:
        """Begin empty."""
        self._limit = limit
        self._changed = threading.Condition()
        self._items: deque[Item] = deque()
        self._weight = 0
        self._closed = False

    def put(self, item: Item, *, weight: int = 1) -> None:
        """Add an item, once there is room; the last one may go beyond the limit.

        Does nothing after `close`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._weight < self._limit)
            if not self._closed:
                self._items.append(item)
                self._weight += weight
                self._changed.notify_all()

    def take(self, *, timeout: float) -> list[Item]:
        """Return all there is, in order, waiting at most `timeout` seconds for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._items, timeout)
            found = list(self._items)
            self._items.clear()
            self._weight = 0
            self._changed.notify_all()
            return found

    def close(self) -> None:
        """Let go of all items, and of those who wait to put one."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
