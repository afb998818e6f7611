"""Instants as whole nanoseconds since the epoch: Hubble's precision, which a float would lose."""

from google.protobuf.timestamp_pb2 import Timestamp

SECOND = 1_000_000_000


def of(timestamp: Timestamp) -> int:
    """Return a timestamp in nanoseconds; an unset one is 0."""
    return timestamp.seconds * SECOND + timestamp.nanos


def timestamp(nanoseconds: int) -> Timestamp:
    """Return nanoseconds as a timestamp."""
    return Timestamp(seconds=nanoseconds // SECOND, nanos=nanoseconds % SECOND)


def of_seconds(seconds: float) -> int:
    """Return seconds since the epoch, as a clock reads them, in nanoseconds."""
    return int(seconds * SECOND)
