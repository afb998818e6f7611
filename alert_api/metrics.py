"""What Prometheus sees of the alert API."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

from alert_api import decoding


@dataclass(slots=True)
class Metrics:
    """All instruments, in one registry."""

    registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY
    matches: Counter = field(init=False)
    events: Counter = field(init=False)
    progress: Counter = field(init=False)
    dead_letters: Counter = field(init=False)
    batches_dropped: Counter = field(init=False)
    batch_seconds: Histogram = field(init=False)
    alerts_opened: Counter = field(init=False)
    alerts_triggered: Counter = field(init=False)
    alerts_resolved: Counter = field(init=False)
    published: Counter = field(init=False)
    outbox: Gauge = field(init=False)
    deliveries: Counter = field(init=False)
    parked: Gauge = field(init=False)

    def __post_init__(self) -> None:
        """Register everything under picket_alert_api_."""
        self.matches = self._counter("matches", "Matches counted onto alerts")
        self.events = self._counter("events", "Stopped flows counted onto alerts")
        self.progress = self._counter("progress", "Progress messages taken in")
        self.dead_letters = self._counter(
            "dead_letters", "Records of picket.matches that could not be read"
        )
        self.batches_dropped = self._counter(
            "batches_dropped", "Batches dropped because another process had read on"
        )
        self.batch_seconds = Histogram(
            "picket_alert_api_batch_seconds",
            "Time to write one batch",
            registry=self.registry,
        )
        self.alerts_opened = self._counter("alerts_opened", "Alerts opened, pending ones too")
        self.alerts_triggered = self._counter("alerts_triggered", "Alerts triggered by matches")
        self.alerts_resolved = self._counter("alerts_resolved", "Alerts resolved by quiet")
        self.published = self._counter("published", "Records produced to picket.alerts")
        self.outbox = Gauge(
            "picket_alert_api_outbox",
            "Records waiting to be produced to picket.alerts",
            registry=self.registry,
        )
        self.deliveries = self._counter(
            "deliveries", "Requests to GitLab by what came of them", "outcome"
        )
        self.parked = Gauge(
            "picket_alert_api_parked",
            "Whether GitLab refused the key of this project",
            ["project"],
            registry=self.registry,
        )

    def count(self, entries: Sequence[decoding.Decoded]) -> None:
        """Count a batch that was committed."""
        matches = [entry.match for entry in entries if isinstance(entry, decoding.MatchRecord)]
        self.matches.inc(len(matches))
        self.events.inc(sum(match.count for match in matches))
        self.progress.inc(sum(isinstance(entry, decoding.ProgressRecord) for entry in entries))
        self.dead_letters.inc(sum(isinstance(entry, decoding.Garbage) for entry in entries))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"picket_alert_api_{name}", text, labels, registry=self.registry)
