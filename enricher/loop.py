"""The enricher's thread: sessions, one after the other, until told to stop.

A session ends when the log is away or somebody else took over; what it had not committed is gone
from memory with it. Nothing is ever fought for: who is fenced waits, longer each time.
"""

import gc
import threading
from collections.abc import Callable
from typing import Final

import structlog

from bus import port
from enricher.clusters import Clusters, Unreadable
from enricher.matching import Matching
from enricher.metrics import Metrics
from enricher.session import GROUP, TOPICS, Session
from enricher.settings import EnricherSettings
from runtime.clock import Clock
from schemas import topics

log = structlog.get_logger()

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
STALLED_SECONDS: Final = 60.0
LAG_SECONDS: Final = 15.0
PRUNE_SECONDS: Final = 3600.0
GC_THRESHOLDS: Final = (50_000, 20, 50)
"""The caches are many small objects and no cycles: looking through them at Python's own pace would
take a quarter of the time."""
_PAUSE_FACTOR: Final = 2.0


class Enricher:
    """Runs sessions; health checks may ask from other threads."""

    def __init__(
        self,
        settings: EnricherSettings,
        *,
        connection: port.Log,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._log = connection
        self._clock = clock
        self._metrics = metrics
        self._clusters: Clusters | None = None
        self._matchings: dict[str, Matching] = {}
        self._unread: list[Unreadable] = []
        self._alive_at = clock.monotonic()
        self._problem: str | None = "not started"
        self._next_lag = self._next_prune = clock.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Work until the event is set. Raises Misconfigured, and whatever is nobody's business."""
        pause = FIRST_PAUSE
        thresholds = gc.get_threshold()
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            while not stop.is_set():
                began = self._clock.monotonic()
                try:
                    self._serve(stop)
                except port.Fenced as error:
                    self._ended("fenced", f"standing by: {error}")
                except port.Unavailable as error:
                    self._ended("unavailable", f"the log cannot be reached: {error}")
                    self._forget_policies()
                if self._clock.monotonic() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                self._wait(stop, pause)
                pause = min(pause * _PAUSE_FACTOR, LONGEST_PAUSE)
        finally:
            gc.set_threshold(*thresholds)
            self._forget_policies()

    def ready(self) -> str | None:
        """Say what keeps it from working, None if nothing does."""
        return self._problem

    def live(self) -> str | None:
        """Say whether the loop is stuck."""
        silent = self._clock.monotonic() - self._alive_at
        return f"no step for {silent:.0f} s" if silent > STALLED_SECONDS else None

    def _serve(self, stop: threading.Event) -> None:
        clusters = self._read_policies()
        session = Session(
            self._settings,
            connection=self._log,
            clusters=clusters,
            matchings=self._matchings,
            unreadable=self._unread,
            clock=self._clock,
            metrics=self._metrics,
        )
        try:
            self._problem = None
            while not stop.is_set():
                session.step()
                self._alive_at = self._clock.monotonic()
                self._now_and_then(clusters)
        finally:
            _quietly(session.close)

    def _read_policies(self) -> Clusters:
        if self._clusters is None:
            clusters = Clusters(
                self._log.reader([topics.POLICIES.name]), unreadable=self._unreadable
            )
            try:
                clusters.read_to_end()
            except BaseException:
                clusters.close()
                raise
            # Who was there when they came up has told of them.
            self._unread.clear()
            self._clusters = clusters
            log.info("policies read", clusters=clusters.names())
        return self._clusters

    def _forget_policies(self) -> None:
        clusters, self._clusters = self._clusters, None
        self._matchings.clear()
        if clusters is not None:
            _quietly(clusters.close)

    def _unreadable(self, record: Unreadable) -> None:
        self._unread.append(record)
        self._metrics.policies_rejected.inc()

    def _ended(self, result: str, problem: str) -> None:
        self._problem = problem
        self._metrics.transactions.labels(result).inc()
        log.warning("session ended", reason=problem)

    def _wait(self, stop: threading.Event, seconds: float) -> None:
        if not stop.is_set():
            stop.wait(seconds)
            self._alive_at = self._clock.monotonic()

    def _now_and_then(self, clusters: Clusters) -> None:
        now = self._clock.monotonic()
        if now >= self._next_prune:
            self._next_prune = now + PRUNE_SECONDS
            clusters.prune(self._clock.now())
        if now >= self._next_lag:
            self._next_lag = now + LAG_SECONDS
            for lag in self._log.lag(GROUP, TOPICS):
                behind = lag.end - (lag.committed or 0)
                self._metrics.lag.labels(lag.partition.topic, lag.partition.number).set(behind)


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except port.LogError as error:
        log.warning("closing failed", reason=str(error))
