"""What of each node is known: the uuids of its newest flows, and how far it has been read.

A flow is a duplicate only if its uuid is known. Relay may at any moment replay a node from the
stream's first `since` on, up to a whole ring of it, so a window holds at least a ring's worth.
"""

from collections.abc import Iterator, Mapping

from collector import instants

DEFAULT_RING = 4095
"""Hubble's default; a node's true size comes from GetNodes."""
LARGEST_RING = 65535
SETTLED = 10 * instants.SECOND
"""What is so much older than a node's newest flow the stream has brought, or never will."""


class Window:
    """One node's. Plain attributes: the sieve reads them once or more a flow."""

    __slots__ = ("ahead", "known_by_time", "newest", "older", "recent", "ring")

    def __init__(self, *, ring: int = LARGEST_RING) -> None:
        self.recent: set[str] = set()
        self.older: set[str] = set()
        self.ahead: dict[str, int] = {}
        """Times in nanoseconds by uuid: written, but not yet brought by the stream."""
        self.ring = ring
        """How many uuids are held at least; up to twice as many are."""
        self.newest = 0
        """Nanoseconds: the time of the newest flow that the stream brought."""
        self.known_by_time = 0
        """Nanoseconds: what is not younger was read before the uuids that are known here."""

    def knows(self, key: str) -> bool:
        """Return whether the stream has brought this uuid."""
        return key in self.recent or key in self.older

    def turn(self) -> None:
        """Drop the older half once the younger one holds a whole ring."""
        if len(self.recent) > self.ring:
            self.older, self.recent = self.recent, set()

    def settle(self, margin: int = SETTLED) -> None:
        """Wait no longer for what the stream must have brought by now; its uuid stays known."""
        passed = [key for key, time in self.ahead.items() if time <= self.newest - margin]
        for key in passed:
            del self.ahead[key]
            self.recent.add(key)


class Windows:
    """All nodes' windows, by node name."""

    def __init__(self) -> None:
        self.by_node: dict[str, Window] = {}
        self._rings: dict[str, int] = {}

    def __iter__(self) -> Iterator[tuple[str, Window]]:
        return iter(self.by_node.items())

    def of(self, node: str) -> Window:
        """Return a node's window, made when first asked for."""
        window = self.by_node.get(node)
        if window is None:
            window = self.by_node[node] = Window(ring=self._rings.get(node, LARGEST_RING))
        return window

    def size(self, node: str, ring: int) -> None:
        """Take over a ring's size as the cluster tells it."""
        self._rings[node] = min(max(ring, 1), LARGEST_RING)
        if node in self.by_node:
            self.by_node[node].ring = self._rings[node]

    def newest(self) -> dict[str, int]:
        """Return how far each node has been read. May be called from any thread."""
        return {node: window.newest for node, window in list(self.by_node.items())}

    def ahead(self) -> Mapping[str, frozenset[str]]:
        """Return the uuids that the stream has yet to bring, by node."""
        return {node: frozenset(window.ahead) for node, window in self if window.ahead}

    def forget(self, node: str) -> None:
        """Drop what is known of a node that left the cluster."""
        self.by_node.pop(node, None)
        self._rings.pop(node, None)
