"""The lines of a capture: JSON lines, plain or gzip, a file or the standard input.

One JSON document over several lines, as people cut out a single flow, is read as well. What a line
means is not looked at here.
"""

import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from runtime.errors import UserError

GZIP = b"\x1f\x8b"
LONGEST_LINE = 16 * 1024 * 1024
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end."""

    number: int
    content: bytes


def lines(path: str, moved: Callable[[int, int | None], None] | None = None) -> Iterator[Line]:
    """Yield the lines that are not empty. Raises UserError where the file cannot be read.

    `moved` is told every now and then how many bytes of how many have been read.
    """
    try:
        with _opened(path) as raw:
            size = None if path == STDIN else Path(path).stat().st_size
            yield from _lines(raw, path, lambda: moved and moved(_position(raw), size))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _opened(path: str) -> io.BufferedReader:
    if path == STDIN:
        return io.BufferedReader(cast("io.RawIOBase", _Unclosed(sys.stdin.buffer)))
    return Path(path).open("rb")


class _Unclosed(io.RawIOBase):
    """The standard input, which stays open."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        read = self._stream.read1(len(buffer))  # type: ignore[attr-defined]
        buffer[: len(read)] = read
        return len(read)


def _position(raw: io.BufferedReader) -> int:
    try:
        return raw.tell()
    except OSError:
        return 0


def _lines(raw: io.BufferedReader, path: str, tick: Callable[[], object]) -> Iterator[Line]:
    stream = cast("BinaryIO", raw)
    if raw.peek(2)[:2] == GZIP:
        stream = cast("BinaryIO", io.BufferedReader(gzip.GzipFile(fileobj=raw)))
    number = 0
    try:
        while content := stream.readline(LONGEST_LINE):
            number += 1
            if len(content) >= LONGEST_LINE:
                raise UserError(f"{path}:{number} is longer than {LONGEST_LINE:,} bytes")
            if number % 1024 == 0:
                tick()
            if number == 1 and _is_opening(content):
                yield Line(1, _whole(content, stream, path))
                break
            if content.strip():
                yield Line(number, content.rstrip(b"\r\n"))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a damaged gzip after line {number}: {error}") from error
    tick()


def _is_opening(content: bytes) -> bool:
    """Whether a JSON document begins that does not end on this line."""
    if content.strip() not in {b"{", b"["} and not content.lstrip().startswith((b"{", b"[")):
        return False
    try:
        json.loads(content)
    except ValueError:
        return content.strip() in {b"{", b"["}
    return False


def _whole(content: bytes, stream: BinaryIO, path: str) -> bytes:
    content += stream.read(LONGEST_LINE - len(content))
    if len(content) >= LONGEST_LINE:
        raise UserError(f"{path} is one document of more than {LONGEST_LINE:,} bytes")
    return content
