"""Where flows come from: what the stage asks of a relay and of a capture alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from collector.continuity import Gap
from collector.sieve import Rejected, Sifted
from collector.windows import Windows
from schemas.picket.v1 import flows_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What goes to the dead letters, with its place in the source."""

    rejected: Rejected
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Responses as received, handed over as one list."""

    raws: Sequence[bytes] = ()
    ahead: Sequence[bytes] = ()
    """Responses that were read beside the stream, which brings them later."""
    letters: Sequence[Letter] = ()
    more: bool = False
    """Whether there is more to be taken at once."""
    ended: bool = False
    """Whether this was the last of a finite source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a collector that takes over knows of what was written before."""

    checkpoint: flows_pb2.Checkpoint | None
    windows: Windows
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the source stands at one moment."""

    state: flows_pb2.StreamState
    read_until: int
    """Nanoseconds since the epoch; 0 where nothing can be said."""
    away: Sequence[str] = ()
    gaps: Sequence[Gap] = ()
    checkpoint: bool = False
    """Whether a checkpoint belongs into the very next transaction."""
    holes: bool = False
    """Whether flows are still to come that are older than some that were read."""


class Source(Protocol):
    """One thread calls these; what waits for the network or a file waits on threads of its own."""

    @property
    def name(self) -> str:
        """Return what dead letters call this source."""

    @property
    def capture(self) -> str:
        """Return which capture this is; empty for a living cluster.

        A capture's flows say nothing of how far a node was read, nor does time of them.
        """

    def stand_by(self) -> None:
        """Attach where possible; called over and over until `begin`."""

    def begin(self, restored: Restored) -> None:
        """Go on from where the last collector stopped."""

    def take(self) -> Taken:
        """Return what has been received since the last call, bounded; never waits."""

    def look(self, sifted: Sifted) -> Standing:
        """Take note of what was found in what was taken; return how things stand."""

    def written(self) -> None:
        """All that was taken so far is in the log."""

    def note(self, checkpoint: flows_pb2.Checkpoint) -> None:
        """Add to a checkpoint what `begin` needs, as of what was taken so far."""

    def end(self) -> None:
        """Forget what was not written: another collector took over. `stand_by` may follow."""

    def close(self) -> None:
        """Let go of everything. Idempotent."""
