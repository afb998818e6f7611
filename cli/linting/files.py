"""Which files are linted, and their text. A folder is read with all that is in it."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent import folder, manifests
from runtime.errors import UserError

STDIN: Final = "-"
STDIN_NAME: Final = "<stdin>"


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read; `path` is None for standard input."""

    name: str
    """As reports write it: relative to the working folder where it lies within."""
    path: Path | None


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a file has no text, and where, counted from 1."""

    reason: str
    line: int = 1


def find(paths: Sequence[Path]) -> list[Source]:
    """The files that these paths mean, each once. Raises UserError."""
    found: dict[Path | None, Source] = {}
    for path in paths:
        if str(path) == STDIN:
            found.setdefault(None, Source(STDIN_NAME, None))
            continue
        if not path.exists():
            raise UserError(f"{path} does not exist")
        for file in _within(path):
            found.setdefault(file.resolve(), Source(_name(file), file))
    return list(found.values())


def read(source: Source) -> str | Unread:
    """The text of a file, or why there is none."""
    try:
        if source.path is None:
            content = sys.stdin.buffer.read(manifests.MAX_FILE_BYTES + 1)
        else:
            with source.path.open("rb") as file:
                content = file.read(manifests.MAX_FILE_BYTES + 1)
    except OSError as error:
        return Unread(f"cannot be read: {error.strerror}")
    if len(content) > manifests.MAX_FILE_BYTES:
        return Unread(f"is larger than {manifests.MAX_FILE_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Unread("is not UTF-8 text", content.count(b"\n", 0, error.start) + 1)


def _within(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return

    def fail(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from error

    for where, subfolders, files in os.walk(path, onerror=fail):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            file = Path(where, name)
            if file.suffix.lower() in folder.SUFFIXES and not name.startswith("."):
                yield file


def _name(file: Path) -> str:
    try:
        return file.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return file.as_posix()
