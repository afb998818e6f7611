"""A target with which something is wrong, to see that the fuzzer says so."""

from collections.abc import Iterator


def one(data: bytes) -> None:
    """Fail where the first byte is even."""
    assert not data or data[0] % 2, "found"


def seeds() -> Iterator[bytes]:
    """An input that is fine."""
    yield b"\1"
