"""The loop that tells GitLab: one request at a time a project, in order an alert.

Only the holder of the lease posts, and only while the lease outlasts the request: a process that
was taken over cannot post behind the back of its successor.
"""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from alert_api import events, instants
from alert_api.database import Database
from alert_api.gitlab import posts
from alert_api.gitlab.endpoint import SECONDS, Answer, Endpoint, Meaning
from alert_api.leasing import Lease
from alert_api.metrics import Metrics
from alert_api.repository import deliveries, details, listing
from alert_api.repository.deliveries import EndpointState, Outcome, Standing
from alert_api.states import Wanted
from runtime.clock import Clock

log = structlog.get_logger()

FIRST_WAIT = 5.0
LONGEST_WAIT = 900.0
REJECTED_WAIT = instants.HOUR
ROUND = 20
"""Deliveries a project and round."""
WORKERS = 8


@dataclass(slots=True, kw_only=True)
class Deliverer:
    """Delivers what is due. One thread calls it; projects are served side by side."""

    database: Database
    clock: Clock
    metrics: Metrics
    lease: Lease
    endpoints: Sequence[Endpoint]
    public_url: str | None = None
    chance: Callable[[], float] = random.random
    _pool: ThreadPoolExecutor | None = field(init=False, default=None)
    _next_forgetting: float = field(init=False, default=float("-inf"))

    def step(self) -> int:
        """Do one round; return how many requests were made. Raises Unreachable."""
        if not self.lease.hold():
            return 0
        self._forget()
        if len(self.endpoints) <= 1:
            return sum(map(self._serve, self.endpoints))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="gitlab")
        return sum(self._pool.map(self._serve, self.endpoints))

    def close(self) -> None:
        """Let go of all connections. Idempotent."""
        if self._pool is not None:
            self._pool.shutdown()
        for endpoint in self.endpoints:
            endpoint.close()

    def _forget(self) -> None:
        if self.clock.monotonic() < self._next_forgetting:
            return
        with self.database.writing() as connection:
            names = [endpoint.project for endpoint in self.endpoints]
            deliveries.forget_unwanted(connection, names)
        self._next_forgetting = self.clock.monotonic() + 60

    def _serve(self, endpoint: Endpoint) -> int:
        """Deliver to one project until nothing is due, or it asks us to stop."""
        now = self._now()
        with self.database.reading() as connection:
            standing = deliveries.standings(connection, [endpoint.project])[endpoint.project]
            rows = deliveries.due(connection, endpoint.project, now=now, limit=ROUND)
        parked = standing.state is EndpointState.PARKED
        if parked and standing.token == endpoint.credentials():
            self.metrics.parked.labels(endpoint.project).set(1)
            return 0
        self.metrics.parked.labels(endpoint.project).set(0)
        if standing.until is not None and now < standing.until and not parked:
            return 0
        made = 0
        for row in rows:
            if self.lease.remaining() <= SECONDS:
                break
            answer = self._deliver(endpoint, row)
            if answer is None:
                continue
            made += 1
            standing = self._judge(endpoint, standing, answer)
            if standing.state is not EndpointState.OK:
                break
        return made

    def _deliver(self, endpoint: Endpoint, row: Any) -> Answer | None:
        """Do what one alert needs next; return GitLab's answer, or None where nothing is sent."""
        now = self._now()
        stand = posts.Stand(
            wanted=Wanted(row.wanted),
            told=Wanted(row.told),
            unsure=row.unsure,
            posted_at=row.posted_at,
            posted_events=row.posted_events,
            events=row.events,
        )
        step = posts.decide(stand, now=now)
        if isinstance(step, posts.Wait):
            self._record(row, stand, due=step.until, attempts=row.attempts, failure=row.failure)
            return None
        resolves = step in {posts.Post.RESOLVE, posts.Post.CONFIRM}
        answer = endpoint.post(self._payload(endpoint, row, resolves=resolves), resolves=resolves)
        self.metrics.deliveries.labels(answer.meaning.name.lower()).inc()
        if answer.meaning in {Meaning.TAKEN, Meaning.NOTHING_OPEN}:
            stand = posts.after(stand, step, answered=True, now=now)
            following = posts.decide(stand, now=now)
            due = following.until if isinstance(following, posts.Wait) else now
            self._record(row, stand, due=due, attempts=0, failure=None)
            return answer
        if answer.unsure:
            stand = posts.after(stand, step, answered=False, now=now)
        due = now + REJECTED_WAIT if answer.meaning is Meaning.REJECTED else row.due
        attempts = row.attempts + 1
        self._record(row, stand, due=due, attempts=attempts, failure=answer.reason)
        log.warning(
            "GitLab did not take a delivery",
            project=endpoint.project,
            alert=row.alert_id,
            reason=answer.reason,
            attempts=attempts,
        )
        return answer

    def _payload(self, endpoint: Endpoint, row: Any, *, resolves: bool) -> dict[str, Any]:
        with self.database.reading() as connection:
            alert = events.shown(listing.one(connection, row.alert_id))
            known = details.of_alert(connection, row.alert_id)
        page = f"{self.public_url}/alerts/{alert.id}" if self.public_url else None
        return posts.payload(
            alert,
            posts.Known(
                sentence=known.sentence,
                findings=known.findings,
                ports=known.ports,
                peers=known.peers,
                environment=endpoint.environment,
                page=page,
            ),
            ended=(alert.resolved_at or self.clock.utc()) if resolves else None,
        )

    def _record(
        self, row: Any, stand: posts.Stand, *, due: int | None, attempts: int, failure: str | None
    ) -> None:
        outcome = Outcome(
            alert_id=row.alert_id,
            version=row.version,
            told=stand.told,
            unsure=stand.unsure,
            posted_at=stand.posted_at,
            posted_events=stand.posted_events,
            due=due,
            attempts=attempts,
            failure=failure,
        )
        with self.database.writing() as connection:
            deliveries.record(connection, [outcome], now=self._now())

    def _judge(self, endpoint: Endpoint, before: Standing, answer: Answer) -> Standing:
        """Record how deliveries to the project go after an answer."""
        now = self._now()
        delivered = 0
        if answer.meaning is Meaning.PARK:
            log.error("deliveries are parked", project=endpoint.project, reason=answer.reason)
            self.metrics.parked.labels(endpoint.project).set(1)
            after = Standing(
                state=EndpointState.PARKED,
                reason=answer.reason,
                since=now,
                failures=before.failures + 1,
                token=endpoint.credentials(),
            )
        elif answer.meaning is Meaning.LATER:
            after = Standing(
                state=EndpointState.WAITING,
                reason=answer.reason,
                since=before.since if before.state is EndpointState.WAITING else now,
                until=now + int(self._wait(before.failures, answer) * instants.SECOND),
                failures=before.failures + 1,
            )
        else:
            delivered = int(answer.meaning is not Meaning.REJECTED)
            after = Standing(since=before.since if before.state is EndpointState.OK else now)
        with self.database.writing() as connection:
            deliveries.set_standing(
                connection, endpoint.project, after, delivered=delivered, now=now
            )
        return replace(after, delivered=before.delivered + delivered)

    def _wait(self, failures: int, answer: Answer) -> float:
        """Return seconds to wait: doubled each time, with jitter, and no less than asked for."""
        wait: float = min(FIRST_WAIT * 2 ** min(failures, 20), LONGEST_WAIT)
        wait *= 0.5 + self.chance() / 2
        return wait if answer.wait is None else answer.wait + wait * 0.1

    def _now(self) -> int:
        return instants.from_seconds(self.clock.now())
