"""What the publisher reads from: a folder or a cluster, as news of single objects.

The words that both kinds of source and the publisher share; nothing here reads anything.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent import plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something a person has to mend; equal problems need to be told once only."""

    path: str
    """The file, or the object where there is no file."""
    line: int | None = None
    reason: str
    content: bytes = field(repr=False, compare=False, default=b"")
    digest: str = ""

    @property
    def where(self) -> str:
        """Return `file:line` for people."""
        return f"{self.path}:{self.line}" if self.line else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is new since the last reading."""

    news: Sequence[plan.News]
    complete: bool
    """Whether everything there is has been told by now."""
    cluster_uid: str = ""
    """UID of namespace kube-system, which tells clusters of one name apart; '' is unknown."""
    problems: Sequence[Problem] = ()
    """All that stand now, old ones too."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """How many objects of each kind matching has no use for."""


class Source(Protocol):
    """Read by the publisher's thread alone."""

    def restart(self) -> None:
        """Tell everything again from the next reading on: somebody else may have published."""

    def read(self, stop: threading.Event, *, timeout: float) -> Reading | None:
        """Return what is new, waiting at most `timeout` seconds for it; None: nothing yet.

        What was returned once is not told again. Raises UserError.
        """

    def problem(self) -> str | None:
        """Return what stands in the way of reading, for the health port."""

    def pause(self) -> None:
        """Do nothing until the next restart."""
