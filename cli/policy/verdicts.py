"""`picket policy verdicts`: decisions for whole scenarios, as conformance tests ask for them."""

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, cast

import typer
from rich.console import Console
from rich.progress import Progress

from policies import scenarios
from runtime.errors import UserError

_GZIP: Final = b"\x1f\x8b"
_STDIN: Final = "-"


def verdicts(
    file: Annotated[
        Path, typer.Argument(help="JSON lines, one scenario each, plain or gzip; - is stdin.")
    ],
) -> None:
    """Print one JSON line a scenario: which policies are refused, and each query's decisions."""
    try:
        _print(file)
    except BrokenPipeError:
        # Whoever reads has seen enough; typer would call it a failure.
        sys.stdout = None


def _print(file: Path) -> None:
    with _opened(file) as source, _progress(file, source) as advance:
        packed = gzip.GzipFile(fileobj=source) if _is_gzip(source) else None
        for number, line in _numbered(packed or source, file):
            if line.strip():
                name, result = _answer(line, f"{file}:{number}")
                text = json.dumps(result.as_json(name), separators=(",", ":"))
                sys.stdout.write(f"{text}\n")
            advance()
        sys.stdout.flush()


def _answer(line: bytes, where: str) -> tuple[Any, scenarios.Result]:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is no JSON: {error}") from error
    try:
        return given["id"] if isinstance(given, dict) else None, scenarios.run(given)
    except KeyError as error:
        raise UserError(f"{where} is no scenario: it has no id") from error
    except scenarios.Malformed as error:
        raise UserError(f"{where} is no scenario: {error}") from error


def _numbered(lines: Iterable[bytes], file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        yield from enumerate(lines, 1)
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UserError(f"{file} cannot be read: {error}") from error


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == _STDIN:
        yield sys.stdin.buffer
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    with opened:
        yield opened


def _is_gzip(source: BinaryIO) -> bool:
    try:
        return cast("BufferedReader", source).peek(len(_GZIP)).startswith(_GZIP)
    except OSError as error:
        raise UserError(f"the scenarios cannot be read: {error.strerror}") from error


@contextmanager
def _progress(file: Path, source: BinaryIO) -> Iterator[Callable[[], None]]:
    """A bar on standard error, where a person looks at it and the output goes elsewhere."""
    if str(file) == _STDIN or not file.is_file() or not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Scenarios", total=file.stat().st_size)
        yield lambda: bar.update(task, completed=source.tell())
