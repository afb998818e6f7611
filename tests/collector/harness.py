"""Running a collector in a thread over the embedded log, and looking at what it wrote."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import prometheus_client

from bus import embedded, port
from collector import app, checkpoints
from collector.capture_source import Progress
from collector.settings import CollectorSettings
from schemas import topics
from schemas.hubble import observer_pb2
from schemas.messages import DeadLetter
from schemas.picket.v1 import flows_pb2
from tests.waiting import until as wait_for

DEADLINE = 30.0


@dataclass(slots=True)
class Written:
    """What stands in a log, read anew with every call."""

    log: port.Log

    def batches(self) -> list[flows_pb2.FlowBatch]:
        return [
            flows_pb2.FlowBatch.FromString(record.value or b"")
            for record in self._records(topics.FLOWS.name)
        ]

    def responses(self) -> list[observer_pb2.GetFlowsResponse]:
        return [
            observer_pb2.GetFlowsResponse.FromString(raw)
            for batch in self.batches()
            for raw in batch.responses
        ]

    def uuids(self) -> list[str]:
        return [item.flow.uuid for item in self.responses() if item.HasField("flow")]

    def counts(self) -> Counter[str]:
        return Counter(self.uuids())

    def wait_for(self, count: int) -> None:
        """Wait until so many flows are there."""
        wait_for(lambda: len(self.uuids()) >= count, what=f"{count} flows")

    def gaps(self) -> list[flows_pb2.Gap]:
        return [gap for batch in self.batches() for gap in batch.gaps]

    def states(self) -> list[flows_pb2.StreamState]:
        return [batch.state for batch in self.batches()]

    def letters(self) -> list[DeadLetter]:
        return [
            DeadLetter.model_validate_json(record.value or b"")
            for record in self._records(topics.DEADLETTER.name)
        ]

    def checkpoint(self, cluster: str = "demo") -> flows_pb2.Checkpoint | None:
        return checkpoints.latest(self.log, cluster)

    def arrivals(self) -> list[tuple[str, float]]:
        """Return uuid and time of writing (seconds since the epoch) of each flow."""
        return [
            (flows_pb2.ResponseHead.FromString(raw).flow.uuid, record.timestamp / 1000)
            for record in self._records(topics.FLOWS.name)
            for raw in flows_pb2.FlowBatch.FromString(record.value or b"").responses
        ]

    def _records(self, topic: str) -> list[port.Record]:
        reader = self.log.reader([topic])
        try:
            return list(port.read_to_end(reader))
        finally:
            reader.close()


@dataclass(slots=True)
class Run:
    """A collector on a thread."""

    settings: CollectorSettings
    log: port.Log
    stop: threading.Event = field(default_factory=threading.Event)
    registry: prometheus_client.CollectorRegistry = field(
        default_factory=prometheus_client.CollectorRegistry
    )
    progress: list[Progress] = field(default_factory=list)
    error: BaseException | None = None
    thread: threading.Thread | None = None
    stdin: BinaryIO | None = None

    def start(self) -> None:
        built = app.build(
            self.settings,
            log=self.log,
            registry=self.registry,
            progress=self.progress.append,
            stdin=self.stdin,
        )

        def run() -> None:
            try:
                built.run(self.stop)
            except BaseException as error:  # noqa: BLE001
                self.error = error

        self.thread = threading.Thread(target=run, name="collector under test", daemon=True)
        self.thread.start()

    def finish(self) -> None:
        self.stop.set()
        self.join()

    def join(self) -> None:
        assert self.thread is not None
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"picket_collector_{name}", labels) or 0.0


def a_log(path: Path, **options: object) -> embedded.EmbeddedLog:
    """Open the embedded log, with leases that expire soon."""
    options.setdefault("lease_seconds", 2.0)
    log = embedded.EmbeddedLog(path / "log.db", **options)
    log.ensure(topics.ALL)
    return log


def forget_uuids(log: port.Log, *, cluster: str = "demo") -> None:
    """Let the newest checkpoint begin where the flows topic ends, as it does after many flows."""
    found = checkpoints.latest(log, cluster)
    assert found is not None
    del found.scan_from[:]
    for number, offset in checkpoints.ends(log).items():
        found.scan_from.add(partition=number, offset=offset)
    for node in found.nodes:
        node.known_by_time.CopyFrom(node.newest)
    producer = log.producer("test")
    try:
        with producer.transaction() as transaction:
            transaction.send(
                port.Outgoing(
                    topic=topics.COLLECTOR.name,
                    key=cluster.encode(),
                    value=found.SerializeToString(),
                )
            )
    finally:
        producer.close()


@contextlib.contextmanager
def collecting(log: port.Log, **settings: object) -> Iterator[Run]:
    """Run a collector of cluster demo until the block is left."""
    settings.setdefault("cluster", "demo")
    settings.setdefault("checkpoint_seconds", 0.2)
    settings.setdefault("delay_ms", 10)
    run = Run(CollectorSettings.model_validate(settings), log)
    run.start()
    try:
        yield run
    finally:
        run.finish()


def collected(log: port.Log, *, stdin: BinaryIO | None = None, **settings: object) -> Run:
    """Run a collector over a capture to its end."""
    settings.setdefault("cluster", "demo")
    run = Run(CollectorSettings.model_validate(settings), log, stdin=stdin)
    run.start()
    run.join()
    return run
