"""A folder as a source: read at once when a file changes, and now and then anyway.

What a folder is at one moment is `folder`'s; this decides when to look, and hands on all of it.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import watchfiles

from agent import folder, plan, source
from runtime import clock as clocks

log = structlog.get_logger()

QUIET_MILLISECONDS = 200
"""A folder is read once nothing has changed for so long: half-written files stay unseen."""

_Changes = set[watchfiles.main.FileChange]


@dataclass(slots=True, kw_only=True)
class FollowedFolder:
    """See the module, and source.Source."""

    root: Path
    rescan_seconds: float
    clock: clocks.Clock = clocks.SYSTEM
    _folder: folder.Folder = field(init=False)
    _next: float = float("-inf")
    _watch: Iterator[_Changes] | None = None
    _trouble: str | None = None

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self._folder = folder.Folder(self.root)

    def restart(self) -> None:
        """Make a reading due."""
        self._next = float("-inf")

    def pause(self) -> None:
        """Watch no more."""
        self._watch = None

    def problem(self) -> str | None:
        """Return why the folder cannot be read."""
        return self._trouble

    def read(self, stop: threading.Event, *, timeout: float) -> source.Reading | None:
        """Return all of the folder where a look is due; else wait for a change."""
        if self.clock.monotonic() < self._next:
            self._wait(stop, timeout)
            return None
        self._next = self.clock.monotonic() + self.rescan_seconds
        try:
            snapshot = self._folder.read()
        except folder.Missing as error:
            self._trouble = str(error)
            log.warning("the folder is away; what is known stays in force", reason=str(error))
            return None
        self._trouble = None
        now = self.clock.utc()
        wanted = sorted(snapshot.objects.items(), key=lambda item: item[0])
        return source.Reading(
            news=[
                *(plan.Change(identity, want, now) for identity, want in wanted),
                plan.Whole(
                    present=snapshot.objects.keys() | snapshot.held,
                    held_paths=snapshot.held_paths,
                    at=now,
                ),
            ],
            complete=True,
            cluster_uid=folder.cluster_uid(snapshot),
            problems=snapshot.problems,
            ignored=snapshot.ignored,
        )

    def _wait(self, stop: threading.Event, seconds: float) -> None:
        """Wait a moment; a change in the folder makes a reading due at once."""
        if not self.root.exists():
            self._watch = None
            stop.wait(seconds)
            return
        fresh = self._watch is None
        self._watch = self._watch or _watch(self.root, stop, seconds)
        if next(self._watch, None) or fresh:
            # What changed before the watch was up was not announced: read once more.
            self._next = float("-inf")


def _watch(root: Path, stop: threading.Event, seconds: float) -> Iterator[_Changes]:
    """Yield changes as they come, and an empty set every moment without one."""
    return watchfiles.watch(
        # An editor replaces a file, and with it what was watched: look at its folder.
        root if root.is_dir() else root.parent,
        recursive=root.is_dir(),
        watch_filter=None,
        stop_event=stop,
        step=QUIET_MILLISECONDS,
        rust_timeout=int(seconds * 1000),
        yield_on_timeout=True,
        raise_interrupt=False,
    )
