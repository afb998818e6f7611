"""An enricher over a real embedded log, driven step by step with a clock in the test's hand."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import prometheus_client

from bus import port
from bus.embedded import EmbeddedLog
from enricher.clusters import Clusters, Unreadable
from enricher.matching import Matching
from enricher.metrics import Metrics
from enricher.session import Session
from enricher.settings import EnricherSettings
from runtime.clock import Clock
from schemas import messages, topics
from schemas.picket.v1 import flows_pb2
from tests.enricher import builders


@dataclass(slots=True)
class Hand:
    """A clock that moves when told."""

    seconds: float = builders.NOON

    def clock(self) -> Clock:
        """Return it as the code takes it."""
        return Clock(now=lambda: self.seconds, monotonic=lambda: self.seconds)


@dataclass(slots=True)
class Stage:
    """The log, an enricher, and what it wrote."""

    log: port.Log
    hand: Hand
    settings: EnricherSettings = field(default_factory=EnricherSettings)
    unreadable: list[Unreadable] = field(default_factory=list)
    registry: prometheus_client.CollectorRegistry = field(
        default_factory=prometheus_client.CollectorRegistry
    )
    matchings: dict[str, Matching] = field(default_factory=dict)
    metrics: Metrics | None = None
    session: Session | None = None
    clusters: Clusters | None = None

    def write(self, *records: port.Outgoing) -> None:
        """Put records on the log in one transaction."""
        producer = self.log.producer("test")
        with producer.transaction() as transaction:
            for record in records:
                transaction.send(record)
        producer.close()

    def open(self) -> Session:
        """Start an enricher: policies read, unless they are known, and the group joined."""
        self.metrics = self.metrics or Metrics(self.registry)
        if self.clusters is None:
            self.clusters = Clusters(
                self.log.reader([topics.POLICIES.name]), unreadable=self.unreadable.append
            )
            self.clusters.read_to_end()
        self.session = Session(
            self.settings,
            connection=self.log,
            clusters=self.clusters,
            matchings=self.matchings,
            unreadable=self.unreadable,
            clock=self.hand.clock(),
            metrics=self.metrics,
        )
        return self.session

    def leave(self) -> None:
        """End the session; the policies and what was remembered stay for the next one."""
        if self.session is not None:
            self.session.close()
        self.session = None

    def close(self) -> None:
        """End the enricher, not the log."""
        self.leave()
        if self.clusters is not None:
            self.clusters.close()
        self.clusters = None

    def run(self) -> None:
        """Step until nothing is left that can be done now."""
        session = self.session or self.open()
        session.step()
        while session.step():
            pass

    def events(self) -> list[dict]:
        """Return all of picket.matches."""
        return [json.loads(record.value or b"null") for record in self.records(topics.MATCHES.name)]

    def matches(self) -> list[messages.Match]:
        """Return the matches so far, each valid."""
        return [
            messages.MatchEvent.model_validate(event).data
            for event in self.events()
            if event["type"] == messages.MATCH
        ]

    def progress(self) -> list[messages.Progress]:
        """Return the progress messages so far, each valid."""
        return [
            messages.ProgressEvent.model_validate(event).data
            for event in self.events()
            if event["type"] == messages.PROGRESS
        ]

    def notices(self) -> Counter[tuple[str, str]]:
        """Return the notices so far, added up by kind and reason."""
        found: Counter[tuple[str, str]] = Counter()
        for progress in self.progress():
            for notice in progress.notices:
                found[notice.kind.value, notice.reason] += notice.count
        return found

    def letters(self) -> list[messages.DeadLetter]:
        """Return the dead letters so far."""
        return [
            messages.DeadLetter.model_validate_json(record.value or b"")
            for record in self.records(topics.DEADLETTER.name)
        ]

    def batches(self, topic: str) -> list[flows_pb2.FlowBatch]:
        """Return the records of a topic of flows."""
        return [
            flows_pb2.FlowBatch.FromString(record.value or b"") for record in self.records(topic)
        ]

    def records(self, topic: str) -> Sequence[port.Record]:
        """Return all records of a topic."""
        reader = self.log.reader([topic])
        try:
            return list(port.read_to_end(reader))
        finally:
            reader.close()


@contextlib.contextmanager
def a_stage(
    folder: Path, *, settings: EnricherSettings | None = None, hand: Hand | None = None
) -> Iterator[Stage]:
    """Return a stage over a fresh log in this folder."""
    hand = hand or Hand()
    log = EmbeddedLog(folder / "log.db", time=hand.clock())
    log.ensure(topics.ALL)
    stage = Stage(log, hand, settings or EnricherSettings())
    try:
        yield stage
    finally:
        stage.close()
        log.close()


def counted(matches: Sequence[messages.Match]) -> dict[str, int]:
    """Return the flows by policy and peer, as `policy from peer`."""
    sums: Counter[str] = Counter()
    for match in matches:
        sums[f"{match.policy.name} {match.direction} {match.peer.text} {match.reason}"] += (
            match.count
        )
    return dict(sums)
