"""Synthetic nodes in a process of their own, and the handle by which a test commands them.

    python -m tests.parts.nodes --nodes 3 --rate 500 --mix everyday

One command a line on the standard input, one answer a line on the standard output, both JSON;
tests/parts/synthetic/README.md lists them. The process ends when its input does, so it never
outlives whoever started it; what it wrote is then in the file that --truth names.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.parts.synthetic.cluster import Cluster

ROOT = Path(__file__).parents[2]
END_SECONDS = 10.0


class Refused(Exception):
    """The nodes did not do what they were told."""


class Nodes:
    """Synthetic nodes in another process."""

    def __init__(self, count: int = 2, *arguments: str) -> None:
        """`arguments` are further ones of the process, such as `--capacity=255`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, f"--nodes={count}", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._turn = threading.Lock()
        status = self._answer()
        self.peers: str = status["peers"]
        """Address of the peer service, for a relay."""
        self.addresses: dict[str, str] = {
            name: node["address"] for name, node in status["nodes"].items()
        }
        """Address of each node's observer."""

    @property
    def pid(self) -> int:
        """Return the process's id."""
        return self._process.pid

    def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Give a command and return its answer. Raises Refused."""
        assert self._process.stdin is not None
        with self._turn:
            self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def start(self, rate: float, mix: str = "everyday", *, count: int | None = None) -> None:
        """Write so many flows a second, until `stop`, or until `count` were written."""
        self.do("start", rate=rate, mix=mix, count=count)

    def stop(self) -> dict[str, Any]:
        """Write no more, let all be read, and return the books."""
        return self.do("stop")

    def join(self) -> dict[str, Any]:
        """Wait for `count`, let all be read, and return the books."""
        return self.do("join")

    def play(self, scenario: str, times: int = 1, *, release: bool = True) -> list[dict[str, Any]]:
        """Let something happen; return uuid and time (nanoseconds) of each flow."""
        flows: list[dict[str, Any]] = self.do(
            "play", scenario=scenario, times=times, release=release
        )["flows"]
        return flows

    def uuids(self, *, counted: bool = True) -> set[str]:
        """Return the uuids of what was written: what was stopped, without twins, or all."""
        return set(self.do("uuids", counted=counted)["uuids"])

    def close(self) -> None:
        """End the process. Idempotent."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Refused(f"the nodes ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Two synthetic nodes for one test."""
    with Nodes(2) as running:
        yield running


def main(arguments: list[str]) -> int:
    """Run nodes until the input ends."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parts.nodes", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--port", type=int, default=0, help="of the peer service; 0: any")
    parser.add_argument("--capacity", type=int, default=4095, help="of each ring")
    parser.add_argument("--rate", type=float, default=0, help="flows a second, all nodes together")
    parser.add_argument("--mix", default="everyday", help="everyday, stopped, denied or quiet")
    parser.add_argument("--count", type=int, help="stop writing after so many flows")
    parser.add_argument("--seed", type=int, default=1, help="of the order of what happens")
    parser.add_argument("--empty", action="store_true", help="start with rings that are empty")
    parser.add_argument("--truth", type=Path, help="where to write the books at the end")
    parser.add_argument("--forever", action="store_true", help="do not end with the input")
    options = parser.parse_args(arguments)
    cluster = Cluster(
        nodes=options.nodes,
        capacity=options.capacity,
        port=options.port,
        seed=options.seed,
        seeded=not options.empty,
    )
    try:
        _say(cluster.do({"do": "status"}))
        if options.rate:
            command = {"do": "start", "rate": options.rate, "mix": options.mix}
            cluster.do({**command, "count": options.count})
        for line in sys.stdin:
            try:
                _say(cluster.do(json.loads(line)))
            except ValueError as error:
                _say({"error": str(error)})
        if options.forever:
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        books = cluster.do({"do": "stop"})
        if options.truth is not None:
            options.truth.write_text(json.dumps(books, indent=2) + "\n", encoding="utf-8")
    # Streams that clients still read would hold the end up.
    sys.stdout.flush()
    os._exit(0)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
