"""Flows of a capture, by the same path as a relay's.

A thread of its own reads and decodes, since a pipe blocks its reader. Each line is handed over with
the position behind it, and a position is written with the flows before it: a capture that was read
is not read again, whether or not the log still holds its flows.
"""

import gzip
import hashlib
import threading
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from collector import capture_file, capture_lines, instants
from collector.filters import Filters
from collector.sieve import Rejected, Sifted
from collector.sources import Letter, Restored, Standing, Taken
from runtime import clock
from schemas.picket.v1 import flows_pb2

log = structlog.get_logger()

HELD_LINES = 20_000
TAKE_LINES = 2_000
LOOK_SECONDS = 0.2
IDLE_SECONDS = 1.0
LATE = 5 * instants.SECOND
"""A capture's flows are in order within a node, and across nodes by some seconds."""
WRITTEN_LATE = 10 * instants.SECOND
"""A growing capture lags behind its cluster by no more than this."""
KEPT_POSITIONS = 64
TRUNCATED = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a capture has been read and written."""

    lines: int
    flows: int
    """New ones, written by this run."""
    rejected: int
    bytes_done: int
    bytes_total: int | None
    """Of the file as it lies on the disk; None where nobody knows."""
    ended: bool


@dataclass(slots=True)
class _Item:
    raw: bytes | None
    letter: Letter | None
    lines: int
    bytes: int
    hash: "hashlib._Hash"
    fingerprint: str
    done: tuple[int, int | None]


@dataclass(slots=True, kw_only=True)
class CaptureSource:
    """`sources.Source` over a file or the standard input."""

    file: capture_file.Capture
    follow: bool
    filters: Filters
    time: clock.Clock
    progress: Callable[[Progress], None] | None = None
    _items: deque[_Item] = field(default_factory=deque)
    _room: threading.Event = field(default_factory=threading.Event)
    _closed: threading.Event = field(default_factory=threading.Event)
    _finished: threading.Event = field(default_factory=threading.Event)
    _fault: Exception | None = None
    _thread: threading.Thread | None = None
    _known: list[flows_pb2.CapturePosition] = field(default_factory=list)
    _last: _Item | None = None
    _ended: bool = False
    _moved: bool = False
    _newest: int = 0
    _heard: float = 0.0
    _flows: int = 0
    _rejected: int = 0

    @property
    def name(self) -> str:
        """Return the path, or what stands for the standard input."""
        return "standard input" if self.file.path == "-" else self.file.path

    @property
    def capture(self) -> str:
        """Return the same."""
        return self.name

    def stand_by(self) -> None:
        """A capture waits."""

    def begin(self, restored: Restored) -> None:
        """Read on from where this capture was left."""
        self._known = list(restored.checkpoint.captures) if restored.checkpoint else []
        self._heard = self.time.monotonic()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def take(self) -> Taken:
        """Return the lines decoded so far. Raises OSError where the file could not be read."""
        raws: list[bytes] = []
        letters: list[Letter] = []
        # Asked before the last items are taken, or some could come in between.
        finished = self._finished.is_set()
        if finished and self._fault is not None:
            raise self._fault
        for _ in range(min(len(self._items), TAKE_LINES)):
            item = self._last = self._items.popleft()
            if item.raw is not None:
                raws.append(item.raw)
            if item.letter is not None:
                letters.append(item.letter)
            self._moved = True
        self._room.set()
        if raws:
            self._heard = self.time.monotonic()
        self._rejected += len(letters)
        self._ended = finished and not self._items
        return Taken(raws=raws, letters=letters, more=bool(self._items), ended=self._ended)

    def look(self, sifted: Sifted) -> Standing:
        """Say how far it was read; the position belongs into the same transaction."""
        self._newest = max(self._newest, sifted.newest)
        self._flows += len(sifted.responses)
        state, until = flows_pb2.CATCHING_UP, self._newest - LATE
        if self._ended:
            state, until = flows_pb2.ENDED, self._newest
        elif self.follow and self.time.monotonic() - self._heard >= IDLE_SECONDS:
            now = instants.of_seconds(self.time.now())
            state, until = flows_pb2.LIVE, max(self._newest, now - WRITTEN_LATE)
        moved, self._moved = self._moved, False
        return Standing(state=state, read_until=max(until, 0), checkpoint=moved)

    def written(self) -> None:
        """Tell whoever shows progress."""
        if self.progress is None:
            return
        last = self._last
        done, total = last.done if last is not None else (0, None)
        self.progress(
            Progress(
                lines=0 if last is None else last.lines,
                flows=self._flows,
                rejected=self._rejected,
                bytes_done=total if self._ended and total is not None else done,
                bytes_total=total,
                ended=self._ended,
            )
        )

    def note(self, checkpoint: flows_pb2.Checkpoint) -> None:
        """Write the position in place of the earlier ones of this capture."""
        # Time alone tells a relay's flows from before the checkpoint's new mark.
        for node in checkpoint.nodes:
            node.known_by_time.CopyFrom(node.newest)
        last = self._last
        if last is None or not last.fingerprint:
            return
        others = [
            item
            for item in checkpoint.captures
            if item.fingerprint != last.fingerprint or item.size > last.bytes
        ]
        others.append(
            flows_pb2.CapturePosition(
                fingerprint=last.fingerprint,
                path=self.name,
                lines=last.lines,
                size=last.bytes,
                digest=last.hash.digest(),
            )
        )
        del checkpoint.captures[:]
        checkpoint.captures.extend(others[-KEPT_POSITIONS:])

    def end(self) -> None:
        """Stop reading. A takeover by another collector is an end for a pipe."""
        self.close()

    def close(self) -> None:
        """End the thread and close the file."""
        self._closed.set()
        self._room.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            # A read of a pipe cannot be interrupted; the thread is a daemon.
            thread.join(LOOK_SECONDS * 2)
        self.file.close()

    def _run(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - raised again by the thread that takes
            self._fault = error
        finally:
            self._finished.set()

    def _read(self) -> None:
        try:
            self.file.open(self._known)
            self._give(None, None)
            for line in self.file.lines(self._more):
                self._decode(line)
                if self._closed.is_set():
                    return
        except TRUNCATED as error:
            log.warning(
                "the capture is damaged; what stands before is kept",
                capture=self.name,
                line=self.file.position.lines + 1,
                reason=str(error) or type(error).__name__,
            )
            reason = f"the gzip is damaged or cut off here: {type(error).__name__}"
            self._reject(b"", reason, line=self.file.position.lines + 1)

    def _decode(self, line: capture_file.Line) -> None:
        problem = line.problem
        content = line.content.strip()
        is_tail = problem is not None and line.number > self.file.position.lines
        if not content:
            self._give(None, None)
            return
        if problem is None or is_tail:
            try:
                raw = capture_lines.parse(content, self.filters)
            except capture_lines.NotReadable as error:
                problem = f"{error}; {problem}" if problem else str(error)
            else:
                if is_tail:
                    self.file.accept_tail()
                self._give(raw, None)
                return
        self._reject(line.content, problem, line=line.number)

    def _reject(self, content: bytes, reason: str, *, line: int) -> None:
        self._give(None, Letter(rejected=Rejected(content, reason), line=line))

    def _give(self, raw: bytes | None, letter: Letter | None) -> None:
        while len(self._items) >= HELD_LINES and not self._closed.is_set():
            self._room.clear()
            if len(self._items) >= HELD_LINES:
                self._room.wait(LOOK_SECONDS)
        position = self.file.position
        self._items.append(
            _Item(
                raw,
                letter,
                position.lines,
                position.bytes,
                position.hash.copy(),
                position.fingerprint,
                self.file.progress(),
            )
        )

    def _more(self) -> bool:
        """Wait a little at the end of a growing file."""
        if not self.follow or self.file.path == "-" or self.file.is_gzip:
            return False
        return not self._closed.wait(LOOK_SECONDS)
