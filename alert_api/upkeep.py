"""Resolving alerts by quiet, and removing old ones.

Quiet is time that was watched. A cluster's flow time may be trusted only once all matches that were
on the log when it was read have been counted: progress and matches stand in different partitions,
and another process may read those.
"""

from dataclasses import dataclass, field

import structlog

from alert_api import instants, states
from alert_api.database import Database
from alert_api.metrics import Metrics
from alert_api.repository import offsets, streams, upkeep
from bus import port
from runtime.clock import Clock
from schemas import topics

log = structlog.get_logger()

TOPIC = topics.MATCHES.name
EVERY_SECONDS = 5.0
PURGE_SECONDS = 600.0
LAG = 2 * instants.MINUTE
"""A cluster whose flows are matched later than this is not watched."""
CHUNK = 500

Watched = dict[str, tuple[int, int]]
"""By cluster, from when to when it was watched without a break."""


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """Does what time asks for. One thread uses it, while it holds the lease."""

    database: Database
    log: port.Log
    clock: Clock
    metrics: Metrics
    resolve_after: int | None
    keep_days: int
    _next: float = field(init=False, default=float("-inf"))
    _next_purge: float = field(init=False, default=float("-inf"))
    _candidate: tuple[Watched, dict[port.Partition, int]] | None = field(init=False, default=None)

    def step(self) -> None:
        """Do what is due. Raises Unavailable, Unreachable."""
        now = self.clock.monotonic()
        if now >= self._next:
            self._next = now + EVERY_SECONDS
            self.resolve()
        if now >= self._next_purge:
            self._next_purge = now + PURGE_SECONDS
            self.purge()

    def resolve(self) -> int:
        """Resolve what was quiet; return how many alerts."""
        now = instants.from_seconds(self.clock.now())
        current = self._watched(now)
        counted = 0
        if self._candidate is not None and self._is_proven(self._candidate[1]):
            for cluster, (_, until) in self._candidate[0].items():
                # Seen since then to be blind, or broken, or resumed: the later start holds.
                if cluster in current:
                    watched = (current[cluster][0], until)
                    counted += self._resolve(cluster, watched, now=now)
            self._candidate = None
        if self._candidate is None and current:
            self._candidate = (current, self._ends())
        return counted

    def purge(self) -> int:
        """Remove what is older than it is kept; return how many alerts."""
        before = instants.from_seconds(self.clock.now()) - self.keep_days * instants.DAY
        total = 0
        while True:
            with self.database.writing() as connection:
                removed = upkeep.purge(connection, before=before, limit=CHUNK)
            total += removed
            if removed < CHUNK:
                return total

    def _resolve(self, cluster: str, watched: tuple[int, int], *, now: int) -> int:
        total = 0
        while True:
            with self.database.writing() as connection:
                resolved = upkeep.resolve_quiet(
                    connection,
                    cluster=cluster,
                    watched=watched,
                    default=self.resolve_after,
                    now=now,
                    limit=CHUNK,
                )
            self.metrics.alerts_resolved.inc(resolved)
            total += resolved
            if resolved < CHUNK:
                return total

    def _watched(self, now: int) -> Watched:
        with self.database.reading() as connection:
            views = streams.every_view(connection)
        watched = {
            cluster: states.observed(parts, now=now, lag=LAG) for cluster, parts in views.items()
        }
        return {cluster: interval for cluster, interval in watched.items() if interval}

    def _ends(self) -> dict[port.Partition, int]:
        reader = self.log.reader([TOPIC])
        try:
            return reader.end()
        finally:
            reader.close()

    def _is_proven(self, ends: dict[port.Partition, int]) -> bool:
        with self.database.reading() as connection:
            rows = offsets.every(connection, TOPIC)
        return all(
            end == 0 or (partition in rows and rows[partition].next >= end)
            for partition, end in ends.items()
        )
