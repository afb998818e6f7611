"""From a takeover to the loss of the lease.

Over and over: wait a little, take what the source received, sift it, write it in one transaction.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from bus import port
from collector import checkpoints, instants, sources, writing
from collector.lease import Lease
from collector.metrics import Metrics
from collector.sieve import Sieve, Sifted
from collector.windows import Windows
from runtime import clock, deadletters
from schemas import topics
from schemas.hubble import flow_pb2
from schemas.picket.v1 import flows_pb2

log = structlog.get_logger()

BEAT_SECONDS = 2.0
"""How often every partition hears how far the stream was read."""
LEASE_SECONDS = 0.5
BACKOFF_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What stays the same for the life of the process."""

    cluster: str
    cluster_uid: str
    writer_name: str
    log: port.Log
    source: sources.Source
    time: clock.Clock
    metrics: Metrics
    batch_bytes: int
    delay: float
    """Seconds that flows wait for others."""
    checkpoint_every: float
    redact: Callable[[bytes], bytes] | None = None


@dataclass(slots=True, kw_only=True)
class Session:
    """One time of being active."""

    setup: Setup
    lease: Lease
    writer: writing.Writer
    packer: writing.Packer
    marks: checkpoints.Marks
    windows: Windows
    gaps: set[tuple[str, int, int]]
    """Those written already, of which a replay may tell again."""
    checkpoint: flows_pb2.Checkpoint
    _sieve: Sieve = field(init=False)
    _beat: float = float("-inf")
    _leased: float = field(init=False)
    _checkpointed: float = float("-inf")
    _state: flows_pb2.StreamState = flows_pb2.STREAM_STATE_UNSPECIFIED
    _duplicates: int = 0
    _by_time: int = 0

    def __post_init__(self) -> None:
        self._sieve = Sieve(
            self.windows, by_time=not self.setup.source.capture, redact=self.setup.redact
        )
        self._leased = self.setup.time.monotonic()

    def run(self, stop: threading.Event) -> bool:
        """Collect; return True when stopped or at the source's end, False when the lease is gone.

        Raises Fenced.
        """
        more = False
        while not stop.is_set():
            if not more:
                stop.wait(self.setup.delay)
            if not self._is_leased():
                return False
            taken = self.setup.source.take()
            if not self._pass_on(taken, stop):
                return stop.is_set()
            if taken.ended:
                return True
            more = taken.more
        # What comes after this nobody sees, unless a standby takes over.
        self._pass_on(self.setup.source.take(), stop, last=True)
        return True

    def _is_leased(self) -> bool:
        at = self.setup.time.monotonic()
        if at - self._leased < LEASE_SECONDS:
            return True
        self._leased = at
        try:
            return self.lease.is_held()
        except port.Unavailable:
            # Nobody else gets it then either, and the producer's fencing keeps this safe.
            return True

    def _pass_on(self, taken: sources.Taken, stop: threading.Event, *, last: bool = False) -> bool:
        """Write what was taken; return False where the lease went, or the process stops."""
        time = self.setup.time
        now = instants.of_seconds(time.now())
        sifted = self._sieve.sift(taken.raws, now=now, ahead=taken.ahead)
        standing = self.setup.source.look(sifted)
        self._count(sifted)
        at = time.monotonic()
        state = flows_pb2.BLIND if last and not taken.ended else standing.state
        gaps = [gap for gap in map(writing.gap_message, standing.gaps) if self._is_new(gap)]
        to_all = last or taken.ended or state != self._state or at - self._beat >= BEAT_SECONDS
        wants_checkpoint = bool(gaps) or last or taken.ended or standing.checkpoint
        letters = [*taken.letters, *(sources.Letter(rejected=item) for item in sifted.rejected)]
        if sifted.responses or sifted.ahead or letters or to_all or wants_checkpoint:
            records = self.packer.pack(
                sifted.responses,
                flows_pb2.FlowBatch(
                    state=state,
                    gaps=gaps,
                    duplicates=self._duplicates,
                    duplicates_by_time=self._by_time,
                    nodes_away=standing.away,
                    capture=self.setup.source.capture,
                ),
                read_until=standing.read_until,
                to_all=to_all,
                ahead=sifted.ahead,
            )
            batches = len(records)
            records += map(self._letter, letters)
            if wants_checkpoint or at - self._checkpointed >= self.setup.checkpoint_every:
                records.append(self._make_checkpoint())
                self._checkpointed = at
            if not self._write(records, stop):
                return False
            flows = len(sifted.responses) + len(sifted.ahead)
            self.marks.written(records=batches, flows=flows)
            if not standing.holes:
                # A mark says that all flows up to some time stand before it.
                self._set_mark()
            self._duplicates = self._by_time = 0
            self._state = state
            self._beat = at if to_all else self._beat
            self._show(sifted, standing, state=state, gaps=gaps, letters=len(letters))
        self.setup.source.written()
        return True

    def _write(self, records: Sequence[port.Outgoing], stop: threading.Event) -> bool:
        """Commit, however long the log is away; return False where that came to nothing."""
        try:
            self.writer.write(records)
        except port.Unavailable as away:
            log.warning("the log is away; flows are held", reason=str(away))
            self.setup.metrics.failures.inc()
        else:
            return True
        while not stop.wait(BACKOFF_SECONDS):
            try:
                if not self.lease.is_held():
                    return False
                self.writer.open()
                if not self.writer.is_written(since=self.marks.newest().offsets):
                    self.writer.write(records)
            except port.Unavailable:
                self.setup.metrics.failures.inc()
            else:
                log.info("the log is back")
                return True
        return False

    def _set_mark(self) -> None:
        if not self.marks.is_due:
            return
        try:
            # Now, when all that was sifted is written.
            self.marks.set(checkpoints.ends(self.setup.log), self.windows)
        except port.Unavailable:
            log.debug("no mark", reason="the log is away")

    def _make_checkpoint(self) -> port.Outgoing:
        setup, made, mark = self.setup, self.checkpoint, self.marks.oldest()
        made.cluster_uid = setup.cluster_uid or made.cluster_uid
        made.writer = setup.writer_name
        made.written_at.CopyFrom(instants.timestamp(instants.of_seconds(setup.time.now())))
        setup.source.note(made)
        for node in made.nodes:
            node.known_by_time.CopyFrom(instants.timestamp(mark.newest.get(node.node, 0)))
            node.ahead.extend(mark.ahead.get(node.node, ()))
        made.ClearField("scan_from")
        for number, offset in sorted(mark.offsets.items()):
            made.scan_from.add(partition=number, offset=offset)
        return port.Outgoing(
            topic=topics.COLLECTOR.name,
            key=setup.cluster.encode(),
            value=made.SerializeToString(),
        )

    def _is_new(self, gap: flows_pb2.Gap) -> bool:
        key = checkpoints.gap_key(gap)
        if key in self.gaps:
            return False
        self.gaps.add(key)
        return True

    def _letter(self, letter: sources.Letter) -> port.Outgoing:
        return port.Outgoing(
            topic=topics.DEADLETTER.name,
            key=self.setup.cluster.encode(),
            value=deadletters.letter(
                stage="collector",
                reason=letter.rejected.reason,
                payload=letter.rejected.payload,
                at=self.setup.time.utc(),
                topic=self.setup.source.name,
                index=letter.line,
            ),
        )

    def _count(self, sifted: Sifted) -> None:
        self._duplicates += sifted.duplicates
        self._by_time += sifted.duplicates_by_time
        metrics = self.setup.metrics
        if sifted.duplicates:
            by_uuid = sifted.duplicates - sifted.duplicates_by_time
            metrics.duplicates.labels(by="uuid").inc(by_uuid)
            metrics.duplicates.labels(by="time").inc(sifted.duplicates_by_time)
        for node, lost in sifted.lost:
            source = flow_pb2.LostEventSource.Name(lost.source)
            metrics.lost.labels(node=node, source=source).inc(lost.num_events_lost)
            log.warning("hubble lost events", node=node, source=source, n=lost.num_events_lost)

    def _show(
        self,
        sifted: Sifted,
        standing: sources.Standing,
        *,
        state: flows_pb2.StreamState,
        gaps: Sequence[flows_pb2.Gap],
        letters: int,
    ) -> None:
        metrics = self.setup.metrics
        metrics.transactions.inc()
        metrics.flows.inc(len(sifted.responses) + len(sifted.ahead))
        metrics.ahead.inc(len(sifted.ahead))
        metrics.rejected.inc(letters)
        metrics.state(state)
        metrics.away.set(len(standing.away))
        newest = max(sifted.newest if sifted.responses else 0, sifted.ahead_newest)
        if newest:
            delay = self.setup.time.now() - newest / instants.SECOND
            metrics.delay.observe(max(delay, 0.0))
        for gap in gaps:
            metrics.gaps.labels(node=gap.node, reason=gap.reason).inc()
            log.warning(
                "flows may be missing",
                node=gap.node,
                since=getattr(gap, "from").ToJsonString(),
                until=gap.until.ToJsonString(),
                reason=gap.reason,
            )
