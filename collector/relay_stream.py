"""One stream of flows: a thread of its own that reads relay and holds what was received.

The single-threaded stream blocks its reader until a message comes, so nothing else may happen on
this thread. It hands nothing over by itself: it appends, and the stage takes what is there.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence

import grpc
import structlog

from collector import relay_channel, relay_reading
from schemas.hubble import observer_pb2

log = structlog.get_logger()

FIRST_BACKOFF = 0.1
LAST_BACKOFF = 5.0
FULL_WAIT = 0.5
OPENED = bytes(bytearray(b"opened"))
"""Stands between the responses of two openings; known by its identity, so it must be its own."""
OPEN_SECONDS = 1.0
"""A stream without messages counts as open when it has not failed for so long."""

Plan = Callable[[Sequence[observer_pb2.Node] | None], observer_pb2.GetFlowsRequest]
"""Makes the request once the nodes are known. Called on the stream's thread."""


class Stream:
    """Opens, reads, and opens anew with a growing delay, until closed."""

    def __init__(self, relay: relay_channel.Relay, plan: Plan, *, limit: int) -> None:
        """Hold at most about `limit` bytes, then let relay wait."""
        self._relay = relay
        self._plan = plan
        self._limit = limit
        self._items: list[bytes] = []
        self._closed = threading.Event()
        self._room = threading.Event()
        self._call: relay_channel.Call | None = None
        self._lock = threading.Lock()
        # Each counter has one writer: the thread for what is received, the stage for the rest.
        self._received = 0
        self._taken = 0
        self._released = 0
        self.attempts = 0
        """How often opening it was tried."""
        self._noted = 0
        self.openings = 0
        """How often relay was asked for flows."""
        self.problem: str | None = None
        """Why it is not open, in one line."""
        self._opened: float | None = None
        self._heard = False
        self._wanted = False
        self._expiring = False
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="relay stream", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Return whether flows arrive as the cluster sees them."""
        opened = self._opened
        return opened is not None and (self._heard or time.monotonic() - opened >= OPEN_SECONDS)

    @property
    def waiting(self) -> int:
        """Return the bytes received and not yet released."""
        return self._received - self._released

    @property
    def is_full(self) -> bool:
        """Return whether relay has to wait for room here."""
        return self.waiting > self._limit

    @property
    def broke(self) -> bool:
        """Return whether it ended for good although nobody closed it."""
        started = self._thread.ident is not None
        return started and not self._thread.is_alive() and not self._closed.is_set()

    def take(self, limit: int) -> tuple[list[bytes], bool]:
        """Return the oldest responses, up to about `limit` bytes; called by the stage only.

        They are all of one opening; also returned is whether they are the first of it. Raises what
        ended the thread, where something did that is no failure of relay.
        """
        if self._fault is not None:
            raise self._fault
        items = self._items
        is_first = bool(items) and items[0] is OPENED
        if is_first:
            del items[0]
            self._noted += 1
        count = len(items)
        if (there := self._received - self._taken) > limit:
            # By their mean size: to look at each would cost as much as to take it.
            count = max(count * limit // there, 1)
        # The thread only appends, and each of these two is one step for it.
        taken = items[:count]
        if self.openings != self._noted:
            taken = list(itertools.takewhile(lambda item: item is not OPENED, taken))
        del items[: len(taken)]
        self._taken += sum(map(len, taken))
        return taken, is_first

    @property
    def is_next(self) -> bool:
        """Return whether what can be taken next belongs to a newer opening."""
        return self.openings != self._noted

    def release(self) -> None:
        """Make room for as much as was taken; called by the stage only."""
        self._released = self._taken
        self._room.set()

    def reopen(self) -> None:
        """End the present stream; it is opened anew at once."""
        self._wanted = True
        with self._lock:
            if self._call is not None:
                self._call.cancel()

    def expire(self) -> None:
        """Do not open it anew once it ends: what came then would stand behind an interruption."""
        self._expiring = True

    def close(self) -> None:
        """End the thread; what was not taken stays to be taken. Idempotent."""
        self._closed.set()
        self._room.set()
        self.reopen()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._keep_reading()
        except Exception as error:  # noqa: BLE001 - raised again by the thread that takes
            self._opened, self._fault = None, error

    def _keep_reading(self) -> None:
        backoff = FIRST_BACKOFF
        while not self._closed.is_set():
            self._heard = False
            self.attempts += 1
            problem = "relay ended the stream"
            try:
                self._read()
            except grpc.RpcError as error:
                problem = relay_channel.explain(error)
            except ValueError:
                # The channel was closed under the call.
                if not self._closed.is_set():
                    raise
            if self._heard:
                backoff = FIRST_BACKOFF
            self._opened = None
            if self._closed.is_set() or self._expiring:
                return
            wanted, self._wanted = self._wanted, False
            if wanted:
                continue
            if self.problem != problem:
                log.warning("no flows from relay", reason=problem)
            self.problem = problem
            # Spread out, so that many collectors do not come back to a relay at once.
            pause = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            until = time.monotonic() + pause
            self._relay.await_connection(pause)
            self._closed.wait(max(until - time.monotonic(), 0.0))
            backoff = min(backoff * 2, LAST_BACKOFF)

    def _read(self) -> None:
        request = self._plan(self._relay.nodes())
        call = self._relay.stream(request)
        with self._lock:
            if self._closed.is_set():
                call.cancel()
                return
            self._call = call
        # In this order: a mark that is there has been counted.
        self.openings += 1
        self._items.append(OPENED)
        self._opened = time.monotonic()
        append = self._items.append
        limit = self._limit
        received = self._received
        try:
            for raw in relay_reading.responses(call):
                append(raw)
                received += len(raw)
                self._received = received
                if not self._heard:
                    self._heard, self.problem = True, None
                if received - self._released > limit:
                    self._wait_for_room()
        finally:
            with self._lock:
                self._call = None
            call.cancel()

    def _wait_for_room(self) -> None:
        while self.is_full and not self._closed.is_set():
            self._room.clear()
            if self.is_full:
                self._room.wait(FULL_WAIT)
