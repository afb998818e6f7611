"""The work under way: all that one batch will write, and nothing that outlives it.

A batch is either committed as a whole or discarded as a whole and read again, so nothing in here
may leak: no metric, no log line and no state of the process changes before the commit.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from bus import port
from enricher.aggregation import Sampling, Tally
from enricher.outcomes import Outcome
from enricher.reading import NANOS, Broken
from runtime import deadletters
from schemas import messages, topics
from schemas.hubble import flow_pb2
from schemas.picket.v1 import flows_pb2, views_pb2

STAGE: Final = "enricher"
UNKNOWN_CLUSTER: Final = "unknown"
"""Whom a record concerns that nobody can read."""

ASIDE: Final = -1
"""Stands for no partition of picket.flows: retries, and what nobody can read."""

EARLIEST: Final = 366 * 86_400 * NANOS
LATEST_AHEAD: Final = 3_600 * NANOS
"""Beyond these, a time is no time at which a flow can have been seen."""

HOPELESS_NANOS: Final = (65 + 5) * NANOS
"""No policy still under way explains a flow older than both delays and the clocks' difference."""
_RETRIES: Final = (topics.FLOWS_RETRY.name, topics.FLOWS_RETRY_LATE.name)
DELAYS: Final = {topics.FLOWS_RETRY.name: 5.0, topics.FLOWS_RETRY_LATE.name: 60.0}
"""Seconds that a flow waits on each of the retry topics."""
_RETRY_BYTES: Final = 256 * 1024
_RETRY_LIMIT: Final = 900 * 1024
"""A flow beyond that might not fit into a record again once it is wrapped anew."""
_STATES: Final = {
    flows_pb2.LIVE: messages.StreamState.LIVE,
    flows_pb2.CATCHING_UP: messages.StreamState.CATCHING_UP,
    flows_pb2.BLIND: messages.StreamState.BLIND,
    flows_pb2.ENDED: messages.StreamState.ENDED,
}
_SOURCES: Final = {
    number: name.lower().replace("_", "-") for name, number in flow_pb2.LostEventSource.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a record of flows came from."""

    partition: port.Partition
    offset: int
    cluster: str
    tries: int = 0
    is_read: bool = True
    """Whether the record could be read, and its cluster is its own."""

    @property
    def part(self) -> int:
        """Return the partition of picket.flows whose progress this is, or ASIDE."""
        if self.is_read and self.partition.topic == topics.FLOWS.name:
            return self.partition.number
        return ASIDE


@dataclass(slots=True)
class Count:
    """One notice while it is counted; times in nanoseconds since the epoch."""

    count: int = 0
    first: int = 0
    last: int = 0
    detail: str = ""

    def add(self, count: int, first: int, last: int, detail: str) -> None:
        """Count more of it."""
        self.first = min(self.first, first) if self.count else first
        self.last = max(self.last, last)
        self.count += count
        self.detail = self.detail or detail


@dataclass(slots=True)
class Advance:
    """What a batch changes in the progress of one cluster in one partition."""

    flows: int = 0
    until: int = 0
    """Flow time reached, in nanoseconds; 0 where no record said."""
    state: messages.StreamState | None = None
    notices: dict[tuple[messages.NoticeKind, str, str], Count] = field(default_factory=dict)

    def with_(self, other: "Advance | None") -> "Advance":
        """Return both as one."""
        if other is None:
            return self
        sums = {key: replace(count) for key, count in other.notices.items()}
        for key, count in self.notices.items():
            known = sums.setdefault(key, Count())
            known.add(count.count, count.first, count.last, count.detail)
        return Advance(
            flows=self.flows + other.flows,
            until=max(self.until, other.until),
            state=self.state or other.state,
            notices=sums,
        )


@dataclass(slots=True)
class Events:
    """How many events of which kind a cluster showed."""

    verdicts: int = 0
    """Policy-verdict events (type 5), of whatever verdict."""
    drops: int = 0
    """Drop events (type 1) of a policy: each stands beside a policy-verdict event."""


class Work:
    """One batch, from the first record to its transaction. `now` in nanoseconds."""

    __slots__ = (
        "_retries",
        "advances",
        "aside",
        "events",
        "letters",
        "now",
        "offsets",
        "others",
        "retried",
        "size",
        "tally",
        "told",
        "unexplained_by_reason",
    )

    def __init__(self, now: int, sampling: Sampling) -> None:
        self.now = now
        self.tally = Tally(sampling)
        self.offsets: dict[port.Partition, tuple[int, int]] = {}
        """First offset taken and next one to take, by partition."""
        self.advances: dict[tuple[str, int], Advance] = {}
        self.letters: list[port.Outgoing] = []
        self.events: dict[str, Events] = {}
        self.others: Counter[str] = Counter()
        """Flows that nothing stopped, and all else that is not counted, by cluster."""
        self.unexplained_by_reason: Counter[str] = Counter()
        self.retried = 0
        self.aside = 0
        """Stopped flows that were not explained."""
        self.size = 0
        self.told = 0
        """How many unreadable policy records this tells of."""
        self._retries: dict[tuple[str, str, int], list[bytes]] = {}

    def took(self, record: port.Record) -> None:
        """Say that a record is done with."""
        first, _ = self.offsets.get(record.partition, (record.offset, 0))
        self.offsets[record.partition] = (first, record.offset + 1)
        self.size += len(record.value or b"")

    def skipped(self, partition: port.Partition, offset: int) -> None:
        """Say that there is nothing left to read before this offset."""
        first, _ = self.offsets.get(partition, (offset, 0))
        self.offsets[partition] = (first, offset)

    def advance(self, origin: Origin) -> Advance:
        """Return the progress of a record's cluster and partition."""
        key = (origin.cluster, origin.part)
        found = self.advances.get(key)
        if found is None:
            found = self.advances[key] = Advance()
        return found

    def head(
        self, header: views_pb2.FlowBatchView | views_pb2.FlowBatchHeader, origin: Origin
    ) -> None:
        """Take what a record says about its stream."""
        if origin.part == ASIDE:
            return
        advance = self.advance(origin)
        advance.state = _STATES.get(header.state, advance.state)
        advance.until = max(advance.until, self._time(header.read_until))
        for gap in header.gaps:
            self.notice(
                origin,
                messages.NoticeKind.GAP,
                gap.reason or "unknown",
                node=gap.node,
                first=self._time(getattr(gap, "from")) or self.now,
                last=self._time(gap.until) or self.now,
            )

    def notice(
        self,
        origin: Origin,
        kind: messages.NoticeKind,
        reason: str,
        *,
        node: str = "",
        count: int = 1,
        first: int,
        last: int,
        detail: str = "",
    ) -> None:
        """Count something that a person must know."""
        notices = self.advance(origin).notices
        key = (kind, reason, node)
        found = notices.get(key)
        if found is None:
            found = notices[key] = Count()
        found.add(count, first, last, detail)

    def count_events(self, origin: Origin, *, verdicts: int, drops: int, others: int) -> None:
        """Count the flows of a record by the kind of their events."""
        events = self.events.get(origin.cluster)
        if events is None:
            events = self.events[origin.cluster] = Events()
        events.verdicts += verdicts
        events.drops += drops
        self.others[origin.cluster] += others

    def lost(self, origin: Origin, response: views_pb2.ResponseView) -> None:
        """Take lost events. Raises DecodeError for bytes that are none."""
        lost = flow_pb2.LostEvent.FromString(response.lost_events)
        seen = self._time(response.time) or self.now
        self.notice(
            origin,
            messages.NoticeKind.LOST_EVENTS,
            _SOURCES.get(lost.source, "unknown"),
            node=response.node_name,
            count=lost.num_events_lost,
            first=self._time(lost.first) or seen,
            last=self._time(lost.last) or seen,
        )

    def unexplained(
        self, origin: Origin, outcome: Outcome, response: views_pb2.ResponseView, time: int
    ) -> None:
        """Have a flow tried again, or count it if that is of no use any more."""
        self.aside += 1
        if origin.tries < len(_RETRIES) and time > self.now - HOPELESS_NANOS:
            raw = response.SerializeToString()
            if len(raw) <= _RETRY_LIMIT:
                key = (_RETRIES[origin.tries], origin.cluster, origin.tries + 1)
                self._retries.setdefault(key, []).append(raw)
                self.retried += 1
                return
        self.unexplained_by_reason[outcome.unexplained] += 1
        self.notice(
            origin,
            messages.NoticeKind.UNEXPLAINED,
            outcome.unexplained,
            first=time,
            last=time,
            detail=outcome.detail,
        )

    def tell_disagreements(self) -> None:
        """Make notices of what the tally, once settled, knows of disagreements with Cilium."""
        for found, count in self.tally.disagreements.items():
            advance = self.advances.setdefault((found.cluster, ASIDE), Advance())
            key = (messages.NoticeKind.DISAGREEMENT, found.reported, "")
            detail = f"Cilium says that it denied flows; by their rules: {found.found}"
            advance.notices.setdefault(key, Count()).add(count, self.now, self.now, detail)

    def fault(
        self, origin: Origin, index: int, response: views_pb2.ResponseView, fault: Exception
    ) -> None:
        """Put a flow aside that could not be read or explained."""
        reason = str(fault) if isinstance(fault, Broken) else f"{type(fault).__name__}: {fault}"
        kind = "unreadable-flow" if isinstance(fault, Broken) else "fault"
        self.aside += 1
        self.letter(origin, reason, response.SerializeToString(), index=index, kind=kind)

    def letter(
        self,
        origin: Origin,
        reason: str,
        payload: bytes,
        *,
        index: int | None = None,
        kind: str,
    ) -> None:
        """Write a dead letter, and a notice whose reason is `kind`."""
        self.letters.append(
            port.Outgoing(
                topic=topics.DEADLETTER.name,
                key=None,
                value=deadletters.letter(
                    stage=STAGE,
                    reason=reason[:1000],
                    payload=payload,
                    at=utc(self.now),
                    topic=origin.partition.topic,
                    partition=origin.partition.number,
                    offset=origin.offset,
                    index=index,
                ),
            )
        )
        self.notice(
            origin,
            messages.NoticeKind.DEAD_LETTER,
            kind,
            first=self.now,
            last=self.now,
            detail=reason[:200],
        )

    def retries(self) -> list[port.Outgoing]:
        """Return the records for the retry topics."""
        found = []
        for (topic, cluster, tries), responses in self._retries.items():
            due = Timestamp()
            due.FromNanoseconds(self.now + int(DELAYS[topic] * NANOS))
            for chunk in _chunks(responses):
                batch = flows_pb2.FlowBatch(cluster=cluster, responses=chunk, tries=tries, due=due)
                found.append(port.Outgoing(topic=topic, value=batch.SerializeToString()))
        return found

    def is_plausible(self, time: int) -> bool:
        """Return whether a flow can have been seen then."""
        return EARLIEST <= time <= self.now + LATEST_AHEAD

    def _time(self, moment: Timestamp) -> int:
        """Return a time that stands in a record, 0 for none and for nonsense."""
        time = moment.seconds * NANOS + moment.nanos
        return time if self.is_plausible(time) else 0

    @property
    def is_empty(self) -> bool:
        """Whether no record was taken."""
        return not self.offsets


def utc(nanos: int) -> datetime:
    """Return a time, to the microsecond."""
    seconds, rest = divmod(nanos, NANOS)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=rest // 1000)


def _chunks(responses: list[bytes]) -> list[list[bytes]]:
    chunks: list[list[bytes]] = []
    room = 0
    for raw in responses:
        if room < len(raw):
            chunks.append([])
            room = _RETRY_BYTES
        chunks[-1].append(raw)
        room -= len(raw)
    return chunks
