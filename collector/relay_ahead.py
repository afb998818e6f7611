"""Reading past relay's sorting, where a trickle of flows would wait in it.

Relay sorts in a heap of about as many flows as there are nodes, and empties it only after a second
without any flow. So with many nodes a flow waits for as many later ones. A request that does not
follow ends at once, and with it the sorting: it returns what the nodes hold. The reasoning is in
docs/decisions/0007-reading-past-relays-sorting.md.

What is read here may be missing something older of the same node, which the stream has yet to
bring: nothing may follow from it but that these flows exist. Nor may the stream ever depend on it.
"""

import itertools
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import structlog

from collector import instants, relay_channel
from collector.filters import Filters
from collector.metrics import Metrics
from runtime import clock

log = structlog.get_logger()

SORTED_NODES = 100
"""Relay's heap holds so many at most; with fewer nodes a request can make it smaller."""
BEARABLE_SECONDS = 1.0
"""Where flows come fast enough to empty the heap in this time, the stream alone will do."""
SPREAD = 3.0
"""Flows come at random: how many standard deviations are allowed for."""
RATED_SECONDS = 2.5
"""Over how long the rate is taken."""
BUSY_SECONDS = 0.5
IDLE_SECONDS = 1.0
NODES_A_SECOND = 150
"""Relay asks them all, at 0.13 ms of CPU each: 2 % of a core."""
EVENTS_A_SECOND = 100_000
"""A node goes through its whole ring, at 0.1 µs of CPU an event: 1 % of a core."""
LAST_PAUSE = 8.0
CALL_SECONDS = 2.0
MOST = 2000
"""A reading of more flows than that is in vain: it is no trickle any more."""
LATE = 2 * instants.SECOND
"""How late a flow may be in its node's ring, and how far the nodes' clocks may be apart."""
FURTHEST = 10 * instants.SECOND


@dataclass(slots=True, kw_only=True)
class Load:
    """What decides whether readings are worth it."""

    nodes: int = 0
    ring: int = 0
    """How many events the largest ring holds."""
    rate: float = 0.0
    """New flows a second, whichever way they came."""
    _arrived: int = 0
    _rated: float = 0.0

    def note(self, arrived: int, *, at: float) -> None:
        """Count new flows; `at` is in monotonic seconds."""
        self._arrived += arrived
        if at - self._rated >= RATED_SECONDS:
            self.rate = self._arrived / (at - self._rated)
            self._rated, self._arrived = at, 0


def pace(load: Load) -> float | None:
    """Return how many seconds lie between two readings; None where the stream will do."""
    heap = min(load.nodes, SORTED_NODES)
    enough = heap + SPREAD * math.sqrt(heap)
    if load.nodes < 2 or load.rate * BEARABLE_SECONDS >= enough:
        return None
    return max(
        BUSY_SECONDS if load.rate else IDLE_SECONDS,
        load.nodes / NODES_A_SECOND,
        load.ring / EVENTS_A_SECOND,
    )


def sorting_seconds(load: Load) -> float:
    """Return how long relay may hold a flow back."""
    # With less than one a second a pause of a second is never far.
    return min(load.nodes, SORTED_NODES) / load.rate if load.rate > 1 else 0.0


def since(*, before: int, newest: int) -> int:
    """Return from when on to read, in nanoseconds, after a reading that began at `before`.

    `newest` is the time of the newest flow known. A node's clock that is behind ours must not hide
    its flows, hence the smaller of the two; nor must a long silence bring the same flows for ever.
    """
    return min(before, max(newest, before - FURTHEST)) - LATE


class Ahead:
    """Reads now and then, on a thread of its own, as the stage says."""

    def __init__(
        self,
        relay: relay_channel.Relay,
        filters: Filters,
        *,
        clock: clock.Clock,
        metrics: Metrics,
    ) -> None:
        self._relay = relay
        self._filters = filters
        self._clock = clock
        self._metrics = metrics
        self._closed = threading.Event()
        self._pace: float | None = None
        self._newest = 0
        self._before = 0
        self._found: list[bytes] = []
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name="relay ahead", daemon=True)

    def start(self) -> None:
        """Begin, once steered."""
        self._thread.start()

    def steer(self, pace: float | None, *, newest: int) -> None:
        """Read so often from now on; `newest` is the time of the newest flow that is known."""
        self._newest = newest
        self._pace = pace

    def take(self) -> list[bytes]:
        """Return what the last reading brought, which makes room for another."""
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closed.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        pause = BUSY_SECONDS
        while not self._closed.wait(pause):
            steered = self._pace
            pause = steered or BUSY_SECONDS
            # While the log is away nobody takes, and what was read waits.
            if steered is None or self._found:
                continue
            began = time.monotonic()
            try:
                self._read()
            except Exception as error:  # noqa: BLE001 - the stream goes on without this
                if self._closed.is_set():
                    return
                self._fail(error)
                pause = min(pause * 2**self._failures, LAST_PAUSE)
            else:
                self._failures = 0
            pause = max(pause - (time.monotonic() - began), BUSY_SECONDS / 2)

    def _read(self) -> None:
        now = instants.of_seconds(self._clock.now())
        before = max(self._before, now - FURTHEST)
        answers = self._relay.since(
            since(before=before, newest=self._newest or now),
            filters=self._filters,
            timeout=CALL_SECONDS,
        )
        found: list[bytes] = []
        try:
            found.extend(itertools.islice(_unbroken(answers), MOST))
        finally:
            answers.cancel()
        if len(found) == MOST:
            self._metrics.readings.labels(result="too-many").inc()
            return
        self._before = now
        self._found = found
        self._metrics.readings.labels(result="read").inc()

    def _fail(self, error: Exception) -> None:
        self._failures = min(self._failures + 1, 10)
        self._metrics.readings.labels(result="failed").inc()
        if self._failures == 1:
            reason = (
                relay_channel.explain(error) if isinstance(error, grpc.RpcError) else repr(error)
            )
            log.warning("cannot read ahead of relay's sorting", reason=reason)


def _unbroken(answers: relay_channel.Call) -> Iterator[bytes]:
    """Yield what comes in time: where one node hangs, the others have answered nevertheless."""
    try:
        yield from answers
    except grpc.RpcError as error:
        if relay_channel.code(error) is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
