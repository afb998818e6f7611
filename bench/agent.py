"""The agent on a real API server: 10,000 policies and 5,000 namespaces.

From the start of its process to the marker on the topic, its memory, what a cut connection costs
the API server, and how long one change takes until an enricher has it at the latest. The clock of a
change starts before the request is sent, so the API server's own time is within.
"""

import concurrent.futures
import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from agent import namedports, shaping
from bench.figures import Figure, quantile
from bench.memory import Resident
from bus import embedded
from enricher.session import FOLLOW_SECONDS
from schemas import topics
from tests import waiting
from tests.agent.line import Line
from tests.parts import ports
from tests.parts.kubernetes import crds, plane

POLICIES = 10_000
NAMESPACES = 5_000
CHANGES = 250
PODS = 50_000
SORTS = 500
THREADS = 8
CLUSTER = "bench"


def run() -> list[Figure]:
    """Return the figures of the agent."""
    with tempfile.TemporaryDirectory(prefix="picket-bench-") as name:
        folder = Path(name)
        with plane.running(folder / "plane") as cluster:
            crds.install(cluster)
            _fill(cluster)
            with Line(cluster.port) as line:
                return [*_measure(cluster, line, folder), _memory_of_pods()]


def _measure(cluster: plane.ControlPlane, line: Line, folder: Path) -> list[Figure]:
    kubeconfig = cluster.files.kubeconfig("bench", url=line.url, token=cluster.token)
    began = time.monotonic()
    with _agent(kubeconfig, folder / "log.db") as process, _tail(folder / "log.db") as tail:
        tail.until(f"{CLUSTER}/synced".encode(), seconds=300)
        ready = time.monotonic() - began
        busy = sum(psutil.Process(process.pid).cpu_times()[:2])
        first = Resident.of(process.pid)
        listed = _listed(cluster)
        line.cut()
        cluster.apply(_policy(0, version=1))
        line.mend()
        broken = time.monotonic()
        tail.until(_key(0), seconds=120)
        resumed = time.monotonic() - broken
        times = [_change(cluster, tail, number) for number in range(1, CHANGES + 1)]
        late = quantile(times, 0.99)
        again = _listed(cluster) - listed
        peak = Resident.of(process.pid)
    began = time.monotonic()
    with _agent(kubeconfig, folder / "log.db", health := ports.free()) as process:
        with httpx.Client(trust_env=False) as client:
            ready_url = f"http://127.0.0.1:{health}/readyz"
            waiting.until(
                lambda: client.get(ready_url).is_success,
                what="ready again",
                seconds=300,
                every=0.1,
                despite=(httpx.TransportError,),
            )
        restarted = time.monotonic() - began
        busy_again = sum(psutil.Process(process.pid).cpu_times()[:2])
    what = f"{POLICIES:,} policies, {NAMESPACES:,} namespaces"
    return [
        Figure(
            name="agent ready",
            value=ready,
            unit="s",
            target=20,
            note=f"from the process's start to the marker; {what}; {busy:.1f} s of CPU time",
        ),
        Figure(
            name="agent ready again",
            value=restarted,
            unit="s",
            target=20,
            note=f"a second start; {busy_again:.1f} s of CPU time",
        ),
        Figure(
            name="agent's memory",
            value=peak.peak,
            unit="MiB",
            target=256,
            note=f"peak; {first.now:.0f} once ready, {peak.now:.0f} at the end",
        ),
        Figure(
            name="objects listed after a cut connection",
            value=again,
            unit="objects",
            target=READERS,
            note="counted by the API server; each reader asks for the one that tells the cluster",
        ),
        Figure(name="going on after a cut connection", value=resumed, unit="s"),
        Figure(
            name="one change until an enricher has it, p99",
            value=(late + FOLLOW_SECONDS) * 1000,
            unit="ms",
            target=500,
            note=f"{len(times)} changes; on the topic after {late * 1000:.0f} ms, at the median"
            f" {statistics.median(times) * 1000:.0f}; an enricher looks there every"
            f" {FOLLOW_SECONDS * 1000:.0f} ms",
        ),
    ]


def _change(cluster: plane.ControlPlane, tail: "_Tail", number: int) -> float:
    began = time.monotonic()
    cluster.apply(_policy(number, version=2))
    tail.until(_key(number), seconds=60)
    return time.monotonic() - began


class _Tail:
    """The newest records of picket.policies, as a reader of committed records gets them."""

    def __init__(self, log: embedded.EmbeddedLog) -> None:
        self._reader = log.reader([topics.POLICIES.name])

    def until(self, key: bytes, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(record.key == key for record in self._reader.poll(timeout=0.05)):
                return
        raise AssertionError(f"{key!r} did not come within {seconds} s")


@contextlib.contextmanager
def _tail(path: Path) -> Iterator[_Tail]:
    waiting.until(path.exists, what="the log", seconds=60)
    log = embedded.EmbeddedLog(path)
    log.ensure(topics.ALL)
    try:
        yield _Tail(log)
    finally:
        log.close()


@contextlib.contextmanager
def _agent(kubeconfig: Path, log: Path, health: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "cli", "agent", "--kubeconfig", str(kubeconfig)]
    command += ["--cluster", CLUSTER, "--bus", str(log), "--log-level", "warn"]
    command += ["--health-port", str(health)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr) as process:
        try:
            yield process
        finally:
            process.terminate()


def _listed(cluster: plane.ControlPlane) -> int:
    """Return how many objects of what the agent reads the API server has listed so far."""
    metric = r"^apiserver_(?:cache|storage)_list_returned_objects_total\{(.*)\} (\S+)$"
    text = cluster.client.get("/metrics").text
    return sum(
        int(float(value))
        for labels, value in re.findall(metric, text, re.MULTILINE)
        if dict(re.findall(r'(\w+)="([^"]*)"', labels))["resource"] in READ
    )


READ = {
    "ciliumnetworkpolicies",
    "ciliumclusterwidenetworkpolicies",
    "ciliumcidrgroups",
    "networkpolicies",
    "namespaces",
    "services",
    "endpointslices",
    "pods",
}
READERS = len(READ) + 1
"""One more reads the options of Cilium."""


def _fill(cluster: plane.ControlPlane) -> None:
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        spaces = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns{number}"}}
            for number in range(NAMESPACES)
        ]
        list(pool.map(cluster.apply, spaces))
        list(pool.map(lambda number: cluster.apply(_policy(number)), range(POLICIES)))


def _key(number: int) -> bytes:
    return f"{CLUSTER}/CiliumNetworkPolicy/ns{number % NAMESPACES}/p{number}".encode()


def _policy(number: int, *, version: int = 0) -> dict[str, Any]:
    peers = [{"matchLabels": {"app": f"app{number % 15}", "version": f"v{version}"}}]
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {
            "name": f"p{number}",
            "namespace": f"ns{number % NAMESPACES}",
            "labels": {"app.gitlab.com/proj": "1"},
            "annotations": {"app.gitlab.com/alert": "true"},
        },
        "spec": {
            "endpointSelector": {"matchLabels": {"app": f"app{number % 7}"}},
            "ingress": [
                {
                    "fromEndpoints": peers,
                    "toPorts": [
                        {"ports": [{"port": str(p), "protocol": "TCP"} for p in (8080, 9090)]}
                    ],
                },
                {"fromCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.96.0.0/12"]}]},
            ],
            "egress": [
                {"toEntities": ["cluster"]},
                {"toFQDNs": [{"matchPattern": "*.example.com"}]},
            ],
        },
    }


def _memory_of_pods() -> Figure:
    """Of pods as they are kept, fresh from JSON each."""
    pods = namedports.NamedPorts()
    now = datetime.now(UTC)
    objects = 0
    tracemalloc.start()
    for number in range(PODS):
        raw = json.dumps(
            {
                "metadata": {
                    "name": f"web-{number % SORTS}-{number}",
                    "namespace": f"ns{number % 100}",
                    "labels": {"app": f"web-{number % SORTS}", "pod-template-hash": f"h{number}"},
                },
                "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
            }
        )
        objects += len(list(pods.put(shaping.pod(json.loads(raw)), now)))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert objects == SORTS, objects
    return Figure(
        name=f"memory of {PODS:,} pods",
        value=kept / 2**20,
        unit="MiB",
        target=32,
        note=f"of {SORTS} sorts, each one object on the topic",
    )
