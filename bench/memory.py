"""Resident memory of each stage: its peak over ten minutes of load on the whole pipeline.

The same real parts and processes as in `latency`, 2,000 flows/s of an everyday mix, of which the
collector gets what was stopped; now and then a workload is stopped for the first time, and somebody
looks at the list. The peak is the kernel's own (VmHWM), so no sampling misses it; start-up counts.
Linux only. BENCH_SECONDS in the environment makes the load shorter, for a look whether all works.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench import latency
from bench.figures import Figure
from tests.journeys import pipeline
from tests.parts.synthetic import mix

SECONDS = 600.0
RATE = 2_000
FRESH_EVERY = 5.0
TARGET_MIB = 256
KIB_A_MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A process's memory, in MiB."""

    now: float
    peak: float

    @classmethod
    def of(cls, process: int) -> "Resident":
        """Return that of a running process, by its id."""
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        now, peak = (int(fields[name].split()[0]) / KIB_A_MIB for name in ("VmRSS", "VmHWM"))
        return cls(now=now, peak=peak)


def run(seconds: float | None = None) -> list[Figure]:
    """Return the peak of each stage; `seconds`: of load, by default what the environment says.

    Raises AssertionError where the stages did not count all that was stopped meanwhile: then the
    load was not the one that is written here.
    """
    seconds = seconds or float(os.environ.get("BENCH_SECONDS", SECONDS))
    with latency.full_run() as whole:
        latency.warm_up(whole)
        booked = whole.nodes.do("truth")["flows"]
        began = time.monotonic()
        whole.nodes.start(RATE, mix.Mix.EVERYDAY)
        _look_on(whole, until=began + seconds / 2)
        halfway = _resident(whole.stages)
        _look_on(whole, until=began + seconds)
        rate = (whole.nodes.stop()["flows"] - booked) / (time.monotonic() - began)
        uncounted = whole.uncounted()
        assert not uncounted, f"{uncounted} flows were not counted:\n{whole.stages.notices()}"
        resident = _resident(whole.stages)
    load = f"{seconds:,.0f} s at {rate:,.0f} flows/s"
    return [
        Figure(
            name=f"resident memory, {stage}",
            value=resident[stage].peak,
            unit="MiB",
            target=TARGET_MIB if seconds >= SECONDS else None,
            note=f"peak over {load}; {halfway[stage].now:.0f} at half time,"
            f" {resident[stage].now:.0f} at the end",
        )
        for stage in pipeline.STAGES
    ]


def _look_on(whole: latency.Whole, *, until: float) -> None:
    """Let the load go on; every few seconds there is a fresh alert, and a look at the list."""
    while (now := time.monotonic()) < until:
        whole.stages.check_alive()
        whole.nodes.do("strangers", apps=[f"fresh-{time.time_ns()}"])
        whole.stages.get("/api/v1/alerts?limit=100")
        time.sleep(max(min(now + FRESH_EVERY, until) - time.monotonic(), 0.0))


def _resident(stages: pipeline.Pipeline) -> dict[str, Resident]:
    return {name: Resident.of(process.pid) for name, process in stages.processes.items()}
