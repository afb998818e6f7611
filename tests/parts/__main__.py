"""Builds the real parts ahead of the tests, or runs them for trying things out by hand.

python -m tests.parts build [kafka] [hubble] …
python -m tests.parts up [kafka] [postgres] [relay] [--rate 500]
"""

import argparse
import contextlib
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from pathlib import Path

from tests.parts import cache, kafka, nodes, postgres, relay

BUILDS: Mapping[str, Callable[[], object]] = {
    "kafka": kafka.install,
    "hubble": relay.programs,
    "reference": relay.reference,
}
DOWNLOADED = ("kafka",)
SERVERS = ("kafka", "postgres", "relay")


def build(names: Sequence[str]) -> int:
    """Build parts, what is downloaded beside what is compiled; what is there costs nothing."""
    compiled = [name for name in BUILDS if name in names and name not in DOWNLOADED]
    downloaded = [name for name in BUILDS if name in names and name in DOWNLOADED]
    with futures.ThreadPoolExecutor() as pool:
        missing = sum(pool.map(_build, (compiled, downloaded)))
    return 1 if missing else 0


def up(names: Sequence[str], *, count: int, rate: float, mix: str) -> int:
    """Run servers until interrupted; print where each listens."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="picket-parts-")))
        if "kafka" in names:
            broker = stack.enter_context(kafka.running(folder / "kafka"))
            print(f"kafka     --bus {broker.url}", flush=True)
        if "postgres" in names:
            database = stack.enter_context(postgres.running())
            print(f"postgres  --database {database.create()}", flush=True)
        if "relay" in names:
            synthetic = stack.enter_context(nodes.Nodes(count))
            front = stack.enter_context(
                relay.running(folder / "relay", synthetic.peers, nodes=count)
            )
            if rate:
                synthetic.start(rate, mix)
            print(f"relay     --relay {front.address} --cluster {front.cluster}", flush=True)
            for name, address in synthetic.addresses.items():
                print(f"          {name} at {address}", flush=True)
        ended.wait()
    return 0


def _build(names: Sequence[str]) -> int:
    """Build parts one after the other, since they share most of what is compiled."""
    missing = 0
    for name in names:
        try:
            BUILDS[name]()
        except cache.Missing as error:
            missing += 1
            print(f"[{name}] CANNOT BE HAD: {error}", file=sys.stderr, flush=True)
    return missing


def main(arguments: list[str]) -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.parts",
        description=(__doc__ or "").partition("\n")[0],
    )
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="build parts into the cache")
    building.add_argument("parts", nargs="*", choices=[*BUILDS, []], default=[])
    running = commands.add_parser("up", help="run parts until interrupted")
    running.add_argument("parts", nargs="*", choices=[*SERVERS, []], default=[])
    running.add_argument("--nodes", type=int, default=2, help="behind the relay")
    running.add_argument("--rate", type=float, default=50, help="flows a second behind the relay")
    running.add_argument("--mix", default="everyday", help="everyday, stopped, denied or quiet")
    options = parser.parse_args(arguments)
    try:
        if options.command == "build":
            return build(options.parts or list(BUILDS))
        return up(options.parts or SERVERS, count=options.nodes, rate=options.rate, mix=options.mix)
    except cache.Missing as error:
        print(f"a part cannot be had: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
