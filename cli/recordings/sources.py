"""Recorded verdicts from wherever they are: a capture or the topic, each once, none kept."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bus import port
from cli.recordings import captures, jsonflows, topicflows
from policies.recordings import Recorded
from runtime.supervisor import PREFIX
from schemas import topics

TOPIC: Final = topics.FLOWS.name
_UUIDS: Final = 131_072
"""Relay repeats at most a ring of each node: so many flows back a repeated one is known."""
_TOLD: Final = 20

Moved = Callable[[int, int | None], None]


@dataclass(slots=True)
class Uuids:
    """The uuids seen lately, in two generations."""

    _young: set[str] = field(default_factory=set)
    _old: set[str] = field(default_factory=set)

    def is_new(self, uuid: str) -> bool:
        """Return whether a uuid was not seen; a flow without one is always new."""
        if not uuid:
            return True
        if uuid in self._young or uuid in self._old:
            return False
        if len(self._young) >= _UUIDS:
            self._old, self._young = self._young, set()
        self._young.add(uuid)
        return True


@dataclass(slots=True)
class Counts:
    """What was left out, and why."""

    passed_over: int = 0
    """Traces, drop events, answers, lost events: nothing that a policy decided."""
    repeated: int = 0
    unreadable: int = 0


def capture(
    path: str, counts: Counts, moved: Moved | None = None
) -> Iterator[tuple[Recorded, int]]:
    """Yield the verdicts of a capture with their times. Raises UserError."""
    reader, uuids = jsonflows.Reader(), Uuids()
    for line in captures.lines(path, moved):
        try:
            for seen in reader.read(line.content):
                if seen is None:
                    counts.passed_over += 1
                elif uuids.is_new(seen.uuid):
                    yield seen.flow, seen.time
                else:
                    counts.repeated += 1
        except jsonflows.NotReadable as error:
            counts.unreadable += 1
            if counts.unreadable <= _TOLD:
                sys.stderr.write(f"{PREFIX}{path}:{line.number} is {error}\n")


def topic(
    log: port.Log, counts: Counts, *, cluster: str = "", moved: Moved | None = None
) -> Iterator[tuple[Recorded, int]]:
    """Yield the verdicts that stand on picket.flows now, with their times."""
    source = log.reader([TOPIC])
    try:
        beginning, end = source.beginning(), source.end()
        first = sum(beginning.values())
        total = sum(end.values()) - first
        reader, uuids = topicflows.Reader(cluster), Uuids()
        for part, offset in beginning.items():
            source.seek(part, offset)
        for number, record in enumerate(port.read_to_end(source), 1):
            for item in reader.read(record):
                if item is None:
                    counts.passed_over += 1
                elif uuids.is_new(item[2]):
                    yield item[0], item[1]
                else:
                    counts.repeated += 1
            if moved is not None:
                moved(min(number, total), total)
        counts.unreadable += reader.unreadable
    finally:
        source.close()
