"""Comments that switch rules off: how far they reach, and when they are wrong."""

import textwrap

import pytest

from cli.linting import documents, ignoring
from policies.linting import effects

RULE = effects.EMPTY
NAME = RULE.id


def comments(text):
    text = textwrap.dedent(text)
    return ignoring.comments(text, documents.parse(text).documents)


def reach(text):
    """The lines, from 0, in which the first comment switches the rule off."""
    (comment,) = comments(text)
    count = textwrap.dedent(text).count("\n")
    return [line for line in range(count) if comment.takes(RULE, line)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"a: 1\nb: 2  # picket: ignore {NAME}\nc: 3\n", [1]),
        (f"# picket: ignore {NAME}\na: 1\nb:\n  c: 1\n---\nd: 1\n", [1, 2, 3]),
        (f"a: 1\n# picket: ignore {NAME}\n\n# another\nb:\n  c: 1\n  d: 1\ne: 1\n", [4, 5, 6]),
        (f"a:\n  - b: 1\n  # picket: ignore {NAME}\n  - c: 1\n    d: 1\n  - e: 1\n", [3, 4]),
        (f"a: 1\n# picket: ignore {NAME}\nb: [1,\n  2]\nc: 1\n", [2, 3]),
        (f"a: 1\n---\n# picket: ignore {NAME}\n---\nb: 1\nc: 1\n", [4, 5]),
        (f"# picket: ignore other, {NAME} -- for a reason\na: 1\n", [1]),
        ("# picket: ignore other\na: 1\n", []),
    ],
)
def test_a_comment_reaches_its_line_or_what_begins_below(text, lines):
    """A key with its value, an entry, a document."""
    assert reach(text) == lines


@pytest.mark.parametrize(
    "text",
    [
        f'a: "# picket: ignore {NAME}"\n',
        f"a: |\n  # picket: ignore {NAME}\n  text\n",
        f"a: x#picket: ignore {NAME}\n",
        "# picket: please ignore\na: 1\n",
    ],
)
def test_what_is_no_comment_switches_nothing_off(text):
    """Text within text, above all."""
    assert comments(text) == []


@pytest.mark.parametrize(
    ("comment", "rules"),
    [
        (f"ignore {NAME}", ["unused-ignore"]),
        ("ignore nonsense", ["bad-ignore"]),
        ("ignore", ["bad-ignore"]),
        (f"ignore nonsense {NAME}", ["bad-ignore", "unused-ignore"]),
    ],
)
def test_wrong_and_unused_comments_are_told(comment, rules):
    """A typing error there hides nothing."""
    known = frozenset({NAME})
    found = comments(f"# picket: {comment}\na: 1\n")
    assert [one.rule.id for one in ignoring.problems(found, known, known)] == rules


def test_a_comment_about_a_rule_that_is_not_looked_for_is_left_alone():
    """With --select it may well be of use in another run."""
    found = comments(f"# picket: ignore {NAME}\na: 1\n")
    assert list(ignoring.problems(found, frozenset({NAME}), frozenset())) == []
