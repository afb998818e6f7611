"""The heaviest keys in bounded room."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from alert_api import counters
from alert_api.counters import ROOM, Counters

BATCHES = st.lists(
    st.dictionaries(st.integers(0, 200).map(str), st.integers(1, 100), max_size=40), max_size=20
)


def filled(batches: list[dict[str, int]]) -> Counters:
    """Return counters after batches, stored and loaded in between as the database does."""
    made = Counters()
    for batch in batches:
        made = counters.load(made.rows())  # type: ignore[arg-type]
        made.add(batch)
    return made


def truth(batches: list[dict[str, int]]) -> Counter[str]:
    """Return the exact counts."""
    exact: Counter[str] = Counter()
    for batch in batches:
        exact.update(batch)
    return exact


@given(BATCHES)
def test_counts_are_never_too_high_and_room_is_bounded(batches: list[dict[str, int]]) -> None:
    """Every count shown was certainly seen."""
    made, exact = filled(batches), truth(batches)
    assert len(made.counts) <= ROOM
    assert all(0 < count <= exact[key] for key, count in made.known())


@given(BATCHES)
def test_counts_are_exact_while_room_lasts(batches: list[dict[str, int]]) -> None:
    """As many keys as there is room for are simply counted."""
    exact = truth(batches)
    if len(exact) <= ROOM:
        assert dict(filled(batches).known()) == dict(exact)


@given(BATCHES)
def test_a_heavy_key_is_always_kept(batches: list[dict[str, int]]) -> None:
    """More than its share of the room is enough, whatever the order."""
    exact = truth(batches)
    kept = filled(batches).counts
    share = sum(exact.values()) / ROOM
    assert all(key in kept for key, count in exact.items() if count > share)


def test_a_port_scan_does_not_push_out_what_is_heavy() -> None:
    """Thousands of ports once each, and one often."""
    made = Counters()
    for port in range(5000):
        made.add({f"TCP/{port}": 1, "TCP/443": 5})
    assert made.known()[0][0] == "TCP/443"
    assert made.known()[0][1] >= 24_000
