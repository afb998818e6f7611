"""What the stages write, one bounded file each, beside the file before it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

MAX_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Output:
    """One stage's file. Lines may come from several threads; after `close` they are dropped."""

    path: Path
    max_bytes: int = MAX_BYTES
    _stream: TextIO | None = None
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Begin a new file; the one that was there is kept as `….log.1`. Raises OSError."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".log.1"))
        self._stream = self.path.open("w", encoding="utf-8", buffering=1)
        self._size = 0

    def write(self, line: str) -> None:
        """Add a line, in a new file where this one is full."""
        with self._lock:
            if self._stream is None:
                return
            self._size += self._stream.write(line + "\n")
            if self._size > self.max_bytes:
                self._stream.close()
                self.open()

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            stream, self._stream = self._stream, None
            if stream is not None:
                stream.close()


@contextmanager
def opened(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Output]]:
    """Open one file a name, for as long."""
    outputs = {name: Output(folder / f"{name}.log") for name in names}
    try:
        for output in outputs.values():
            output.open()
        yield outputs
    finally:
        for output in outputs.values():
            output.close()
