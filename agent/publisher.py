"""Keeps picket.policies in step with a folder, while this agent holds the cluster's lease."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
import watchfiles

from agent import folder, kinds, metrics, plan, table
from bus import port
from runtime import clock as clocks
from runtime import deadletters
from runtime.errors import UserError
from schemas import topics

log = structlog.get_logger()

STAGE = "agent"
LEASE_POLL_SECONDS = 0.5
BATCH_BYTES = 8 * 1024 * 1024
BATCH_RECORDS = 500
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 15.0
QUIET_MILLISECONDS = 200
"""A folder is read once nothing has changed for so long: half-written files stay unseen."""


@dataclass(slots=True, kw_only=True)
class Publisher:
    """One cluster's folder on its way to the topic. `run` belongs to one thread."""

    bus: port.Log
    cluster: str
    source: folder.Folder
    rescan_seconds: float
    metrics: metrics.Metrics
    clock: clocks.Clock = clocks.SYSTEM
    _producer: port.Producer | None = None
    _known: plan.Known | None = None
    _watch: Iterator[set[watchfiles.main.FileChange]] | None = None
    _told: frozenset[folder.Problem] = frozenset()
    _next_pass: float = 0.0
    _retry: float = FIRST_RETRY_SECONDS
    _trouble: str | None = "has not read the folder yet"
    _standby: bool = False

    def problem(self) -> str | None:
        """Return why this agent is not ready, for the health port; standing by is ready."""
        return None if self._standby else self._trouble

    def run(self, stop: threading.Event) -> None:
        """Hold the lease and publish until stopped."""
        lease: port.Consumer | None = None
        try:
            while not stop.is_set():
                try:
                    lease = lease or self.bus.consumer(
                        f"picket-{STAGE}-{self.cluster}", [topics.POLICIES.name]
                    )
                    while not stop.is_set():
                        self._turn(lease)
                        self._wait(stop)
                except (port.Unavailable, port.Fenced) as error:
                    self._trouble = f"the log is away: {error}"
                    log.warning("the log is away", reason=str(error), retry_in=self._retry)
                    self._forget()
                    if lease is not None and isinstance(error, port.Unavailable):
                        lease.close()
                        lease = None
                    stop.wait(self._retry)
                    self._retry = min(self._retry * 2, LAST_RETRY_SECONDS)
        finally:
            self._forget()
            if lease is not None:
                lease.close()

    def _turn(self, lease: port.Consumer) -> None:
        """Renew the lease, and do one pass where it is held and one is due."""
        if not _holds(lease):
            if not self._standby:
                log.info("standing by: another agent is at work", cluster=self.cluster)
            self._standby = True
            self.metrics.active.labels(self.cluster).set(0)
            self._forget()
            return
        self._standby = False
        self.metrics.active.labels(self.cluster).set(1)
        if self._known is None or self.clock.monotonic() >= self._next_pass:
            self._pass()
            self._next_pass = self.clock.monotonic() + self.rescan_seconds
            self._retry = FIRST_RETRY_SECONDS

    def _wait(self, stop: threading.Event) -> None:
        """Wait a moment; a change in the folder makes a pass due at once."""
        if self._known is None or not self.source.root.exists():
            self._watch = None
            stop.wait(LEASE_POLL_SECONDS)
            return
        fresh = self._watch is None
        self._watch = self._watch or _watch(self.source.root, stop)
        if next(self._watch, None) or fresh:
            # What changed before the watch was up was not announced: read once more.
            self._next_pass = self.clock.monotonic()

    def _pass(self) -> None:
        try:
            snapshot = self.source.read()
        except folder.Missing as error:
            self._trouble = str(error)
            log.warning("the folder is away; what is known stays in force", reason=str(error))
            return
        if self._producer is None:
            self._producer = self.bus.producer(f"picket-{STAGE}-{self.cluster}")
        if self._known is None:
            self._known = table.read(self.bus, self.cluster)
        made = plan.make(
            cluster=self.cluster,
            cluster_uid=self._uid(snapshot, self._known),
            known=self._known,
            wanted=snapshot.objects,
            held_paths=snapshot.held_paths,
            held=snapshot.held,
            now=self.clock.utc(),
            max_bytes=topics.POLICIES.max_record_bytes,
        )
        letters = self._new_problems(snapshot, made.rejected)
        self._write(self._producer, made, letters)
        self._known = made.after
        self._trouble = None
        self._count(snapshot, made)

    def _uid(self, snapshot: folder.Snapshot, known: plan.Known) -> str:
        """Return the cluster's UID. Raises UserError where the name belongs to another cluster."""
        found = folder.cluster_uid(snapshot)
        bound = known.synced.cluster_uid if known.synced else ""
        if found and bound and found != bound:
            raise UserError(
                f"the name {self.cluster} belongs to the cluster with UID {bound}, the manifests "
                f"are of the one with UID {found}; give --cluster another name"
            )
        return found or bound

    def _new_problems(
        self, snapshot: folder.Snapshot, rejected: Sequence[plan.TooLarge]
    ) -> list[port.Outgoing]:
        """Say what is newly wrong in the log, and return a dead letter for each."""
        problems = list(snapshot.problems)
        problems += [
            folder.Problem(
                path=item.provenance.path,
                line=item.provenance.line,
                reason=f"{item.identity} is {item.size:,} bytes; an object may have {item.limit:,}",
            )
            for item in rejected
        ]
        letters = []
        for problem in problems:
            if problem in self._told:
                continue
            log.error("a manifest cannot be taken", where=problem.where, reason=problem.reason)
            value = deadletters.letter(
                stage=STAGE,
                reason=problem.reason,
                topic=problem.path,
                index=problem.line,
                at=self.clock.utc(),
                payload=problem.content,
                # Manifests may hold secrets, and the file is still there to be looked at.
                keep=0,
            )
            key = f"{self.cluster}/{problem.path}".encode()
            letters.append(port.Outgoing(topic=topics.DEADLETTER.name, key=key, value=value))
        for path in {told.path for told in self._told} - {problem.path for problem in problems}:
            log.info("a manifest is fine again", where=path)
        self._told = frozenset(problems)
        return letters

    def _write(
        self, producer: port.Producer, made: plan.Plan, letters: list[port.Outgoing]
    ) -> None:
        """Write in bounded transactions; the marker comes last, so it is never early."""
        records = letters + [
            port.Outgoing(topic=topics.POLICIES.name, key=item.key.encode(), value=item.value)
            for item in made.publications
        ]
        for batch in _batches(records):
            with producer.transaction() as transaction:
                for record in batch:
                    transaction.send(record)

    def _count(self, snapshot: folder.Snapshot, made: plan.Plan) -> None:
        by_kind = Counter(identity.kind for identity in made.after.objects)
        for kind in kinds.KINDS:
            self.metrics.objects.labels(self.cluster, kind).set(by_kind[kind])
        ignored = sum(snapshot.ignored.values())
        self.metrics.ignored.labels(self.cluster).set(ignored)
        self.metrics.problems.labels(self.cluster).set(len(self._told))
        self.metrics.published.labels(self.cluster, "version").inc(made.changed)
        self.metrics.published.labels(self.cluster, "deletion").inc(made.deleted)
        if made.publications:
            log.info(
                "policies published",
                cluster=self.cluster,
                objects=len(made.after.objects),
                changed=made.changed,
                deleted=made.deleted,
                ignored=ignored,
            )

    def _forget(self) -> None:
        """Let go of the producer and of all that was read: another may write from here on."""
        producer, self._producer = self._producer, None
        self._known = None
        if producer is not None:
            producer.close()


def _holds(lease: port.Consumer) -> bool:
    """Renew the lease and return whether it is ours. The records themselves are not wanted."""
    held = lease.assignment()
    if held:
        lease.pause(held)
    lease.poll(timeout=0.0 if held else LEASE_POLL_SECONDS, max_records=1)
    return bool(lease.assignment())


def _watch(root: Path, stop: threading.Event) -> Iterator[set[watchfiles.main.FileChange]]:
    """Yield changes as they come, and an empty set every moment without one."""
    return watchfiles.watch(
        # An editor replaces a file, and with it what was watched: look at its folder.
        root if root.is_dir() else root.parent,
        recursive=root.is_dir(),
        watch_filter=None,
        stop_event=stop,
        step=QUIET_MILLISECONDS,
        rust_timeout=int(LEASE_POLL_SECONDS * 1000),
        yield_on_timeout=True,
        raise_interrupt=False,
    )


def _batches(records: Sequence[port.Outgoing]) -> list[list[port.Outgoing]]:
    """Split into transactions of bounded size, never between a deletion and its tombstone."""
    batches: list[list[port.Outgoing]] = []
    size = 0
    for record in records:
        length = len(record.value or b"")
        full = size + length > BATCH_BYTES or (batches and len(batches[-1]) >= BATCH_RECORDS)
        if not batches or (full and record.value is not None):
            batches.append([])
            size = 0
        batches[-1].append(record)
        size += length
    return batches
