"""The state machine, and what counts as observed."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alert_api import states
from alert_api.states import Interval, View, Wanted
from schemas.messages import AlertStatus, StreamState

S = states.SECOND
LIVE, BLIND = StreamState.LIVE, StreamState.BLIND
STATUS = st.sampled_from(list(AlertStatus))


def test_resolved_is_final() -> None:
    """A further match opens a new alert instead."""
    assert states.allowed(AlertStatus.RESOLVED) == ()
    assert AlertStatus.RESOLVED not in states.OPEN


@given(STATUS)
def test_nobody_can_set_pending_or_what_already_is(status: AlertStatus) -> None:
    """Pending is the threshold's alone."""
    assert AlertStatus.PENDING not in states.allowed(status)
    assert status not in states.allowed(status)


@given(STATUS, st.booleans())
def test_matches_move_only_pending_alerts(status: AlertStatus, met: bool) -> None:
    """A person's word stands, whatever comes in."""
    after = states.after_matches(status, met=met)
    if status is AlertStatus.PENDING and met:
        assert after is AlertStatus.TRIGGERED
    else:
        assert after is status


def test_an_alert_opens_triggered_or_pending() -> None:
    """By whether its threshold is met."""
    assert states.opening(met=True) is AlertStatus.TRIGGERED
    assert states.opening(met=False) is AlertStatus.PENDING


@pytest.mark.parametrize(
    ("status", "before", "told", "after"),
    [
        ("triggered", "nothing", False, "open"),
        ("acknowledged", "nothing", False, "open"),
        ("triggered", "quiet", True, "open"),
        ("pending", "nothing", False, "nothing"),
        ("ignored", "nothing", False, "nothing"),
        ("ignored", "open", False, "quiet"),
        ("ignored", "open", True, "quiet"),
        ("resolved", "nothing", False, "nothing"),
        ("resolved", "open", False, "closed"),
        ("resolved", "open", True, "closed"),
        ("resolved", "quiet", True, "closed"),
        ("resolved", "quiet", False, "nothing"),
    ],
)
def test_how_an_alert_should_stand_in_gitlab(
    status: str, before: str, told: bool, after: str
) -> None:
    """What never triggered, or was ignored before GitLab heard of it, stays unknown there."""
    result = states.wanted(AlertStatus(status), before=Wanted(before), told=told)
    assert result is Wanted(after)


# Thresholds.


@pytest.mark.parametrize(
    ("count", "seconds", "minutes", "met"),
    [
        (1, 60, [], False),
        (1, 60, [(0, 0, 1)], True),
        (5, 60, [(58, 59, 3), (61, 62, 2)], True),  # a burst across the minute's end
        (5, 60, [(0, 40, 3), (60, 100, 3)], False),  # a trickle of three a minute
        (5, 60, [(0, 0, 3), (61, 61, 2)], False),  # 61 seconds apart
        (5, 60, [(0, 0, 3), (60, 60, 2)], True),  # just within
        (5, 10, [(0, 50, 6)], True),  # no finer than a minute
        (9, 120, [(0, 59, 3), (60, 119, 3), (120, 179, 3)], False),
        (6, 120, [(0, 59, 3), (60, 119, 3), (120, 179, 3)], True),
        (100, 3600, [(60 * n, 60 * n + 59, 1) for n in range(100)], False),
    ],
)
def test_thresholds(
    count: int, seconds: int, minutes: list[tuple[int, int, int]], met: bool
) -> None:
    """Counts of minutes, the flows in a cut minute by their share."""
    seen = [Interval(first * S, last * S, n) for first, last, n in minutes]
    assert states.threshold_met(count, seconds, seen) is met


def _minutes(flows: list[int]) -> list[Interval]:
    """Return the minutes of flows, given in seconds."""
    found = []
    for _, group in itertools.groupby(sorted(flows), key=lambda second: second // 60):
        within = list(group)
        found.append(Interval(within[0] * S, within[-1] * S, len(within)))
    return found


FLOWS = st.lists(st.integers(0, 600), max_size=40)


@given(FLOWS, st.integers(1, 10), st.integers(1, 300))
def test_a_threshold_is_never_met_by_fewer_flows(
    flows: list[int], count: int, seconds: int
) -> None:
    """All flows together are the most that any window can hold."""
    if states.threshold_met(count, seconds, _minutes(flows)):
        assert len(flows) >= count


@given(FLOWS, st.integers(1, 10), st.integers(60, 300))
def test_flows_that_all_fit_into_the_window_always_count(
    flows: list[int], count: int, seconds: int
) -> None:
    """What lies within one window as a whole is no matter of shares."""
    if flows and max(flows) - min(flows) <= seconds and len(flows) >= count:
        assert states.threshold_met(count, seconds, _minutes(flows))


@given(FLOWS, st.integers(1, 10), st.integers(1, 300))
def test_a_lower_threshold_is_met_whenever_a_higher_one_is(
    flows: list[int], count: int, seconds: int
) -> None:
    """Asking for less never asks for more."""
    if states.threshold_met(count + 1, seconds, _minutes(flows)):
        assert states.threshold_met(count, seconds, _minutes(flows))


# Observed time.


def view(state: StreamState = LIVE, flow_time: int | None = 100, since: int | None = 0) -> View:
    return View(state=state, flow_time=flow_time, unbroken_since=since)


def test_a_cluster_is_watched_from_its_last_break_to_its_slowest_part() -> None:
    """Of several parts the worst counts."""
    views = [view(flow_time=100, since=10), view(flow_time=90, since=20)]
    assert states.observed(views, now=110, lag=30) == (20, 90)


@pytest.mark.parametrize(
    "bad",
    [
        view(BLIND),
        view(StreamState.CATCHING_UP),
        view(StreamState.ENDED),
        view(flow_time=None),
        view(since=None),
        view(flow_time=79),
    ],
)
def test_a_cluster_with_any_bad_part_is_not_watched(bad: View) -> None:
    """Blind, catching up, ended, unknown or lagging."""
    assert states.observed([view(), bad], now=110, lag=30) is None


def test_a_cluster_nobody_spoke_of_is_not_watched() -> None:
    """No parts, no watching."""
    assert states.observed([], now=0, lag=0) is None


def test_quiet_counts_from_the_last_match_or_the_last_break() -> None:
    """Whichever is later."""
    quiet = states.quiet_long_enough
    assert quiet(last_seen=0, seconds=10, watched=(0, 10 * S))
    assert not quiet(last_seen=1, seconds=10, watched=(0, 10 * S))
    assert not quiet(last_seen=0, seconds=10, watched=(1, 10 * S))


def test_the_first_sight_of_a_part_starts_its_unbroken_time() -> None:
    """What was before is not known."""
    assert states.advance(None, state=LIVE, flow_time=5) == view(flow_time=5, since=5)
    empty = states.advance(None, state=LIVE, flow_time=None)
    assert empty == view(flow_time=None, since=None)
    assert states.advance(empty, state=LIVE, flow_time=7) == view(flow_time=7, since=7)


def test_flow_time_never_goes_back() -> None:
    """A late message changes the state at most."""
    after = states.advance(view(), state=StreamState.CATCHING_UP, flow_time=50)
    assert after == view(StreamState.CATCHING_UP)
    assert states.advance(view(), state=LIVE, flow_time=None) == view()


@pytest.mark.parametrize("state", [BLIND, StreamState.ENDED])
def test_coming_out_of_blindness_starts_unbroken_time_anew(state: StreamState) -> None:
    """The time in between was not watched."""
    blind = states.advance(view(), state=state, flow_time=110)
    assert blind.unbroken_since == 110
    back = states.advance(blind, state=LIVE, flow_time=500)
    assert back == view(flow_time=500, since=500)
    assert states.advance(back, state=LIVE, flow_time=600).unbroken_since == 500


def test_catching_up_misses_nothing() -> None:
    """Flows come late then, but they come."""
    late = states.advance(view(), state=StreamState.CATCHING_UP, flow_time=200)
    assert states.advance(late, state=LIVE, flow_time=300).unbroken_since == 0


def test_a_gap_breaks_what_was_unbroken() -> None:
    """Up to its end, and never to an earlier moment than before."""
    assert states.broken(view(since=5), until=9).unbroken_since == 9
    assert states.broken(view(since=9), until=5).unbroken_since == 9
    assert states.broken(view(since=None), until=5).unbroken_since == 5
