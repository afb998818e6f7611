"""What dependencies say in our log: each thing once in a while, and none of it uncounted."""

import logging

import pytest

from runtime import logs
from runtime.clock import Clock


@pytest.fixture
def said():
    """A client's logger, a clock to move, and the lines that were written."""
    now, lines = [0.0], []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    handler.addFilter(logs.Repeats(Clock(monotonic=lambda: now[0])))
    client = logging.getLogger("client")
    client.addHandler(handler)
    yield client, now, lines
    client.removeHandler(handler)


def test_a_dependency_that_repeats_itself_is_written_once_in_a_while(said):
    """However often it says it, and whatever is filled in."""
    client, now, lines = said
    for number in range(10):
        client.warning("no node %d", number)
    client.warning("something else")
    assert lines == ["no node 0", "something else"]
    now[0] += logs.REPEAT_SECONDS
    client.warning("no node %d", 7)
    client.warning("something else")
    assert lines[2:] == ["no node 7 (9 more like it)", "something else"]


def test_the_same_words_of_another_weight_or_logger_are_something_else(said):
    """An error is told although a warning of the same words was."""
    client, _, lines = said
    client.warning("away")
    client.error("away")
    logging.getLogger("client.other").error("away")
    assert lines == ["away"] * 3


def test_what_is_remembered_is_bounded(said):
    """Words that are never the same twice do not fill the memory."""
    client, _, lines = said
    for number in range(2 * logs.REMEMBERED):
        client.warning(f"away {number}")
    client.warning("away 0")
    assert len(lines) == 2 * logs.REMEMBERED + 1
