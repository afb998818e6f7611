"""Reading topics for people: the newest records, what came since a time, and what comes next."""

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from bus import port
from runtime.errors import UserError

WINDOWS = (64, 1024, 16_384, 1 << 62)
"""How many offsets back the newest records are looked for, in turn."""
POLL_SECONDS = 0.5

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+)([smhd])")


T = TypeVar("T")


def newest(
    reader: port.Reader, find: Callable[[port.Record], Iterable[T]], *, wanted: int
) -> list[T]:
    """Return the last `wanted` things that `find` makes of the records, oldest first.

    Looks back step by step, so that a day of flows is not read for the last twenty.
    """
    beginning, end = reader.beginning(), reader.end()
    for window in WINDOWS:
        starts = {part: max(first, end[part] - window) for part, first in beginning.items()}
        for part, start in starts.items():
            reader.seek(part, start)
        found: deque[T] = deque(maxlen=max(wanted, 1))
        for record in port.read_to_end(reader):
            found.extend(find(record))
        if len(found) >= wanted or starts == beginning:
            return list(found)[-wanted:] if wanted else []
    raise AssertionError("the last window reaches the beginning")


def since(reader: port.Reader, moment: datetime) -> None:
    """Seek to the first record written at or after a time."""
    for part, offset in reader.at_time(int(moment.timestamp() * 1000)).items():
        reader.seek(part, offset)


def at_end(reader: port.Reader) -> None:
    """Seek to where the next records will come."""
    for part, offset in reader.end().items():
        reader.seek(part, offset)


def follow(reader: port.Reader, stop: threading.Event) -> Iterator[port.Record]:
    """Yield records as they come, until stopped."""
    while not stop.is_set():
        yield from reader.poll(timeout=POLL_SECONDS)


def moment(text: str, now: datetime) -> datetime:
    """Return the time that `text` means: so long before now, as in 1h30m, or RFC 3339.

    Raises UserError.
    """
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return now - timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"--since must be like 10m, 2h or 2026-01-31T12:00:00Z, not {text!r}"
        ) from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
