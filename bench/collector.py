"""CPU time that a flow costs from relay into Kafka: the collector, beside `hubble observe | kcat`.

Both read the same relay and write to the same broker, one after the other, as fast as they can;
then the collector once more at 5,000 flows a second. Kafka's client is in the collector's figure.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import kafka as client

from bench import figures
from bus import opening
from collector import app
from collector.settings import CollectorSettings
from tests.parts import cache, go, guardian, kafka, ports, relay

PEER_HERE = 76.0
"""Microseconds a flow of the peer on the machine of the target, where there is no kcat."""
SHARE = 0.25
WARM_SECONDS = 6.0
SECONDS = 10.0
NODES = 2
STEADY = 5_000
TICKS = os.sysconf("SC_CLK_TCK")
LOAD = Path(__file__).parent / "load"


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds used, flows written, and bytes resident, at one moment."""

    at: float
    cpu: float
    flows: float
    resident: float = 0.0


def run() -> list[figures.Figure]:
    """Measure. Raises cache.Missing where a real part cannot be had."""
    load = _load()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(kafka.running(folder / "kafka"))
        with _flows(load, folder / "full", rate=0) as address:
            ours = _ours(broker.url, address)
            peer = _peer(broker, address) if shutil.which("kcat") else None
        with _flows(load, folder / "steady", rate=STEADY // NODES) as address:
            steady = _ours(broker.url, address)
    theirs = PEER_HERE if peer is None else _micros(peer)
    note = "kcat is missing: against the figure of another machine" if peer is None else ""
    return [
        figures.Figure(
            name="CPU a flow, of the peer's",
            value=_micros(ours) / theirs,
            unit="",
            target=None if peer is None else SHARE,
            note=note,
        ),
        figures.Figure(name="CPU a flow, at saturation", value=_micros(ours), unit="µs"),
        figures.Figure(name="flows a second, at saturation", value=_rate(ours), unit="/s"),
        figures.Figure(name="CPU a flow, hubble observe | kcat", value=theirs, unit="µs"),
        *(
            [figures.Figure(name="flows a second, peer", value=_rate(peer), unit="/s")]
            if peer is not None
            else []
        ),
        figures.Figure(name=f"CPU a flow, at {STEADY}/s", value=_micros(steady), unit="µs"),
        figures.Figure(
            name="resident memory, at saturation", value=ours[1].resident / 2**20, unit="MiB"
        ),
    ]


def _micros(pair: tuple[Reading, Reading]) -> float:
    first, last = pair
    return (last.cpu - first.cpu) / (last.flows - first.flows) * 1e6


def _rate(pair: tuple[Reading, Reading]) -> float:
    first, last = pair
    return (last.flows - first.flows) / (last.at - first.at)


def _load() -> Path:
    def build(into: Path) -> None:
        programs = {"load": "./picketload"}
        go.build(relay.MODULE, programs, into=into, at_least=relay.GO, sources={"picketload": LOAD})

    text = (LOAD / "main.go").read_bytes()
    version = f"{relay.VERSION}-{hashlib.sha256(text).hexdigest()[:12]}"
    return cache.part("load", version, build) / "load"


@contextlib.contextmanager
def _flows(load: Path, folder: Path, *, rate: int) -> Iterator[str]:
    """Run nodes and a relay before them; yield its address."""
    folder.mkdir()
    port = ports.free()
    command = [str(load), f"-port={port}", f"-nodes={NODES}", f"-rate={rate}", "-after=1s"]
    nodes = guardian.start(command, log=folder / "load.log", folder=folder)
    try:
        with relay.running(folder / "relay", f"127.0.0.1:{port}", nodes=NODES) as running:
            yield running.address
    finally:
        guardian.stop(nodes, kill=True)


def _ours(bus: str, address: str) -> tuple[Reading, Reading]:
    health = ports.free()
    command = [sys.executable, "-m", "bench.collector", bus, address, str(health)]
    process = subprocess.Popen(command)
    try:
        return _twice(lambda: _scrape(health))
    finally:
        process.terminate()
        process.wait(30)


def _peer(broker: kafka.Broker, address: str) -> tuple[Reading, Reading]:
    hubble = relay.programs().hubble
    broker.make_topic("bench.peer", {})
    observe = subprocess.Popen(
        [str(hubble), "observe", "--follow", "-o", "jsonpb", "--server", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    topic, server = "bench.peer", broker.bootstrap
    kcat = subprocess.Popen(
        ["kcat", "-P", "-b", server, "-t", topic], stdin=observe.stdout, stderr=subprocess.DEVNULL
    )
    try:
        return _twice(lambda: _usage(topic, server, observe.pid, kcat.pid))
    finally:
        for process in (observe, kcat):
            process.kill()
            process.wait()


def _twice(read: Callable[[], Reading | None]) -> tuple[Reading, Reading]:
    """Return a reading once flows come, and another some seconds later."""
    deadline = time.monotonic() + 60
    while (first := read()) is None or not first.flows:
        if time.monotonic() > deadline:
            raise cache.Missing("no flows came")
        time.sleep(0.2)
    time.sleep(WARM_SECONDS)
    first = read()
    time.sleep(SECONDS)
    last = read()
    assert first is not None
    assert last is not None
    return first, last


def _scrape(port: int) -> Reading | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return None
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return Reading(
        time.monotonic(),
        float(found["process_cpu_seconds_total"]),
        float(found["picket_collector_flows_total"]),
        float(found["process_resident_memory_bytes"]),
    )


def _usage(topic: str, broker: str, *pids: int) -> Reading | None:
    cpu = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / TICKS
    at = time.monotonic()
    consumer = client.KafkaConsumer(bootstrap_servers=broker)
    try:
        partition = client.TopicPartition(topic, 0)
        if topic not in consumer.topics():
            return None
        return Reading(at, cpu, consumer.end_offsets([partition])[partition])
    finally:
        consumer.close()


def _collect(bus: str, address: str, port: int) -> None:
    """Be the collector that is measured."""
    log = opening.open_log(opening.BusSettings(bus=bus))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = CollectorSettings(relay=address, health_port=port)
    built = app.build(settings, log=log)
    built.stop = stop
    built.serve()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _collect(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        for figure in run():
            print(f"{figure.name}: {figure.value:,.3f} {figure.unit} {figure.note}")
