"""The gap test by itself: what is proved, what is not, and when it is told."""

import pytest

from collector import continuity
from collector.continuity import Continuity, Gap, Newest, Reason

S = 1_000_000_000
NODE = "demo/n1"


def read_until(time: int, **others: int) -> Continuity:
    known = Continuity()
    known.read({NODE: time, **others}, at=0.0)
    return known


def decided(known: Continuity, *, at: float, newest: int = 0) -> list[Gap]:
    return known.gaps({NODE: newest}, at=at, now=1000 * S)


def test_nothing_is_suspected_without_an_interruption():
    """Flows come and go, and no gap is ever told."""
    known = read_until(10 * S)
    known.read({NODE: 500 * S}, at=1.0)
    assert decided(known, at=100.0) == []
    assert known.seen_until == {NODE: 500 * S}


def test_a_replayed_flow_from_before_the_interruption_clears_it():
    """The ring still holds what was known, so it holds what came after."""
    known = read_until(10 * S)
    known.interrupted({}, at=1.0)
    known.replayed({NODE: (10 * S, 10 * S)}, at=1.5)
    known.looked({NODE: 90 * S}, asked=2.0, at=2.0)
    assert decided(known, at=60.0) == []


def test_a_replayed_flow_from_after_it_proves_nothing():
    """Two streams that overlap bring the same flows twice."""
    known = read_until(10 * S)
    known.interrupted({}, at=1.0)
    known.replayed({NODE: (50 * S, 50 * S)}, at=1.5)
    known.looked({NODE: 40 * S}, asked=2.0, at=2.0)
    assert decided(known, at=60.0) == [Gap(NODE, 10 * S, 40 * S, Reason.RING_OVERRUN)]


def test_an_old_enough_ring_clears_it():
    """Its oldest flow of any kind was there before the interruption."""
    known = read_until(10 * S)
    known.interrupted({}, at=1.0)
    known.looked({NODE: 10 * S}, asked=2.0, at=2.0)
    assert decided(known, at=2.0, newest=30 * S) == []
    assert known.seen_until == {NODE: 30 * S}
    assert not known.wants_oldest


def test_a_look_from_before_the_stream_was_attached_says_nothing():
    """The ring may have gone on in between."""
    known = read_until(10 * S)
    known.interrupted({}, at=1.0)
    known.looked({NODE: 5 * S}, asked=1.1, at=1.2)
    assert known.wants_oldest


def test_a_gap_waits_for_a_proof_that_may_still_come():
    """Some seconds, and as long as responses wait to be looked at."""
    known = read_until(10 * S)
    known.interrupted({}, at=1.0)
    known.looked({NODE: 40 * S}, asked=2.0, at=2.0)
    assert decided(known, at=2.0 + continuity.GRACE_SECONDS / 2) == []
    assert known.gaps({NODE: 0}, at=60.0, now=0, behind=True) == []
    known.replayed({NODE: (9 * S, 9 * S)}, at=60.0)
    assert decided(known, at=61.0) == []


def test_a_suspected_node_is_not_read_further_until_cleared():
    """A checkpoint of that time makes the next collector test again."""
    known = read_until(10 * S)
    known.interrupted({}, at=1.0)
    known.read({NODE: 50 * S}, at=2.0)
    assert known.seen_until == {NODE: 10 * S}


def test_a_second_interruption_keeps_the_first_ones_beginning():
    """What was not cleared is not forgotten."""
    known = read_until(10 * S)
    known.interrupted({}, at=1.0)
    known.read({NODE: 50 * S}, at=2.0)
    known.interrupted({}, at=3.0)
    known.looked({NODE: 45 * S}, asked=5.0, at=5.0)
    assert decided(known, at=60.0)[0].start == 10 * S


def test_what_was_read_behind_a_hole_does_not_close_it():
    """A standby read on; only the replay that gets as far has brought what lies between."""
    known = read_until(10 * S)
    known.interrupted({NODE: 50 * S}, at=1.0)
    known.looked({NODE: 5 * S}, asked=2.0, at=2.0)
    known.replayed({NODE: (10 * S, 30 * S)}, at=2.5)
    assert decided(known, at=2.5, newest=60 * S) == []
    assert known.suspected == {NODE}
    assert known.has_holes
    assert known.resume({NODE: 60 * S, "demo/n2": 7 * S}) == {NODE: 10 * S, "demo/n2": 7 * S}
    known.replayed({NODE: (31 * S, 50 * S)}, at=3.0)
    assert decided(known, at=3.0, newest=60 * S) == []
    assert known.suspected == frozenset()
    assert not known.has_holes
    assert known.resume({NODE: 60 * S}) == {NODE: 60 * S}


def test_a_hole_that_no_replay_closes_is_no_suspicion_for_ever():
    """The ring goes back far enough, and nothing of it comes any more."""
    known = read_until(10 * S)
    known.interrupted({NODE: 50 * S}, at=1.0)
    known.looked({NODE: 5 * S}, asked=2.0, at=2.0)
    known.replayed({NODE: (20 * S, 30 * S)}, at=4.0)
    assert decided(known, at=4.0 + continuity.GRACE_SECONDS / 2) == []
    assert known.suspected == {NODE}
    assert decided(known, at=4.0 + continuity.GRACE_SECONDS, newest=60 * S) == []
    assert known.suspected == frozenset()


def test_what_the_retention_cuts_off_is_told_as_such():
    """The watermark lies further back than flows are asked for."""
    known = read_until(10 * S)
    known.interrupted({}, at=1.0, not_before=20 * S)
    known.looked({NODE: 25 * S}, asked=5.0, at=5.0)
    assert decided(known, at=60.0)[0].reason is Reason.RETENTION


def test_a_late_notice_looks_back_to_before_the_failure():
    """Flows that came since may already stand behind the gap."""
    known = Continuity()
    for second in range(20):
        known.read({NODE: (100 + second) * S}, at=float(second))
    known.failed([NODE], since=10.0, at=19.5)
    known.looked({NODE: 115 * S}, asked=30.0, at=30.0)
    (gap,) = decided(known, at=60.0)
    assert 100 * S <= gap.start < 110 * S
    assert (gap.until, gap.reason) == (115 * S, Reason.NODE_UNAVAILABLE)


def test_a_replay_after_the_failure_makes_a_late_notice_harmless():
    """The proof came before the news."""
    known = read_until(10 * S)
    known.replayed({NODE: (5 * S, 5 * S)}, at=12.0)
    known.failed([NODE], since=11.0, at=20.0)
    assert not known.wants_oldest


def test_a_node_is_away_until_its_ring_was_seen_again():
    """So that nobody takes its silence for quiet."""
    known = read_until(10 * S)
    known.failed([NODE], since=1.0, at=1.0)
    assert known.away == {NODE}
    known.listed({NODE: False}, at=2.0)
    known.looked({NODE: 5 * S}, asked=10.0, at=10.0)
    assert known.away == {NODE}
    known.listed({NODE: True}, at=11.0)
    known.looked({NODE: 5 * S}, asked=20.0, at=20.0)
    assert known.away == frozenset()


def test_a_node_that_left_the_cluster_takes_its_last_flows_along():
    """One gap, and then it is forgotten."""
    known = read_until(10 * S)
    known.interrupted({}, at=1.0)
    known.listed({"demo/other": True}, at=2.0)
    (gap,) = decided(known, at=2.0 + continuity.GONE_SECONDS)
    assert gap.reason is Reason.NODE_GONE
    assert known.seen_until == {}


def test_looks_move_a_quiet_node_on():
    """Its newest wanted flow is known, so nothing wanted is missing up to its newest of any kind."""
    known = read_until(10 * S)
    known.expect({NODE: 500 * S}, {NODE: Newest("u", 10 * S)}, asked=1.0)
    assert known.confirm(lambda *_: True, at=2.0, behind=False) == frozenset()
    assert known.seen_until == {NODE: 500 * S}


def test_a_wanted_flow_that_does_not_arrive_means_that_the_stream_ended():
    """Not at once, and not while responses wait."""
    known = read_until(10 * S)
    known.expect({NODE: 500 * S}, {NODE: Newest("u", 400 * S)}, asked=1.0)
    late = 1.0 + continuity.STALLED_SECONDS
    assert not known.confirm(lambda *_: False, at=late, behind=False)
    assert not known.confirm(lambda *_: False, at=late + 5, behind=True)
    assert not known.confirm(lambda *_: False, at=late + 6, behind=False)
    again = late + 6 + continuity.STALLED_SECONDS
    assert known.confirm(lambda *_: False, at=again, behind=False) == {NODE}
    assert known.seen_until == {NODE: 10 * S}


@pytest.mark.parametrize("suspected", [False, True])
def test_an_overrun_counts_only_in_the_middle_of_a_stream(suspected):
    """At its beginning the ring's reader may start with an event lost before."""
    known = read_until(10 * S)
    if suspected:
        known.interrupted({}, at=1.0)
    gap = known.overrun(NODE, 30 * S, since=2.0)
    assert (gap is None) == suspected
    assert suspected or gap == Gap(NODE, 10 * S, 30 * S, Reason.RING_OVERRUN)
