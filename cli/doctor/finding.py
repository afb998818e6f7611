"""What an examination comes to: values that are printed, and counted for the exit code."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How grave it is."""

    FINE = "fine"
    UNSURE = "unsure"
    """Nothing is wrong, or nothing that can be told from here."""
    WARNING = "warning"
    """It works, and alerts may be missing, late or unexplained."""
    PROBLEM = "problem"
    """It does not work."""
    LEFT_OUT = "left out"
    """It was not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    about: str
    """What was looked at, such as `relay`."""
    state: State
    what: str
    next: str = ""
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class About:
    """Makes the findings about one thing."""

    name: str

    def fine(self, what: str) -> Finding:
        """Return that all is well."""
        return Finding(about=self.name, state=State.FINE, what=what)

    def unsure(self, what: str, next_: str) -> Finding:
        """Return that it cannot be told."""
        return Finding(about=self.name, state=State.UNSURE, what=what, next=next_)

    def warning(self, what: str, next_: str) -> Finding:
        """Return that something may go wrong."""
        return Finding(about=self.name, state=State.WARNING, what=what, next=next_)

    def problem(self, what: str, next_: str) -> Finding:
        """Return that something is wrong."""
        return Finding(about=self.name, state=State.PROBLEM, what=what, next=next_)

    def left_out(self, what: str, next_: str) -> Finding:
        """Return that nobody asked."""
        return Finding(about=self.name, state=State.LEFT_OUT, what=what, next=next_)


def listed(names: Iterable[str], *, most: int = 5) -> str:
    """Return names for a sentence; beyond `most` of them only how many more there are."""
    ordered = sorted(names)
    more = len(ordered) - most
    shown: Iterator[str] = iter(ordered[:most])
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
