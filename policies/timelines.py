"""Versions in time: what held when, and what a subject's policy was at a moment.

Times are unix seconds; `FOREVER` stands for a version that has always held.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from policies.subjects import SubjectPolicy

FOREVER: Final = float("-inf")
DEFAULT_TOLERANCE: Final = 5.0
"""How far clocks may be off, in seconds."""
ENFORCEMENT_LAG: Final = 60.0
"""How long, in seconds, a busy node may go on enforcing what a newer version has replaced."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class History(Generic[T]):
    """The versions of one object, oldest first; None: it did not exist from then on."""

    versions: tuple[tuple[float, T | None], ...] = ()

    def at(self, time: float) -> T | None:
        """The version that held then."""
        for since, value in reversed(self.versions):
            if since <= time:
                return value
        return None

    @property
    def newest(self) -> T | None:
        """The version that holds now."""
        return self.versions[-1][1] if self.versions else None

    def put(self, since: float | None, value: T | None) -> "History[T]":
        """With a version from `since` on; what was known to hold later is forgotten."""
        if since is None:
            return History(((FOREVER, value),))
        kept = tuple(version for version in self.versions if version[0] < since)
        if (kept[-1][1] if kept else None) == value:
            return History(kept)
        return History((*kept, (since, value)))

    def after(self, time: float) -> "History[T]":
        """Without what had ceased to hold before that time."""
        first = 0
        for index, (since, _) in enumerate(self.versions):
            if since <= time:
                first = index
        kept = self.versions[first:]
        if kept and kept[0][1] is None:
            kept = kept[1:]
        return self if len(kept) == len(self.versions) else History(kept)

    def values(self) -> Iterable[T]:
        """Every version that is one."""
        return (value for _, value in self.versions if value is not None)

    def changes(self) -> Iterable[float]:
        """When it changed."""
        return (since for since, _ in self.versions if since != FOREVER)


class SubjectTimeline:
    """One subject's policies over time; compiled when first asked for."""

    __slots__ = (
        "_compile",
        "_compiled",
        "_edges",
        "_last",
        "_newest",
        "_starts",
        "settled_after",
        "superseded",
    )

    settled_after: float
    """From this time on exactly one version can be in force."""
    superseded: bool
    """Whether the repository has another one for this subject by now, or none."""

    def __init__(
        self, changes: Iterable[float], compile_at: Callable[[float], SubjectPolicy]
    ) -> None:
        self._starts: Sequence[float] = (FOREVER, *sorted(set(changes)))
        self._compiled: dict[int, SubjectPolicy] = {}
        self._compile = compile_at
        self._last = self._starts[-1]
        self._edges: Sequence[float] | None = None
        self._newest: tuple[SubjectPolicy, ...] = ()
        self.settled_after = self._last + ENFORCEMENT_LAG
        self.superseded = False

    def in_force(
        self,
        at: float,
        *,
        tolerance: float = DEFAULT_TOLERANCE,
        lag: float = ENFORCEMENT_LAG,
    ) -> tuple[SubjectPolicy, ...]:
        """The version of that time, then those that a node may have enforced, nearest first.

        No node enforces a version much before it is made, but one may follow late.
        """
        if at - lag >= self._last:
            if not self._newest:
                self._newest = (self._version(len(self._starts) - 1),)
            return self._newest
        starts = self._starts
        now = bisect_right(starts, at) - 1
        distances: list[tuple[float, int]] = [(-1.0, now)]
        earliest = bisect_right(starts, at - lag) - 1
        latest = bisect_right(starts, at + tolerance)
        distances += [(at - starts[index + 1], index) for index in range(earliest, now)]
        distances += [(starts[index] - at, index) for index in range(now + 1, latest)]
        return tuple(dict.fromkeys(self._version(index) for _, index in sorted(distances)))

    def steady(self, at: float) -> tuple[float, float]:
        """From when until before when `in_force` says the same as at that time, in that order."""
        if self._edges is None:
            self._edges = _edges(self._starts[1:])
        following = bisect_right(self._edges, at)
        return (
            self._edges[following - 1] if following else float("-inf"),
            self._edges[following] if following < len(self._edges) else float("inf"),
        )

    @property
    def newest(self) -> SubjectPolicy:
        """The version that holds now."""
        return self._version(len(self._starts) - 1)

    def _version(self, index: int) -> SubjectPolicy:
        found = self._compiled.get(index)
        if found is None:
            found = self._compiled[index] = self._compile(self._starts[index])
        return found


def _edges(changes: Sequence[float]) -> Sequence[float]:
    """When the answer of `in_force` changes: versions come and go, and pass each other in nearness.

    Only changes so near to each other that versions of before one and after the other may hold at
    once can pass each other.
    """
    found = {
        edge
        for change in changes
        for edge in (change - DEFAULT_TOLERANCE, change, change + ENFORCEMENT_LAG)
    }
    for index, change in enumerate(changes):
        for later in changes[index + 1 :]:
            if later - change > DEFAULT_TOLERANCE + ENFORCEMENT_LAG:
                break
            found.add((change + later) / 2)
    return sorted(found)
