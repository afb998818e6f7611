"""The synthetic nodes' ring by itself, where a writer and a reader race."""

import sys
import threading

import pytest

from tests.parts.synthetic.ring import Ring


@pytest.fixture
def _hasty():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("capacity", [7, 255])
def test_what_is_not_read_is_counted_while_the_writer_overtakes_the_reader(capacity):
    """In order, nothing twice, and not one more or less than was written."""
    total = 30_000
    ring: Ring[int] = Ring(capacity)
    ring.write([0, 1])
    position, got, lost = 0, [], 0

    def write() -> None:
        for number in range(2, total, 3):
            ring.write(range(number, min(number + 3, total)))

    writer = threading.Thread(target=write)
    writer.start()
    while position < total - 1:
        chunk = ring.read(position, at_most=1000)
        lost += chunk.lost
        got += chunk.events
        position = chunk.position
    writer.join()
    assert got == sorted(set(got))
    assert got[-1] == total - 2
    assert lost > 0
    assert len(got) + lost == total - 1


class Meddling(list):
    """Slots that have something done to them while they are read."""

    def __init__(self, slots, meddle, *, after: int) -> None:
        super().__init__(slots)
        self._meddle, self._after = meddle, after

    def __getitem__(self, index):
        self._after -= 1
        if self._after == 0:
            self._meddle()
        return super().__getitem__(index)


@pytest.mark.parametrize("after", range(1, 9))
def test_a_writer_that_overtakes_in_the_midst_of_a_reading_leaves_no_wrong_event(after):
    """What may be overwritten counts as lost, and what is returned is what stood there."""
    ring: Ring[int] = Ring(7)
    ring.write(range(9))
    ring._slots = Meddling(ring._slots, lambda: ring.write(range(9, 14)), after=after)
    chunk = ring.read(1, at_most=1000)
    assert list(chunk.events) == list(range(chunk.position - len(chunk.events), chunk.position))
    assert 1 + chunk.lost + len(chunk.events) == chunk.position


@pytest.mark.parametrize("capacity", [0, 2, 4096, 131071])
def test_a_ring_has_a_size_that_hubble_takes(capacity):
    with pytest.raises(ValueError, match="65535"):
        Ring(capacity)
