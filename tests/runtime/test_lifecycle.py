"""Parts start in order and close in reverse, whatever happens in between."""

import threading

import pytest

from runtime import lifecycle


class Part:
    def __init__(self, name, seen, *, fails=False):
        self.name, self.seen, self.fails = name, seen, fails

    def start(self):
        if self.fails:
            raise OSError("taken")
        self.seen.append(f"start {self.name}")

    def close(self):
        self.seen.append(f"close {self.name}")


def test_parts_start_in_order_and_close_in_reverse():
    """What was opened while building is closed last."""
    seen = []
    app = lifecycle.App(
        name="x",
        run=lambda stop: seen.append("run"),
        parts=(Part("a", seen), Part("b", seen)),
        closing=(lambda: seen.append("closing"),),
    )
    app.serve()
    assert seen == ["start a", "start b", "run", "close b", "close a", "closing"]


def test_only_what_was_started_is_closed():
    """A part that cannot start ends the run, and those before it are closed."""
    seen = []
    app = lifecycle.App(
        name="x",
        run=lambda stop: seen.append("run"),
        parts=(Part("a", seen), Part("b", seen, fails=True)),
    )
    with pytest.raises(OSError, match="taken"):
        app.serve()
    assert seen == ["start a", "close a"]


def test_closing_is_bounded():
    """A closer that hangs is left behind, and one that raises does not stop the others."""
    hangs = threading.Event()
    assert not lifecycle.close_bounded(hangs.wait, seconds=0.05)
    hangs.set()

    def raises():
        raise ValueError("broken")

    assert lifecycle.close_bounded(raises, seconds=5)
