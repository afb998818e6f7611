"""Looking past the stream: which nodes there are, and what their rings hold.

A thread of its own, since calls take their time. It asks and reports; what follows from that is
decided elsewhere. Asking for the newest wanted flow makes each node go through its ring, so this
happens every few seconds, not more often.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
import structlog

from collector import relay_channel
from collector.filters import Filters
from schemas.hubble import observer_pb2
from schemas.picket.v1 import flows_pb2

log = structlog.get_logger()

EVERY_SECONDS = 5.0
SOON_SECONDS = 0.5
NODES_A_SECOND = 20

Heads = Mapping[str, flows_pb2.FlowHead]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What was seen in one look. Times are monotonic seconds."""

    asked: float
    nodes: list[observer_pb2.Node] | None
    """None where the server is no relay."""
    newest: Heads
    """Each node's newest flow of any kind, asked for before `wanted`."""
    wanted: Heads
    """Each node's newest flow that the filters let through."""
    oldest: Heads | None
    """Each node's oldest flow of any kind, where it was asked for."""


class Watch:
    """Looks every few seconds until closed, and soon after being nudged."""

    def __init__(self, relay: relay_channel.Relay, filters: Filters) -> None:
        self._relay = relay
        self._filters = filters
        self._closed = threading.Event()
        self._nudged = threading.Event()
        self._oldest = False
        self._sightings: deque[Sighting] = deque(maxlen=16)
        self.failures = 0
        """How many looks failed in a row."""
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="relay watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def want_oldest(self) -> None:
        """Ask for the rings' oldest flows too, soon, until told otherwise."""
        if not self._oldest:
            self._oldest = True
            self._nudged.set()

    def enough(self) -> None:
        """The rings' oldest flows are not needed any more."""
        self._oldest = False

    def sightings(self) -> list[Sighting]:
        """Return what was seen since the last call. Raises what ended the thread, if anything."""
        if self._fault is not None:
            raise self._fault
        found = []
        while self._sightings:
            found.append(self._sightings.popleft())
        return found

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closed.set()
        self._nudged.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        pause = EVERY_SECONDS
        while not self._closed.is_set():
            self._nudged.clear()
            try:
                sighting = self._look()
            except grpc.RpcError as error:
                self.failures += 1
                if self.failures == 1:
                    log.warning("cannot look at the nodes", reason=relay_channel.explain(error))
            except Exception as error:  # noqa: BLE001 - raised again by the thread that takes
                if not self._closed.is_set():
                    self._fault = error
                return
            else:
                self.failures = 0
                self._sightings.append(sighting)
                pause = max(EVERY_SECONDS, len(sighting.nodes or ()) / NODES_A_SECOND)
            # While something is suspected the answer is wanted sooner.
            if self._oldest:
                self._closed.wait(SOON_SECONDS * 2)
            else:
                self._nudged.wait(pause)

    def _look(self) -> Sighting:
        asked = time.monotonic()
        oldest = self._relay.probe(first=True) if self._oldest else None
        nodes = self._relay.nodes()
        newest = self._relay.probe()
        is_filtered = bool(self._filters.allow or self._filters.deny)
        wanted = self._relay.probe(filters=self._filters) if is_filtered else newest
        return Sighting(asked=asked, nodes=nodes, newest=newest, wanted=wanted, oldest=oldest)
