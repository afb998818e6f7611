"""Keeps picket.policies in step with a source, while this agent holds the cluster's lease."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from agent import kinds, metrics, plan, table
from agent.source import Problem, Reading, Source
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


@dataclass(slots=True, kw_only=True)
class Publisher:
    """One cluster's objects on their way to the topic. `run` belongs to one thread."""

    bus: port.Log
    cluster: str
    source: Source
    metrics: metrics.Metrics
    clock: clocks.Clock = clocks.SYSTEM
    _producer: port.Producer | None = None
    _known: plan.Known | None = None
    _unwritten: Reading | None = None
    """A reading that the log did not take for sure: a source tells nothing twice."""
    _told: frozenset[Problem] = frozenset()
    _rejected: dict[kinds.Identity, Problem] = field(default_factory=dict)
    _by_kind: Counter[str] = field(default_factory=Counter)
    _next_poll: float = float("-inf")
    _retry: float = FIRST_RETRY_SECONDS
    _trouble: str | None = None
    _complete: bool = False
    _active: bool = False
    """Whether the source is being read."""
    _standby: bool = False

    def problem(self) -> str | None:
        """Return why this agent is not ready, for the health port; standing by is ready."""
        if self._standby:
            return None
        trouble = self._trouble or self.source.problem()
        return trouble or (None if self._complete else "has not read all policies yet")

    def run(self, stop: threading.Event) -> None:
        """Hold the lease and publish until stopped. Raises UserError."""
        lease: port.Consumer | None = None
        try:
            while not stop.is_set():
                try:
                    lease = lease or self.bus.consumer(
                        f"picket-{STAGE}-{self.cluster}", [topics.POLICIES.name]
                    )
                    while not stop.is_set():
                        self._turn(lease, stop)
                except (port.Unavailable, port.Fenced) as error:
                    self._trouble = f"the log is away: {error}"
                    log.warning("the log is away", reason=str(error), retry_in=self._retry)
                    self._let_go()
                    if lease is not None and isinstance(error, port.Unavailable):
                        lease.close()
                        lease = None
                    stop.wait(self._retry)
                    self._retry = min(self._retry * 2, LAST_RETRY_SECONDS)
        finally:
            self.source.pause()
            self._let_go()
            if lease is not None:
                lease.close()

    def _turn(self, lease: port.Consumer, stop: threading.Event) -> None:
        """Renew the lease where that is due, and publish what is new while it is held."""
        if self.clock.monotonic() >= self._next_poll:
            held = _holds(lease)
            self._next_poll = self.clock.monotonic() + (LEASE_POLL_SECONDS if held else 0.0)
            self.metrics.active.labels(self.cluster).set(int(held))
            if not held:
                self._stand_by()
                return
            self._standby = False
            if not self._active:
                self._active = True
                self.source.restart()
        reading = self._unwritten or self.source.read(stop, timeout=LEASE_POLL_SECONDS)
        if reading is not None:
            self._unwritten = reading
            self._publish(reading)
            self._unwritten = None
            self._complete = reading.complete
        self._trouble = None
        self._retry = FIRST_RETRY_SECONDS

    def _stand_by(self) -> None:
        """Let another agent work; what it publishes is not known here."""
        if not self._standby:
            log.info("standing by: another agent is at work", cluster=self.cluster)
        self._standby = True
        self._active = self._complete = False
        self._unwritten = None
        self.source.pause()
        self._let_go()

    def _publish(self, reading: Reading) -> None:
        if self._producer is None:
            self._producer = self.bus.producer(f"picket-{STAGE}-{self.cluster}")
        if self._known is None:
            self._known = table.read(self.bus, self.cluster)
            self._by_kind = Counter(identity.kind for identity in self._known.objects)
        made = plan.make(
            cluster=self.cluster,
            cluster_uid=self._uid(reading, self._known),
            known=self._known,
            news=reading.news,
            complete=reading.complete,
            now=self.clock.utc(),
            max_bytes=topics.POLICIES.max_record_bytes,
        )
        letters = self._new_problems(reading, made)
        self._write(self._producer, made, letters)
        self._count(reading, made, self._known)
        self._known.take(made)

    def _uid(self, reading: Reading, known: plan.Known) -> str:
        """Return the cluster's UID. Raises UserError where the name belongs to another cluster."""
        found = reading.cluster_uid
        bound = known.synced.cluster_uid if known.synced else ""
        if found and bound and found != bound:
            raise UserError(
                f"the name {self.cluster} belongs to the cluster with UID {bound}, the policies "
                f"are of the one with UID {found}; give --cluster another name"
            )
        return found or bound

    def _new_problems(self, reading: Reading, made: plan.Plan) -> list[port.Outgoing]:
        """Say what is newly wrong in the log, and return a dead letter for each."""
        for identity in made.settled & self._rejected.keys():
            del self._rejected[identity]
        self._rejected |= {item.identity: _too_large(item) for item in made.rejected}
        problems = [*reading.problems, *self._rejected.values()]
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
                # Manifests may hold secrets, and the source is still there to be looked at.
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

    def _count(self, reading: Reading, made: plan.Plan, known: plan.Known) -> None:
        """Count before the plan is taken: it tells what is new by what was known."""
        for identity, entry in made.entries.items():
            self._by_kind[identity.kind] += (entry is not None) - (identity in known.objects)
        for kind in kinds.KINDS:
            self.metrics.objects.labels(self.cluster, kind).set(self._by_kind[kind])
        ignored = sum(reading.ignored.values())
        self.metrics.ignored.labels(self.cluster).set(ignored)
        self.metrics.problems.labels(self.cluster).set(len(self._told))
        self.metrics.published.labels(self.cluster, "version").inc(made.changed)
        self.metrics.published.labels(self.cluster, "deletion").inc(made.deleted)
        if made.publications:
            # Endpoints of services come and go all day; a large cluster comes in many readings.
            policies = any(identity.kind in kinds.POLICIES for identity in made.entries)
            is_news = reading.complete and (policies or not self._complete)
            (log.info if is_news else log.debug)(
                "policies published",
                cluster=self.cluster,
                objects=self._by_kind.total(),
                changed=made.changed,
                deleted=made.deleted,
                ignored=ignored,
            )

    def _let_go(self) -> None:
        """Let go of the producer and of what was known: another may write from here on."""
        producer, self._producer = self._producer, None
        self._known = None
        if producer is not None:
            producer.close()


def _too_large(item: plan.TooLarge) -> Problem:
    reason = f"{item.identity} is {item.size:,} bytes; an object may have {item.limit:,}"
    if item.provenance is None:
        return Problem(path=str(item.identity), reason=reason)
    return Problem(path=item.provenance.path, line=item.provenance.line, reason=reason)


def _holds(lease: port.Consumer) -> bool:
    """Renew the lease and return whether it is ours. The records themselves are not wanted."""
    held = lease.assignment()
    if held:
        lease.pause(held)
    lease.poll(timeout=0.0, max_records=1)
    if not lease.assignment():
        lease.poll(timeout=LEASE_POLL_SECONDS, max_records=1)
    return bool(lease.assignment())


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
