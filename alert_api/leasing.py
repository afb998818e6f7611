"""Holding a lease over the database for as long as the job is done."""

from dataclasses import dataclass, field

from alert_api.database import Database
from alert_api.repository import leases
from runtime.clock import Clock

LIFE_SECONDS = 30.0
"""After so long without a beat anyone may take over."""
BEAT_SECONDS = 5.0
LOOK_SECONDS = 1.0
"""Between two looks of who stands by."""


@dataclass(slots=True, kw_only=True)
class Lease:
    """One process's claim to a job. One thread uses it.

    A process that starts in the slot of the one that held the lease takes it at once: it was
    started in its place. If both live, the older one finds the lease gone at its next beat.
    """

    database: Database
    clock: Clock
    name: str
    slot: str
    incarnation: str
    _held: leases.Held | None = field(init=False, default=None)
    _until: float = field(init=False, default=float("-inf"))
    _next_beat: float = field(init=False, default=float("-inf"))
    _next_look: float = field(init=False, default=float("-inf"))
    _seen: leases.Held | None = field(init=False, default=None)
    _seen_at: float = field(init=False, default=0.0)
    _started: bool = field(init=False, default=False)

    @property
    def holder(self) -> str:
        """Return the name under which this process holds it."""
        return f"{self.slot}/{self.incarnation}"

    def hold(self) -> bool:
        """Take or keep the lease; return whether the job is this process's. Raises Unreachable."""
        now = self.clock.monotonic()
        if self._held is not None and now < self._next_beat:
            return self.remaining() > 0
        if self._held is None and now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        with self.database.writing() as connection:
            if self._held is None:
                found = leases.read(connection, self.name)
                if not self._free(found, now):
                    return False
            else:
                found = self._held
            self._held = leases.take(connection, self.name, seen=found, holder=self.holder)
        self._started = True
        if self._held is None:
            self._until = float("-inf")
            return False
        # Counted from before the beat: others count from after they saw it.
        self._until = now + LIFE_SECONDS
        self._next_beat = now + BEAT_SECONDS
        return True

    def remaining(self) -> float:
        """Return for how many seconds nobody else can have taken over."""
        return self._until - self.clock.monotonic()

    def _free(self, found: leases.Held | None, now: float) -> bool:
        if found is None:
            return True
        if not self._started:
            self._started = True
            if found.holder.rpartition("/")[0] == self.slot:
                return True
        if found != self._seen:
            self._seen, self._seen_at = found, now
            return False
        return now - self._seen_at >= LIFE_SECONDS
