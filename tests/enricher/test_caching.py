"""The bounded cache."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.caching import Generations


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_what_is_found_is_what_was_put(size: int, steps: list[tuple[bool, int]]) -> None:
    """It may forget, but it never grows beyond its bound nor confuses keys."""
    cache: Generations[int, str] = Generations(size)
    for is_put, key in steps:
        if is_put:
            cache.put(key, f"value {key}")
            assert cache.find(key) == f"value {key}"
        else:
            assert cache.find(key) in {None, f"value {key}"}
        assert len(cache) <= 2 * size


def test_what_is_used_stays() -> None:
    """An entry that is found in each generation outlives any number of others."""
    cache: Generations[int, int] = Generations(3)
    cache.put(0, 0)
    for key in range(1, 100):
        cache.put(key, key)
        assert cache.find(0) == 0
    assert cache.find(50) is None


def test_the_young_generation_is_one_object() -> None:
    """Hot loops hold on to it."""
    cache: Generations[int, int] = Generations(2)
    young = cache.young
    for key in range(10):
        cache.put(key, key)
    assert cache.young is young


def test_entries_can_be_dropped_by_value() -> None:
    """In both generations."""
    cache: Generations[int, int] = Generations(2)
    for key in range(4):
        cache.put(key, key)
    cache.retain(lambda value: value % 2 == 0)
    assert [cache.find(key) for key in range(4)] == [0, None, 2, None]


def test_a_cache_without_room_is_refused() -> None:
    """It could not do what it is for."""
    with pytest.raises(ValueError, match="room"):
        Generations(0)
