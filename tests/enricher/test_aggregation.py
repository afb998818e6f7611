"""Counting: nothing twice, nothing lost, whatever the order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from enricher.aggregation import DISTINCT, Cell, Row, Sampling, Tally, top
from enricher.outcomes import Outcome, Route, Terms
from enricher.reading import MINUTE, NANOS, Transport
from policies import naming
from policies.explanation import Explanation, Reason
from policies.flows import Direction, Protocol
from policies.labels import LabelSet
from policies.repository import Repository

START = 30_000_000 * MINUTE
NOBODY = LabelSet.of([])
TIMELINE = Repository().subject(NOBODY)


PARTY = naming.party(NOBODY)


def a_route(fingerprint: str) -> Route:
    told = Explanation(direction=Direction.INGRESS, reason=Reason.NO_RULE_ALLOWED)
    return Route(fingerprint, Terms("kind/ns/name", "", "", told), PARTY, PARTY)


def a_cell(*routes: Route, port: int = 80, address: str = "10.0.0.1") -> Cell:
    return Cell(
        Outcome(routes=routes),
        timeline=TIMELINE,
        since=0,
        until=2**63,
        transport=Transport(Protocol.TCP, port),
        address=(address, ""),
    )


def count(tally: Tally, cell: Cell, time: int) -> None:
    """Count a flow as the hot loop does."""
    if cell.low <= time < cell.high:
        cell.count += 1
        cell.first = min(cell.first, time)
        cell.last = max(cell.last, time)
    else:
        tally.bind(cell, time)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4 * MINUTE)), max_size=200))
def test_the_counts_add_up_to_the_flows(flows: list[tuple[int, int]]) -> None:
    """By fingerprint and minute, with the first and last time of each, in any order of times."""
    shared = a_route("shared")
    cells = [a_cell(a_route(f"own-{number}"), shared, port=number) for number in range(6)]
    tally = Tally(Sampling())
    for number, time in flows:
        count(tally, cells[number], START + time)
    expected: dict[tuple[str, int], list[int]] = {}
    for number, time in flows:
        for name in (f"own-{number}", "shared"):
            expected.setdefault((name, time // MINUTE), []).append(START + time)
    rows = {(row.route.fingerprint, (row.minute - START) // MINUTE): row for row in tally.rows()}
    assert {key: (row.count, row.first, row.last) for key, row in rows.items()} == {
        key: (len(times), min(times), max(times)) for key, times in expected.items()
    }
    assert all(sum(row.ports.values()) == row.count for row in rows.values())
    assert tally.flows == len(flows)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2 * MINUTE)), max_size=50))
def test_a_discarded_batch_leaves_nothing(flows: list[tuple[int, int]]) -> None:
    """Read again, the same flows give the same counts."""
    cells = [a_cell(a_route("one"), port=number) for number in range(4)]
    sums = []
    for attempt in range(2):
        tally = Tally(Sampling())
        for number, time in flows:
            count(tally, cells[number], START + time)
        if attempt == 0:
            tally.discard()
            assert list(tally.rows()) == []
            continue
        sums.append(sum(row.count for row in tally.rows()))
    assert sums == [len(flows)]


def test_batches_are_counted_apart() -> None:
    """A cell that was counted starts from nothing in the next batch."""
    cell = a_cell(a_route("one"))
    for expected in (3, 1):
        tally = Tally(Sampling())
        for _ in range(expected):
            count(tally, cell, START)
        assert [row.count for row in tally.rows()] == [expected]


def test_distinct_ports_are_bounded() -> None:
    """A scan of all ports fills no memory, and its count is whole."""
    row = Row(a_route("one"), START)
    for port in range(3 * DISTINCT):
        cell = a_cell(a_route("one"), port=port)
        cell.count, cell.first, cell.last = 1, START, START
        row.add(cell)
    assert len(row.ports) == DISTINCT
    assert row.count == 3 * DISTINCT


def test_samples_are_bounded_by_row_and_by_batch() -> None:
    """Neither many flows nor many rows make more samples than they may."""
    tally = Tally(Sampling(per_row=2, per_batch=3))
    taken: Counter[str] = Counter()
    for name in ("a", "b", "c"):
        for port in range(5):
            for row in tally.bind(a_cell(a_route(name), port=port), START + NANOS):
                if tally.sample(row):
                    row.samples.append(b"")
                    taken[name] += 1
    assert taken == {"a": 2, "b": 1}


def test_the_most_frequent_come_first() -> None:
    """Of many ports those are named that most flows went to."""
    assert top({"a": 1, "b": 3, "c": 2}, 2) == [("b", 3), ("c", 2)]
