"""What a trickle of denied flows waits for behind many nodes: from the flow to the log.

    python -m bench.trickle [NODES:RATE …] [-- SETTING=VALUE …]

A real relay before synthetic nodes, and a collector over the embedded log. Flows are played at
random moments, each verdict with its drop event, as a cluster shows them. The CPU is that of a
second of wall time, in hundredths of a core; a run at 0 flows/s tells what idling costs.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.figures import Figure, quantile
from bus import embedded, port
from collector import app
from collector.settings import CollectorSettings
from schemas import topics
from schemas.picket.v1 import flows_pb2
from tests.parts import relay
from tests.parts.nodes import ROOT, Nodes
from tests.parts.synthetic import mix

CASES = tuple((nodes, rate) for nodes in (3, 10, 30) for rate in (0, 2, 5, 20))
SECONDS = 40.0
WARM_SECONDS = 8.0
SETTLE_SECONDS = 40.0
TARGET = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One case."""

    nodes: int
    rate: int
    delays: Sequence[float]
    """Seconds from each flow to its record."""
    collector: float
    """Hundredths of a core."""
    relay: float
    hosts: float
    """All nodes together."""


def run() -> list[Figure]:
    """Return the figures of all cases with the settings as they are by default."""
    return [figure for case in CASES for figure in _figures(measure(*case))]


def measure(nodes: int, rate: int, *settings: str) -> Measured:
    """Measure one case. Raises cache.Missing where relay cannot be had."""
    with tempfile.TemporaryDirectory(prefix="picket-bench-") as name:
        folder = Path(name)
        with (
            Nodes(nodes) as hosts,
            relay.running(folder / "relay", hosts.peers, nodes=nodes) as front,
        ):
            log = embedded.EmbeddedLog(folder / "log.db")
            log.ensure(topics.ALL)
            with _collecting(folder / "log.db", front.address, *settings) as collector:
                relays = _relay()
                _play(hosts, nodes=nodes, rate=max(rate, 5), seconds=WARM_SECONDS)
                used = [_used(pid) for pid in (collector, relays, hosts.pid)]
                began = time.monotonic()
                happened = _play(hosts, nodes=nodes, rate=rate, seconds=SECONDS)
                lasted = time.monotonic() - began
                shares = [
                    (_used(pid) - before) / lasted * 100
                    for pid, before in zip((collector, relays, hosts.pid), used, strict=True)
                ]
                arrived = _arrived(log, happened)
            log.close()
    return Measured(
        nodes=nodes,
        rate=rate,
        delays=[arrived[uuid] - at for uuid, at in happened.items()],
        collector=shares[0],
        relay=shares[1],
        hosts=shares[2],
    )


@contextmanager
def _collecting(bus: Path, address: str, *settings: str) -> Iterator[int]:
    command = [sys.executable, "-m", "bench.trickle", "--collect", str(bus), address, *settings]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _collect(bus: str, address: str, *settings: str) -> None:
    """Be the collector that is measured."""
    given: dict[str, object] = dict(each.split("=", 1) for each in settings)
    built = app.build(
        CollectorSettings.model_validate({"relay": address, **given}),
        log=embedded.EmbeddedLog(Path(bus)),
    )
    built.serve()


def _play(hosts: Nodes, *, nodes: int, rate: float, seconds: float) -> dict[str, float]:
    """Let flows happen at random moments; return the time of each that counts, by uuid."""
    cast = mix.Cast(list(hosts.addresses))
    chance = random.Random(nodes * 1000 + rate)
    began = time.monotonic()
    happened = {}
    for at in sorted(chance.uniform(0, seconds) for _ in range(round(rate * seconds))):
        time.sleep(max(began + at - time.monotonic(), 0.0))
        scenario = chance.choice(cast.stopped)
        flows = hosts.play(scenario, release=False)
        steps = [step.flow for step in cast.scenarios[scenario].steps]
        for flow, step, later in zip(flows, steps, steps[1:], strict=False):
            # Without a drop event behind it the node itself withholds it.
            if mix.counts(step) and step.node_name == later.node_name:
                happened[flow["uuid"]] = flow["time"] / 10**9
    time.sleep(max(began + seconds - time.monotonic(), 0.0))
    return happened


def _arrived(log: port.Log, wanted: dict[str, float]) -> dict[str, float]:
    """Return when each was written, in seconds since the epoch."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        found: dict[str, float] = {}
        reader = log.reader([topics.FLOWS.name])
        for record in port.read_to_end(reader):
            for raw in flows_pb2.FlowBatch.FromString(record.value or b"").responses:
                uuid = flows_pb2.ResponseHead.FromString(raw).flow.uuid
                found.setdefault(uuid, record.timestamp / 1000)
        reader.close()
        missing = wanted.keys() - found.keys()
        if not missing:
            return found
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(missing)} flows never came")
        time.sleep(0.5)


def _relay() -> int:
    """Return the process that this one's relay runs in."""
    (found,) = [
        each.pid
        for each in psutil.Process().children(recursive=True)
        if each.name() == "hubble-relay"
    ]
    return found


def _used(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _figures(measured: Measured) -> list[Figure]:
    name = f"{measured.nodes} nodes, {measured.rate} flows/s"
    cpu = f"collector {measured.collector:.1f} %, relay {measured.relay:.1f} % of a core"
    if not measured.rate:
        return [Figure(name=f"{name}: CPU", value=measured.collector, unit="%", note=cpu)]
    delays = measured.delays or (0.0,)
    note = f"p50 {quantile(delays, 0.5):.2f}, most {quantile(delays, 1):.2f}; {cpu}"
    return [
        Figure(
            name=f"{name}: flow to log, p99",
            value=quantile(delays, 0.99),
            unit="s",
            target=TARGET,
            note=note,
        )
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--collect"]:
        _collect(*sys.argv[2:])
    else:
        plain, _, given = " ".join(sys.argv[1:]).partition("--")
        cases = [tuple(map(int, case.split(":"))) for case in plain.split()] or CASES
        for nodes_, rate_ in cases:
            for found in _figures(measure(nodes_, rate_, *given.split())):
                print(f"{found.name}: {found.value:.2f} {found.unit} ({found.note})", flush=True)
