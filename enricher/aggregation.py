"""Counting what was matched: by fingerprint and UTC minute, within one batch.

A cell counts the flows that look alike in every respect; a row adds up the cells of one fingerprint
and minute. Nothing leaves a batch before its transaction is committed: an abandoned batch is
forgotten by `Tally.discard`, and the cells are as they were.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from enricher.outcomes import Disagreement, Outcome, Route
from enricher.reading import MINUTE, Transport
from policies.timelines import SubjectTimeline

DISTINCT: Final = 1024
"""How many different ports, and peer addresses, a row tells apart; more are only in its count."""

Address = tuple[str, str]
"""An address, and what it is called."""


class Cell:
    """Flows that share both ends, addresses, port, verdict and reason, and so the outcome.

    The hot loop adds to it as long as `low <= time < high` (nanoseconds): the minute that the cell
    is bound to in the batch under way. An unbound cell has an empty interval.
    """

    __slots__ = (
        "address",
        "count",
        "first",
        "high",
        "last",
        "low",
        "outcome",
        "rows",
        "since",
        "timeline",
        "transport",
        "until",
    )

    def __init__(
        self,
        outcome: Outcome,
        *,
        timeline: SubjectTimeline,
        since: int,
        until: int,
        transport: Transport,
        address: Address,
    ) -> None:
        self.outcome = outcome
        self.timeline = timeline
        """The subject's policies when the outcome was found."""
        self.since = since
        self.until = until
        """The outcome holds for flows from `since` until before `until` (nanoseconds)."""
        self.transport = transport
        self.address = address
        self.low = self.high = 0
        self.count = 0
        self.first = self.last = 0
        self.rows: tuple[Row, ...] = ()

    def release(self) -> None:
        """Forget the count and the minute."""
        self.low = self.high = 0
        self.count = 0
        self.rows = ()


class Row:
    """One fingerprint in one minute."""

    __slots__ = ("addresses", "count", "first", "last", "minute", "ports", "route", "samples")

    def __init__(self, route: Route, minute: int) -> None:
        self.route = route
        self.minute = minute
        """Start of the minute, in nanoseconds since the epoch."""
        self.count = 0
        self.first = minute + MINUTE
        self.last = minute
        self.ports: dict[Transport, int] = {}
        self.addresses: dict[Address, int] = {}
        self.samples: list[bytes] = []

    def add(self, cell: Cell) -> None:
        """Take over what a cell counted."""
        count = cell.count
        self.count += count
        self.first = min(self.first, cell.first)
        self.last = max(self.last, cell.last)
        _add(self.ports, cell.transport, count)
        _add(self.addresses, cell.address, count)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many whole flows are kept, for people to look at."""

    per_row: int = 3
    per_batch: int = 256
    """Bounds the work that samples are: building one takes longer than matching many flows."""


class Tally:
    """All that one batch matched."""

    __slots__ = ("_bound", "_rows", "_samples_left", "_sampling", "disagreements", "flows")

    def __init__(self, sampling: Sampling) -> None:
        self._rows: dict[tuple[str, int], Row] = {}
        self._bound: list[Cell] = []
        self._sampling = sampling
        self._samples_left = sampling.per_batch
        self.flows = 0
        """How many flows were counted into cells and released: complete only after `rows`."""
        self.disagreements: Counter[Disagreement] = Counter()
        """Flows of which Cilium and evaluation name different policies: likewise."""

    def __len__(self) -> int:
        return len(self._rows)

    def bind(self, cell: Cell, time: int) -> tuple[Row, ...]:
        """Count a flow of this time (nanoseconds), the first of its minute in this cell.

        Returns the rows that it counts for: they may want it as a sample.
        """
        if cell.count:
            self._settle(cell)
        else:
            self._bound.append(cell)
        minute = time - time % MINUTE
        cell.rows = tuple([self._row(route, minute) for route in cell.outcome.routes])
        cell.low = max(minute, cell.since)
        cell.high = min(minute + MINUTE, cell.until)
        cell.count = 1
        cell.first = cell.last = time
        return cell.rows

    def sample(self, row: Row) -> bool:
        """Whether the row wants a sample; one that is asked for is taken off the batch's budget."""
        if len(row.samples) >= self._sampling.per_row or self._samples_left <= 0:
            return False
        self._samples_left -= 1
        return True

    def rows(self) -> Iterator[Row]:
        """Settle all cells and return the rows, in the order in which they came up."""
        self.release()
        return iter(self._rows.values())

    def release(self) -> None:
        """Settle all cells: whoever counts into one next has to bind it anew."""
        for cell in self._bound:
            self._settle(cell)
            cell.release()
        self._bound.clear()

    def discard(self) -> None:
        """Forget everything, as if the batch had never been read."""
        for cell in self._bound:
            cell.release()
        self._bound.clear()
        self._rows.clear()

    def _row(self, route: Route, minute: int) -> Row:
        key = (route.fingerprint, minute)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row(route, minute)
        return row

    def _settle(self, cell: Cell) -> None:
        self.flows += cell.count
        for row in cell.rows:
            row.add(cell)
        for disagreement in cell.outcome.disagreements:
            self.disagreements[disagreement] += cell.count
        cell.count = 0


def top(counts: dict, limit: int) -> list:  # type: ignore[type-arg]
    """Return the `limit` entries of the highest counts, as pairs, highest first."""
    if len(counts) == 1:
        return list(counts.items())
    ranked = sorted(counts.items(), key=lambda item: item[1], reverse=True)
    return list(islice(ranked, limit))


def _add(counts: dict, key: object, count: int) -> None:  # type: ignore[type-arg]
    known = counts.get(key)
    if known is not None:
        counts[key] = known + count
    elif len(counts) < DISTINCT:
        counts[key] = count
