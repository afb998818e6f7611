"""The heaviest ports and peers of an alert, in bounded room: the space-saving algorithm.

A. Metwally, D. Agrawal, A. El Abbadi, "Efficient computation of frequent and top-k elements in data
streams", 2005. Pure. Exact as long as no more keys come than there is room for; beyond that a count
is a lower bound, and what is heavy stays in whatever the order.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ROOM = 64
"""Keys kept an alert."""


@dataclass(slots=True)
class Counters:
    """At most `ROOM` keys with their counts, of which `error` may belong to keys no longer kept."""

    counts: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def add(self, seen: Mapping[str, int]) -> None:
        """Count what was seen; a new key takes the place of the lightest where room is out."""
        counts = self.counts
        fresh: list[tuple[int, str]] = []
        for key, count in seen.items():
            if key in counts:
                counts[key] += count
            else:
                fresh.append((count, key))
        spare = ROOM - len(counts)
        if len(fresh) > spare:
            fresh.sort(reverse=True)
        for count, key in fresh[:spare]:
            counts[key] = count
        if len(fresh) <= spare:
            return
        lightest = [(count, key) for key, count in counts.items()]
        heapq.heapify(lightest)
        for count, key in fresh[spare:]:
            least, evicted = lightest[0]
            del counts[evicted]
            self.errors.pop(evicted, None)
            counts[key] = least + count
            self.errors[key] = least
            heapq.heapreplace(lightest, (least + count, key))

    def known(self) -> list[tuple[str, int]]:
        """Return keys and how many were certainly seen of each, heaviest first."""
        certain = [(key, count - self.errors.get(key, 0)) for key, count in self.counts.items()]
        return sorted(certain, key=lambda entry: (-entry[1], entry[0]))

    def rows(self) -> list[list[str | int]]:
        """Return what `load` takes back."""
        return [[key, count, self.errors.get(key, 0)] for key, count in self.counts.items()]


def load(rows: Iterable[tuple[str, int, int]]) -> Counters:
    """Return counters from `Counters.rows`."""
    loaded = Counters()
    for key, count, error in rows:
        loaded.counts[key] = count
        if error:
            loaded.errors[key] = error
    return loaded
