"""Builds the real parts ahead of the tests, or runs them for trying things out by hand.

python -m tests.parts build [kafka] [hubble] …
python -m tests.parts up [kafka] [postgres] [relay] [kubernetes] [--rate 500]
python -m tests.parts up cluster
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

from tests.parts import cache, engine, kafka, nodes, postgres, relay
from tests.parts.cilium import byhand
from tests.parts.cilium import programs as cilium
from tests.parts.kubernetes import crds, fakes, plane, programs

BUILDS: Mapping[str, Callable[[], object]] = {
    "kafka": kafka.install,
    "hubble": relay.programs,
    "reference": relay.reference,
    "engine": engine.program,
    "cilium": cilium.built,
    "cilium-crds": crds.file,
    "kubernetes": programs.all_default,
    "kubernetes-other": programs.all_other,
}
FIRST = "hubble"
"""Compiled before all the others, which then find Go's own library compiled already."""
DOWNLOADED = "kafka"
LANES = (
    ("reference", "engine", "cilium", "cilium-crds", "kubernetes-other"),
    ("kubernetes",),
)
"""Compiled side by side; in a lane one after the other, since they share what is compiled."""
SERVERS = ("kafka", "postgres", "relay", "kubernetes")


def build(names: Sequence[str]) -> int:
    """Build parts, what shares nothing side by side; what is there costs nothing."""

    def wanted(lane: Sequence[str]) -> list[str]:
        return [name for name in lane if name in names]

    with futures.ThreadPoolExecutor() as pool:
        downloaded = pool.submit(_build, wanted([DOWNLOADED]))
        missing = _build(wanted([FIRST]))
        missing += sum(pool.map(_build, map(wanted, LANES)))
        missing += downloaded.result()
    return 1 if missing else 0


def up(names: Sequence[str], *, count: int, rate: float, mix: str) -> int:
    """Run servers until interrupted; print where each listens."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with contextlib.ExitStack() as stack:
        folder = Path()
        if set(SERVERS) & set(names):
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
        if "kubernetes" in names:
            cluster = stack.enter_context(
                plane.running(folder / "kubernetes", with_controllers=True)
            )
            crds.install(cluster)
            cluster.apply(fakes.node("fake-1"))
            print(f"kubernetes  export KUBECONFIG={cluster.kubeconfig}", flush=True)
            print(
                "            kubectl get nodes,crds; kubectl create deployment web --image=web",
                flush=True,
            )
        if "cluster" in names:
            print("\n".join(byhand.guide(stack)), flush=True)
        ended.wait()
    return 0


def _build(names: Sequence[str]) -> int:
    """Build the parts of a lane."""
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
    running.add_argument("parts", nargs="*", choices=[*SERVERS, "cluster", []], default=[])
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
