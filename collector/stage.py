"""One cluster's collector: stand by, take over, collect, and stand by again when fenced."""

import threading
from dataclasses import dataclass, field

import structlog

from bus import port
from collector import checkpoints, instants, sources, writing
from collector.lease import WAIT_SECONDS, Lease
from collector.session import Session, Setup
from runtime.errors import UserError
from schemas import topics
from schemas.picket.v1 import flows_pb2

log = structlog.get_logger()

BACKOFF_SECONDS = 1.0
FENCED_SECONDS = 5.0
"""How long a fenced process stays out: whoever fenced it is alive."""
PATIENCE_SECONDS = 15.0
"""How long a dead collector's lease may last."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """The loop runs on one thread, which owns the lease, the producer and what is known."""

    setup: Setup
    may_stand_by: bool = True
    _lease: Lease = field(init=False)
    _writer: writing.Writer = field(init=False)
    _session: Session | None = None
    _told: bool = False
    _away: bool = False

    def __post_init__(self) -> None:
        self._lease = Lease(log=self.setup.log, cluster=self.setup.cluster)
        self._writer = writing.Writer(log=self.setup.log, cluster=self.setup.cluster)

    def run(self, stop: threading.Event) -> None:
        """Collect until stopped, or until a finite source has ended.

        Raises UserError where the cluster's name belongs to another cluster, or where standing by
        is needed and not allowed; Misconfigured as the log does.
        """
        try:
            while not stop.is_set():
                try:
                    if self._turn(stop):
                        return
                    self._stand_down(stop, seconds=0.0)
                except port.Fenced as fenced:
                    log.warning("another collector took over", reason=str(fenced))
                    self._stand_down(stop, seconds=FENCED_SECONDS)
                except port.Unavailable as away:
                    if not self._away:
                        log.warning("the log is away", reason=str(away))
                    self._away = True
                    self._stand_down(stop, seconds=BACKOFF_SECONDS)
        finally:
            self.setup.source.close()
            self._writer.close()
            self._lease.close()
            self.setup.metrics.active.set(0)

    @property
    def is_active(self) -> bool:
        """Return whether this collector is the active one of its cluster. From any thread."""
        return self._session is not None

    def _turn(self, stop: threading.Event) -> bool:
        """Be a standby, then the active one; return whether all is done."""
        if not self._wait_for_lease(stop):
            return True
        self._session = self._take_over()
        self._away = self._told = False
        self.setup.metrics.active.set(1)
        log.info("collecting", cluster=self.setup.cluster, source=self.setup.source.name)
        if self._session.run(stop):
            return True
        log.info("the lease went to another collector", cluster=self.setup.cluster)
        return False

    def _wait_for_lease(self, stop: threading.Event) -> bool:
        # Before all else: a cluster of the wrong name must not stand by either.
        self._check_uid(checkpoints.latest(self.setup.log, self.setup.cluster))
        time = self.setup.time
        began = time.monotonic()
        while not stop.is_set():
            self.setup.source.stand_by()
            if self._lease.is_held(wait=WAIT_SECONDS):
                return True
            if not self._told and time.monotonic() - began > PATIENCE_SECONDS:
                self._told = True
                if not self.may_stand_by:
                    raise UserError(f"another collector of cluster {self.setup.cluster} is active")
                log.info("standing by: another collector is active", cluster=self.setup.cluster)
        return False

    def _take_over(self) -> Session:
        setup = self.setup
        # The order is the promise: fence first, or what is read could still change.
        self._writer.open()
        checkpoint = checkpoints.latest(setup.log, setup.cluster)
        self._check_uid(checkpoint)
        found = checkpoints.scan(setup.log, setup.cluster, checkpoint)
        marks = checkpoints.Marks()
        if checkpoint is None or found.cut:
            marks.set(checkpoints.ends(setup.log), found.windows)
        else:
            marks.restart(checkpoint, found)
        packer = writing.Packer(
            cluster=setup.cluster,
            batch_bytes=setup.batch_bytes,
            partitions=_partitions(setup.log),
        )
        packer.restore(found.read_until)
        setup.source.begin(
            sources.Restored(
                checkpoint=checkpoint,
                windows=found.windows,
                now=instants.of_seconds(setup.time.now()),
            )
        )
        return Session(
            setup=setup,
            lease=self._lease,
            writer=self._writer,
            packer=packer,
            marks=marks,
            windows=found.windows,
            gaps=found.gaps,
            checkpoint=checkpoint or flows_pb2.Checkpoint(cluster=setup.cluster),
        )

    def _check_uid(self, checkpoint: flows_pb2.Checkpoint | None) -> None:
        theirs, ours = checkpoint.cluster_uid if checkpoint else "", self.setup.cluster_uid
        if theirs and ours and theirs != ours:
            raise UserError(
                f"the name {self.setup.cluster} belongs to the cluster whose namespace kube-system"
                f" has the UID {theirs}; this cluster's is {ours}: call it something else with"
                " --cluster"
            )

    def _stand_down(self, stop: threading.Event, *, seconds: float) -> None:
        """Give up what an active collector holds, and wait, with the stream attached."""
        if self._session is not None:
            self._session = None
            self.setup.source.end()
        self.setup.metrics.active.set(0)
        self._writer.close()
        if seconds:
            self._lease.close()
        until = self.setup.time.monotonic() + seconds
        while not stop.is_set() and self.setup.time.monotonic() < until:
            self.setup.source.stand_by()
            stop.wait(WAIT_SECONDS)


def _partitions(log: port.Log) -> list[int]:
    reader = log.reader([topics.FLOWS.name])
    try:
        return sorted(partition.number for partition in reader.partitions())
    finally:
        reader.close()
