"""Reading a capture's lines: plain or gzip, a file that may grow, or the standard input.

Positions count decompressed bytes and carry the digest of all of them, so that a capture is known
again wherever it lies and however it is packed, and another one that begins alike is not taken for
it.
"""

import gzip
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from schemas.picket.v1 import flows_pb2

GZIP = b"\x1f\x8b"
LONGEST_LINE = 16 * 1024 * 1024
PIECE = 1024 * 1024
SPOOLED = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end; `content` of a line that is too long is only its beginning."""

    number: int
    content: bytes
    problem: str | None = None
    """Why it cannot be a whole line."""


@dataclass(slots=True)
class Position:
    """How far a capture has been read."""

    path: str
    fingerprint: str = ""
    lines: int = 0
    bytes: int = 0
    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def message(self) -> flows_pb2.CapturePosition:
        """Return it as it stands in a checkpoint."""
        return flows_pb2.CapturePosition(
            fingerprint=self.fingerprint,
            path=self.path,
            lines=self.lines,
            size=self.bytes,
            digest=self.hash.digest(),
        )


@dataclass(slots=True)
class Capture:
    """One pass over one capture. Used by one thread; only `close` may come from another."""

    path: str
    """`-` is the standard input."""
    stdin: BinaryIO
    position: Position = field(init=False)
    _raw: BinaryIO | None = None
    _stream: BinaryIO | None = None
    _ahead: BinaryIO | None = None
    """What was read of the standard input to know it again."""
    _tail: bytes = b""
    is_gzip: bool = False

    def __post_init__(self) -> None:
        self.position = Position(self.path)

    def open(self, known: Sequence[flows_pb2.CapturePosition]) -> None:
        """Open it, and pass over what was read before. Raises OSError.

        A gzip that is damaged before that place raises what `lines` would.
        """
        self._open()
        first = self._stream_of().readline(LONGEST_LINE)
        if not first.endswith(b"\n"):
            # Not a whole line yet: nothing can have been read of it.
            self._tail = first
            return
        fingerprint = hashlib.sha256(first.rstrip(b"\r\n")).hexdigest()
        candidates = [item for item in known if item.fingerprint == fingerprint and item.size]
        self.position.fingerprint = fingerprint
        if not candidates:
            self._tail = first
            return
        self._resume(first, sorted(candidates, key=lambda item: item.size))

    def lines(self, more: Callable[[], bool]) -> Iterator[Line]:
        """Yield lines; `position` stands behind the line yielded.

        At the end `more` is asked whether to look again; it waits a little. Raises EOFError,
        zlib.error or gzip.BadGzipFile where a gzip ends too early or is damaged.
        """
        while True:
            piece = self._next()
            if piece.endswith(b"\n"):
                yield self._line(piece)
            elif len(piece) >= LONGEST_LINE:
                yield self._too_long(piece)
            else:
                self._tail = piece
                if not more():
                    break
                if self._was_replaced():
                    self._reopen()
        if self._tail.strip():
            # Without its end it may be half a line; it does not count as read unless it is whole.
            yield Line(self.position.lines + 1, self._tail, "the capture ends within this line")

    def accept_tail(self) -> None:
        """The last line was whole although its end is missing: count it as read."""
        tail, self._tail = self._tail, b""
        self._line(tail)

    def progress(self) -> tuple[int, int | None]:
        """Return how many bytes of the file have been read, and of how many."""
        if self._raw is None or self.path == "-":
            return self.position.bytes, None
        try:
            return self._raw.tell(), os.fstat(self._raw.fileno()).st_size
        except (OSError, ValueError):
            return self.position.bytes, None

    def close(self) -> None:
        """Close the file; the standard input stays open. Idempotent."""
        if self._raw is not None and self.path != "-":
            self._raw.close()

    def _open(self) -> None:
        buffered: io.BufferedReader
        if self.path == "-":
            buffered = cast("io.BufferedReader", self.stdin)
        else:
            buffered = Path(self.path).open("rb")  # noqa: SIM115 - closed by close
        self._raw = buffered
        self.is_gzip = buffered.peek(2)[:2] == GZIP
        self._stream = (
            cast("BinaryIO", gzip.GzipFile(fileobj=buffered)) if self.is_gzip else buffered
        )

    def _stream_of(self) -> BinaryIO:
        assert self._stream is not None
        return self._stream

    def _next(self) -> bytes:
        tail, self._tail = self._tail, b""
        if tail.endswith(b"\n"):
            return tail
        if self._ahead is not None:
            tail += self._ahead.readline(LONGEST_LINE - len(tail))
            if tail.endswith(b"\n"):
                return tail
            self._ahead.close()
            self._ahead = None
        try:
            return tail + self._stream_of().readline(LONGEST_LINE - len(tail))
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self._tail = tail
            raise

    def _line(self, piece: bytes) -> Line:
        position = self.position
        content = piece.rstrip(b"\r\n")
        if not position.lines and not position.fingerprint:
            position.fingerprint = hashlib.sha256(content).hexdigest()
        position.lines += 1
        position.bytes += len(piece)
        position.hash.update(piece)
        return Line(position.lines, content)

    def _too_long(self, piece: bytes) -> Line:
        number, beginning = self.position.lines + 1, piece[:PIECE]
        self._line(piece)
        while piece and not piece.endswith(b"\n"):
            piece = self._stream_of().readline(LONGEST_LINE)
            self.position.bytes += len(piece)
            self.position.hash.update(piece)
        return Line(number, beginning, f"longer than {LONGEST_LINE} bytes")

    def _resume(self, first: bytes, candidates: Sequence[flows_pb2.CapturePosition]) -> None:
        """Go through the beginning; stand behind the longest candidate that it equals."""
        spool: BinaryIO | None = None
        if self.path == "-":
            spool = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=SPOOLED))  # noqa: SIM115
            spool.write(first)
        running = hashlib.sha256(first)
        done = len(first)
        for item in candidates:
            for piece in self._pieces(item.size - done):
                if spool is not None:
                    spool.write(piece)
                running.update(piece)
                done += len(piece)
            if done == item.size and running.digest() == item.digest:
                position = self.position
                position.lines, position.bytes = item.lines, item.size
                position.hash = running.copy()
        if spool is not None:
            spool.seek(self.position.bytes)
            self._ahead = spool
        elif done != self.position.bytes:
            self._rewind(self.position.bytes)

    def _pieces(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes, or what there is of them."""
        while size > 0 and (piece := self._stream_of().read(min(PIECE, size))):
            size -= len(piece)
            yield piece

    def _rewind(self, to: int) -> None:
        assert self._raw is not None
        self._raw.close()
        self._open()
        if not self.is_gzip:
            self._stream_of().seek(to)
            return
        for _ in self._pieces(to):
            pass

    def _was_replaced(self) -> bool:
        """Return whether another file has taken the path, or this one was cut off."""
        if self.path == "-" or self._raw is None:
            return False
        try:
            there, here = Path(self.path).stat(), os.fstat(self._raw.fileno())
        except OSError:
            return False
        return there.st_ino != here.st_ino or here.st_size < self._raw.tell()

    def _reopen(self) -> None:
        self.close()
        self.position = Position(self.path)
        self._tail = b""
        self._open()
