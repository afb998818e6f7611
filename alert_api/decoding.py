"""Reading the records of picket.matches and picket.deadletter, or why one cannot be read.

Nothing that passes here can make a database refuse the batch for ever: sizes, counts and times are
bounded, and characters that PostgreSQL cannot hold are replaced.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pydantic
import pydantic_core

from bus.port import Record
from schemas import messages, topics

MAX_COUNT = 10**12
MAX_TEXT = 2000
"""Characters of a name or a key. An index of PostgreSQL takes no more than 2,704 bytes."""
MAX_SENTENCE = 10_000
MAX_SAMPLE_BYTES = 16 * 1024
MAX_AHEAD = timedelta(days=1)
KEPT_SAMPLES = 10


@dataclass(frozen=True, slots=True)
class MatchRecord:
    """A match and the samples that came with it, each as JSON."""

    record: Record
    match: messages.Match
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """A progress message."""

    record: Record
    progress: messages.Progress


@dataclass(frozen=True, slots=True)
class LetterRecord:
    """A dead letter of some stage."""

    record: Record
    letter: messages.DeadLetter


@dataclass(frozen=True, slots=True)
class Garbage:
    """A record that is no message of this topic."""

    record: Record
    reason: str
    """Stable and short: garbage is counted by it."""
    detail: str


Decoded = MatchRecord | ProgressRecord | LetterRecord | Garbage


class _OutOfBoundsError(ValueError):
    pass


def decode(record: Record, *, now: datetime) -> Decoded:  # noqa: PLR0911 - one a kind
    """Return what a record says.

    Samples are taken out before the message is validated: they are free JSON, and by far the most
    of it.
    """
    if record.value is None:
        return Garbage(record, "no value", "a tombstone on a topic that has none")
    try:
        event = pydantic_core.from_json(record.value)
    except ValueError as error:
        return Garbage(record, "not JSON", str(error))
    if b"\\u0000" in record.value:
        event = _without_nul(event)
    kind = event.get("type") if isinstance(event, dict) else None
    if record.partition.topic == topics.DEADLETTER.name:
        kind = "dead letter"
    try:
        if record.partition.topic == topics.DEADLETTER.name:
            return _letter(record, event, now)
        if kind == messages.MATCH:
            return _match(record, event, now)
        if kind == messages.PROGRESS:
            return _progress(record, event, now)
    except pydantic.ValidationError as error:
        return Garbage(record, f"not a valid {kind}", _first_problem(error))
    except _OutOfBoundsError as error:
        return Garbage(record, f"{kind} out of bounds", str(error))
    return Garbage(record, "unknown event type", repr(kind)[:200])


def _match(record: Record, event: dict[str, Any], now: datetime) -> MatchRecord:
    data = event.get("data")
    samples: Any = []
    if isinstance(data, dict) and isinstance(data.get("samples"), list):
        samples = data["samples"]
        event = {**event, "data": {**data, "samples": []}}
    match = messages.MatchEvent.model_validate(event).data
    texts = (
        match.fingerprint,
        match.cluster,
        match.project,
        *(match.policy.kind, match.policy.namespace, match.policy.name),
        *(match.subject.namespace, match.subject.name, match.subject.text),
        *(match.peer.namespace, match.peer.name, match.peer.text),
        match.runbook or "",
    )
    if max(map(len, texts)) > MAX_TEXT or len(match.sentence) > MAX_SENTENCE:
        raise _OutOfBoundsError("a name is too long")
    if not match.fingerprint:
        raise _OutOfBoundsError("no fingerprint")
    if match.count > MAX_COUNT:
        raise _OutOfBoundsError("count")
    if match.last_seen < match.first_seen:
        raise _OutOfBoundsError("last_seen is before first_seen")
    counts = [port.count for port in match.ports] + [peer.count for peer in match.peers]
    if counts and not 0 <= min(counts) <= max(counts) <= MAX_COUNT:
        raise _OutOfBoundsError("a count of ports or peers")
    if not 0 <= (match.resolve_after or 0) <= MAX_COUNT:
        raise _OutOfBoundsError("resolve_after")
    if match.threshold and max(match.threshold.count, match.threshold.seconds) > MAX_COUNT:
        raise _OutOfBoundsError("threshold")
    _check_times(now, match.minute, match.first_seen, match.last_seen)
    return MatchRecord(record, match, _samples(samples))


def _progress(record: Record, event: dict[str, Any], now: datetime) -> ProgressRecord:
    progress = messages.ProgressEvent.model_validate(event).data
    if len(progress.cluster) > MAX_TEXT or not 0 <= progress.flows <= MAX_COUNT:
        raise _OutOfBoundsError("cluster or flows")
    if not 0 <= progress.partition < 2**31:
        raise _OutOfBoundsError("partition")
    if progress.flow_time is not None:
        _check_times(now, progress.flow_time)
    for notice in progress.notices:
        if max(len(notice.reason), len(notice.node)) > MAX_TEXT:
            raise _OutOfBoundsError("a notice's text is too long")
        if len(notice.detail) > MAX_SENTENCE or notice.count > MAX_COUNT:
            raise _OutOfBoundsError("a notice")
        _check_times(now, notice.first_seen, notice.last_seen)
    return ProgressRecord(record, progress)


def _letter(record: Record, fields: Any, now: datetime) -> LetterRecord:
    letter = messages.DeadLetter.model_validate(fields)
    if max(map(len, (letter.stage, letter.reason, letter.topic))) > MAX_TEXT:
        raise _OutOfBoundsError("a text is too long")
    _check_times(now, letter.at)
    return LetterRecord(record, letter)


def _check_times(now: datetime, *times: datetime) -> None:
    # A time far ahead would keep its alert on top, and from being resolved, for ever.
    if max(times) > now + MAX_AHEAD:
        raise _OutOfBoundsError("a time in the future")
    if min(times).year < 1971:
        raise _OutOfBoundsError("a time before 1971")


def _samples(samples: list[Any]) -> tuple[str, ...]:
    kept = []
    for sample in samples[-KEPT_SAMPLES:]:
        if not isinstance(sample, dict):
            raise _OutOfBoundsError("a sample is no object")
        text = pydantic_core.to_json(sample)
        if len(text) <= MAX_SAMPLE_BYTES:
            kept.append(text.decode())
    return tuple(kept)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _first_problem(error: pydantic.ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    return ".".join(str(part) for part in problem["loc"]) + ": " + problem["msg"]
