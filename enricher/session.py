"""One membership in the group: batches from poll to transaction.

A batch is abandoned as a whole when a partition of it is taken away, and read again from where it
began. Nothing here retries: what the log refuses ends the session, and the next one starts from the
committed offsets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from bus import port
from enricher import events, reading
from enricher.aggregation import Sampling
from enricher.clusters import Cluster, Clusters, Unreadable
from enricher.holding import Hold, Holds
from enricher.matching import Matching
from enricher.metrics import Metrics
from enricher.progress import Progress
from enricher.reading import NANOS
from enricher.settings import EnricherSettings
from enricher.work import UNKNOWN_CLUSTER, Origin, Work
from runtime.clock import Clock
from schemas import messages, topics

log = structlog.get_logger()

GROUP: Final = "picket-enricher"
TOPICS: Final = (topics.FLOWS.name, topics.FLOWS_RETRY.name, topics.FLOWS_RETRY_LATE.name)
_LEAST_TRIES: Final = {topics.FLOWS_RETRY.name: 1, topics.FLOWS_RETRY_LATE.name: 2}
POLL_SECONDS: Final = 0.2
ROWS: Final = 16_000
"""A batch with so many rows is written: its matches are in memory all at once."""
POLL_RECORDS: Final = 32
FOLLOW_SECONDS: Final = 0.2
MARKER_SECONDS: Final = 3.0
LONGEST_HOLD: Final = 300.0
GAP_REASON: Final = "log-out-of-range"


@dataclass(slots=True)
class _Changes:
    """What a poll did to the assignment."""

    revoked: set[port.Partition] = field(default_factory=set)
    assigned: set[port.Partition] = field(default_factory=set)

    def on_revoked(self, partitions: frozenset[port.Partition]) -> None:
        """See `port.RebalanceListener`."""
        self.revoked |= partitions
        self.assigned -= partitions

    def on_assigned(self, partitions: frozenset[port.Partition]) -> None:
        """See `port.RebalanceListener`."""
        self.assigned |= partitions


class Session:
    """A consumer, and a producer once there is something to consume."""

    def __init__(
        self,
        settings: EnricherSettings,
        *,
        connection: port.Log,
        clusters: Clusters,
        matchings: dict[str, Matching],
        unreadable: list[Unreadable],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Join the group. Raises what the log raises."""
        self._settings = settings
        self._log = connection
        self._clusters = clusters
        self._matchings = matchings
        self._unreadable = unreadable
        self._clock = clock
        self._metrics = metrics
        self._changes = _Changes()
        self._consumer = connection.consumer(GROUP, TOPICS, listener=self._changes)
        self._producer: port.Producer | None = None
        self._holds = Holds(self._consumer)
        self._progress = Progress(settings.progress_seconds)
        self._sampling = Sampling(per_row=settings.samples)
        self._followed_at = self._passed_at = float("-inf")
        self._after: dict[port.Partition, int] = {}
        """What was committed last."""
        self._unsynced_since: dict[str, float] = {}

    def step(self) -> bool:
        """Read, match and commit one batch; return whether there was anything to do."""
        self._follow()
        self._release()
        work = Work(int(self._clock.now() * NANOS), self._sampling)
        try:
            began = self._read(work)
            if began is None:
                return False
            committed = self._commit(work, began)
        finally:
            # The matching keeps its cells, and they must not remember what nobody committed.
            work.tally.discard()
        if not committed:
            self._pass_markers()
        return committed

    def _read(self, work: Work) -> float | None:
        """Fill a batch; return when it began, None if a partition of it was taken away."""
        told = self._tell_unreadable(work)
        began = self._clock.monotonic()
        timeout = POLL_SECONDS
        while True:
            records = self._poll(work, timeout)
            if self._moved(work, records):
                return None
            self._take(records, work)
            if not records or self._is_full(work, began):
                work.told = told
                return began
            if timeout:
                began, timeout = self._clock.monotonic(), 0.0

    def assignment(self) -> frozenset[port.Partition]:
        """Return the partitions held now."""
        return self._consumer.assignment()

    def close(self) -> None:
        """Leave the group."""
        try:
            self._consumer.close()
        finally:
            if self._producer is not None:
                self._producer.close()

    def _tell_unreadable(self, work: Work) -> int:
        """Write dead letters for policy records: one enricher does, since all read all of them."""
        if port.Partition(topics.FLOWS.name, 0) not in self._consumer.assignment():
            self._unreadable.clear()
        for found in self._unreadable:
            work.letter(
                self._nobody(found.record),
                found.reason,
                found.record.value or b"",
                kind="unreadable-policy",
            )
        return len(self._unreadable)

    def _is_full(self, work: Work, began: float) -> bool:
        return (
            work.size >= self._settings.batch_bytes
            or len(work.tally) >= ROWS
            or self._clock.monotonic() - began >= self._settings.batch_seconds
        )

    # Reading.

    def _follow(self) -> None:
        now = self._clock.monotonic()
        if now - self._followed_at >= FOLLOW_SECONDS:
            self._followed_at = now
            self._clusters.follow()

    def _release(self) -> None:
        free = set(self._holds.due(self._clock.now()))
        for partition, name in self._holds.waiting().items():
            if self._is_known(name):
                free.add(partition)
        self._holds.release(frozenset(free))
        self._metrics.held.set(len(self._holds))

    def _is_known(self, name: str) -> bool:
        """Whether flows of a cluster may be taken: its policies are known, or it waited enough."""
        cluster = self._clusters.get(name)
        now = self._clock.monotonic()
        if cluster is not None and cluster.synced:
            self._unsynced_since.pop(name, None)
            return True
        since = self._unsynced_since.setdefault(name, now)
        return now - since >= self._settings.synced_wait_seconds

    def _poll(self, work: Work, timeout: float) -> Sequence[port.Record]:
        try:
            return self._consumer.poll(timeout=timeout, max_records=POLL_RECORDS)
        except port.OffsetOutOfRange as error:
            for partition, (wanted, first) in error.missing.items():
                self._out_of_range(work, partition, wanted=wanted, first=first)
            return ()

    def _out_of_range(
        self, work: Work, partition: port.Partition, *, wanted: int, first: int
    ) -> None:
        text = f"{partition.topic}/{partition.number}: offsets {wanted} to {first} are gone"
        log.error("records were deleted before they were read", detail=text)
        work.skipped(partition, first)
        for name in self._clusters.names() or (UNKNOWN_CLUSTER,):
            work.notice(
                Origin(partition=partition, offset=wanted, cluster=name, is_read=False),
                messages.NoticeKind.GAP,
                GAP_REASON,
                first=work.now,
                last=work.now,
                detail=text,
            )

    def _moved(self, work: Work, records: Sequence[port.Record]) -> bool:
        """Take note of what the poll did to the assignment; return whether the work is void."""
        changes = self._changes
        if not changes.revoked and not changes.assigned:
            return False
        revoked, assigned = frozenset(changes.revoked), frozenset(changes.assigned)
        changes.revoked.clear()
        changes.assigned.clear()
        log.info(
            "assignment changed",
            revoked=sorted(f"{p.topic}/{p.number}" for p in revoked),
            assigned=sorted(f"{p.topic}/{p.number}" for p in assigned),
        )
        self._holds.forget(revoked)
        for partition in revoked:
            self._after.pop(partition, None)
        self._holds.release(assigned)
        gone = {p.number for p in revoked - assigned if p.topic == topics.FLOWS.name}
        self._progress.forget(frozenset(gone))
        if not revoked & work.offsets.keys():
            return False
        starts = {p: first for p, (first, _) in work.offsets.items() if p not in assigned}
        for record in records:
            starts.setdefault(record.partition, record.offset)
        held = self._consumer.assignment()
        for partition, offset in starts.items():
            if partition in held:
                self._consumer.seek(partition, offset)
        return True

    # Matching.

    def _take(self, records: Sequence[port.Record], work: Work) -> None:
        for record in records:
            if record.partition in self._holds:
                continue
            hold = self._match(record, work)
            if hold is None:
                work.took(record)
            else:
                self._holds.add(record, hold)

    def _match(self, record: port.Record, work: Work) -> Hold | None:
        """Match a record's flows, or return why it has to wait."""
        value = record.value or b""
        try:
            batch = reading.batch(value)
        except reading.Broken as error:
            work.letter(self._nobody(record), str(error), value, kind="unreadable-record")
            return None
        header = batch.header
        cluster = header.cluster
        now = self._clock.now()
        due = header.due.seconds + header.due.nanos / NANOS
        # A due time far off cannot be ours; it must not hold the others up.
        if now < due < now + LONGEST_HOLD:
            return Hold(until=due)
        if not self._is_known(cluster):
            return Hold(cluster=cluster)
        origin = Origin(
            partition=record.partition,
            offset=record.offset,
            cluster=cluster,
            tries=max(header.tries, _LEAST_TRIES.get(record.partition.topic, 0)),
        )
        work.head(header, origin)
        for index, raw, reason in batch.broken:
            work.letter(origin, reason, raw, index=index, kind="unreadable-flow")
        self._matching(cluster).match(batch, work, origin)
        return None

    def _matching(self, name: str) -> Matching:
        cluster = self._clusters.get(name)
        if cluster is None or not cluster.synced:
            return Matching(Cluster(name))
        found = self._matchings.get(name)
        if found is None or found.cluster is not cluster:
            found = self._matchings[name] = Matching(cluster)
        return found

    def _nobody(self, record: port.Record) -> Origin:
        """Return the origin of a record that names no cluster: the only one, if there is one."""
        names = self._clusters.names()
        name = names[0] if len(names) == 1 else UNKNOWN_CLUSTER
        return Origin(partition=record.partition, offset=record.offset, cluster=name, is_read=False)

    # Committing.

    def _commit(self, work: Work, began: float) -> bool:
        now = self._clock.monotonic()
        if work.is_empty and not work.letters and not self._progress.is_due(now):
            return False
        span = events.span(work.offsets)
        rows = list(work.tally.rows())
        work.tell_disagreements()
        plan = self._progress.plan(work, now)
        if self._producer is None:
            self._producer = self._log.producer(f"picket-enricher-{self._settings.slot}")
        after = {partition: following for partition, (_, following) in work.offsets.items()}
        with self._producer.transaction() as transaction:
            for outgoing in events.matches(rows, span):
                transaction.send(outgoing)
            for tell in plan.tells:
                for outgoing in events.progress(tell, work):
                    transaction.send(outgoing)
            for outgoing in (*work.retries(), *work.letters):
                transaction.send(outgoing)
            if after:
                transaction.commit_offsets(after, self._consumer.membership())
        self._after.update(after)
        self._progress.commit(plan)
        del self._unreadable[: work.told]
        self._count(work, len(rows), self._clock.monotonic() - began)
        return True

    def _pass_markers(self) -> None:
        """Commit positions that only markers of transactions lie before, so that lag can be none.

        A poll has just returned nothing: whatever the position has passed was no record.
        """
        now = self._clock.monotonic()
        if now - self._passed_at < MARKER_SECONDS:
            return
        self._passed_at = now
        try:
            for partition in self._consumer.assignment() - self._after.keys():
                self._after[partition] = self._consumer.committed(partition) or 0
            passed = {
                partition: position
                for partition, after in self._after.items()
                if partition not in self._holds
                and (position := self._consumer.position(partition)) > after
            }
            if passed:
                self._consumer.commit(passed)
                self._after.update(passed)
        except (port.Fenced, port.Unavailable) as error:
            # Nothing depends on it: whoever holds the partitions next passes them again.
            log.info("positions not committed", reason=str(error))

    def _count(self, work: Work, matches: int, seconds: float) -> None:
        metrics = self._metrics
        for (cluster, _), advance in work.advances.items():
            metrics.explained.labels(cluster).inc(advance.flows)
        for cluster, others in work.others.items():
            metrics.others.labels(cluster).inc(others)
        for reason, count in work.unexplained_by_reason.items():
            metrics.unexplained.labels(reason).inc(count)
        for name, matching in self._matchings.items():
            metrics.misses.labels(name).inc(matching.take_misses())
        for found, flows in work.tally.disagreements.items():
            if metrics.disagreed(found, flows):
                pair = {"reported": found.reported, "found": found.found}
                log.warning("Cilium and policies disagree", cluster=found.cluster, **pair)
        metrics.retried.inc(work.retried)
        metrics.dead_letters.inc(len(work.letters))
        metrics.matches.inc(matches)
        metrics.batch_seconds.observe(seconds)
        metrics.transactions.labels("committed").inc()
