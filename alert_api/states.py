"""What may become of an alert, and what each change asks of the outside world.

Pure: statuses, counts and times come in, decisions go out. The statuses are GitLab's four, and
`pending` before them; resolved is final, since a further match opens a new alert.
"""

import bisect
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from schemas.messages import AlertStatus, StreamState

SECOND = 1_000_000
"""Times here are microseconds."""

OPEN = frozenset(
    {
        AlertStatus.PENDING,
        AlertStatus.TRIGGERED,
        AlertStatus.ACKNOWLEDGED,
        AlertStatus.IGNORED,
    }
)
"""While one of these holds, matches are counted on the alert and open no other."""

SETTABLE = (
    AlertStatus.TRIGGERED,
    AlertStatus.ACKNOWLEDGED,
    AlertStatus.RESOLVED,
    AlertStatus.IGNORED,
)
"""What a person may set: pending is the threshold's alone."""


WATCHING = frozenset({StreamState.LIVE, StreamState.CATCHING_UP})
"""In these no flow is missed, though some may come late."""


class Wanted(StrEnum):
    """How the alert should stand in GitLab."""

    NOTHING = "nothing"
    """It was never told, and is not to be told now."""
    OPEN = "open"
    QUIET = "quiet"
    """Told or not, say no more for now."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Interval:
    """Flows seen within one UTC minute: the first, the last (microseconds) and how many."""

    first: int
    last: int
    count: int


def allowed(status: AlertStatus) -> tuple[AlertStatus, ...]:
    """Return what a person may change `status` to."""
    if status is AlertStatus.RESOLVED:
        return ()
    return tuple(other for other in SETTABLE if other is not status)


def opening(*, met: bool) -> AlertStatus:
    """Return the status of an alert whose first matches came in."""
    return AlertStatus.TRIGGERED if met else AlertStatus.PENDING


def after_matches(status: AlertStatus, *, met: bool) -> AlertStatus:
    """Return the status of an open alert after more matches: only pending ones move."""
    return AlertStatus.TRIGGERED if status is AlertStatus.PENDING and met else status


def wanted(status: AlertStatus, *, before: Wanted, told: bool) -> Wanted:
    """Return how an alert of this status should stand in GitLab.

    `before` is what was wanted so far, `told` whether GitLab knows, or may know, of the alert. One
    that never triggered, or was ignored before GitLab heard of it, stays unknown there.
    """
    if status in {AlertStatus.TRIGGERED, AlertStatus.ACKNOWLEDGED}:
        return Wanted.OPEN
    if before is Wanted.NOTHING:
        return Wanted.NOTHING
    if status is AlertStatus.IGNORED:
        return Wanted.QUIET
    return Wanted.CLOSED if told or before is Wanted.OPEN else Wanted.NOTHING


def threshold_met(count: int, seconds: int, minutes: Iterable[Interval]) -> bool:
    """Return whether `count` flows may be said to have been stopped within `seconds`.

    What is known are counts a minute, with the first and the last flow in it. The flows between are
    taken as evenly spread, rounded up; a run of minutes that fits into the window counts whole. A
    window under a minute is taken as a minute: no finer count is kept.
    """
    seen = sorted(minutes, key=lambda minute: minute.first)
    sums = [0, *itertools.accumulate(minute.count for minute in seen)]
    if sums[-1] < count:
        return False
    window = max(seconds, 60) * SECOND
    starts = [minute.first for minute in seen] + [minute.last - window for minute in seen]
    firsts = [minute.first for minute in seen]
    lasts = [minute.last for minute in seen]
    for start in starts:
        end = start + window
        low = bisect.bisect_left(lasts, start)
        high = bisect.bisect_right(firsts, end)
        cut = sum(_outside(minute, start, end) for minute in {seen[low], seen[high - 1]})
        if sums[high] - sums[low] - cut >= count:
            return True
    return False


def _outside(minute: Interval, start: int, end: int) -> int:
    """Return how many flows of a minute lie beyond the window, rounded down."""
    beyond = max(0, start - minute.first) + max(0, minute.last - end)
    return minute.count * beyond // max(1, minute.last - minute.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How far, and since when, one part of a cluster's stream has been watched without a break."""

    state: StreamState
    flow_time: int | None
    """All flows up to here have been matched (microseconds)."""
    unbroken_since: int | None
    """No flow since then can have been missed; None where nothing is known yet."""


def observed(views: Iterable[View], *, now: int, lag: int) -> tuple[int, int] | None:
    """Return the interval up to now in which a cluster was watched, or None while it is not.

    Not watched is a cluster of which any part is blind, catching up or ended, has no known flow
    time, or is more than `lag` microseconds behind `now`.
    """
    since: list[int] = []
    until: list[int] = []
    for view in views:
        if view.state is not StreamState.LIVE:
            return None
        if view.flow_time is None or view.unbroken_since is None or now - view.flow_time > lag:
            return None
        since.append(view.unbroken_since)
        until.append(view.flow_time)
    if not until:
        return None
    return max(since), min(until)


def quiet_long_enough(*, last_seen: int, seconds: int, watched: tuple[int, int]) -> bool:
    """Return whether `seconds` of watching without a match have passed since `last_seen`."""
    since, until = watched
    return until - max(last_seen, since) >= seconds * SECOND


def advance(view: View | None, *, state: StreamState, flow_time: int | None) -> View:
    """Return a part's view after a progress message.

    Flow time never goes back. Coming out of blindness, and the first sight of all, start the
    unbroken time anew: what happened before was not seen.
    """
    if view is None:
        return View(state=state, flow_time=flow_time, unbroken_since=flow_time)
    reached = view.flow_time
    if flow_time is not None and (reached is None or flow_time > reached):
        reached = flow_time
    since = view.unbroken_since
    if since is None or not {state, view.state} <= WATCHING:
        since = reached
    return View(state=state, flow_time=reached, unbroken_since=since)


def broken(view: View, *, until: int) -> View:
    """Return a part's view after a gap: flows up to `until` may have been missed."""
    since = until if view.unbroken_since is None else max(view.unbroken_since, until)
    return View(state=view.state, flow_time=view.flow_time, unbroken_since=since)
