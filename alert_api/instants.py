"""Points in time as the database holds them: whole microseconds since the epoch, UTC.

Whole numbers compare, index and travel in cursors alike in SQLite and PostgreSQL.
"""

from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def from_datetime(value: datetime) -> int:
    """Return an aware datetime as microseconds."""
    return (value - _EPOCH) // _MICROSECOND


def from_seconds(value: float) -> int:
    """Return seconds since the epoch, as a clock reads them, as microseconds."""
    return int(value * SECOND)


def to_datetime(value: int) -> datetime:
    """Return microseconds as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=value)


def maybe(value: int | None) -> datetime | None:
    """Return microseconds as a datetime, and nothing for nothing."""
    return None if value is None else to_datetime(value)
