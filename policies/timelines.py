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
"""How far a clock and the spreading of a policy through a cluster may be off, in seconds."""

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

    __slots__ = ("_compile", "_compiled", "_last", "_newest", "_starts", "settled_after")

    settled_after: float
    """From this time on exactly one version is in force, within the default tolerance."""

    def __init__(
        self, changes: Iterable[float], compile_at: Callable[[float], SubjectPolicy]
    ) -> None:
        self._starts: Sequence[float] = (FOREVER, *sorted(set(changes)))
        self._compiled: dict[int, SubjectPolicy] = {}
        self._compile = compile_at
        self._last = self._starts[-1]
        self._newest: tuple[SubjectPolicy, ...] = ()
        self.settled_after = self._last + DEFAULT_TOLERANCE

    def in_force(
        self, at: float, tolerance: float = DEFAULT_TOLERANCE
    ) -> tuple[SubjectPolicy, ...]:
        """The version in force at that time, then those within the tolerance, nearest first."""
        if at - tolerance >= self._last:
            if not self._newest:
                self._newest = (self._version(len(self._starts) - 1),)
            return self._newest
        starts = self._starts
        now = bisect_right(starts, at) - 1
        distances: list[tuple[float, int]] = [(-1.0, now)]
        earliest = bisect_right(starts, at - tolerance) - 1
        latest = bisect_right(starts, at + tolerance)
        distances += [(at - starts[index + 1], index) for index in range(earliest, now)]
        distances += [(starts[index] - at, index) for index in range(now + 1, latest)]
        return tuple(dict.fromkeys(self._version(index) for _, index in sorted(distances)))

    @property
    def newest(self) -> SubjectPolicy:
        """The version that holds now."""
        return self._version(len(self._starts) - 1)

    def _version(self, index: int) -> SubjectPolicy:
        found = self._compiled.get(index)
        if found is None:
            found = self._compiled[index] = self._compile(self._starts[index])
        return found
