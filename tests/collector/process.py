"""A collector in a process of its own, to be killed.

python -m tests.collector.process BUS RELAY [LEASE_SECONDS]
"""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from bus import embedded, opening, port
from collector import app
from collector.settings import CollectorSettings

ROOT = Path(__file__).parents[2]


def main(bus: str, relay: str, lease_seconds: float) -> None:
    settings = opening.BusSettings(bus=bus)
    log: port.Log
    if settings.is_kafka:
        log = opening.open_log(settings)
    else:
        log = embedded.EmbeddedLog(opening.file(bus), lease_seconds=lease_seconds)
    collector = CollectorSettings(cluster="demo", relay=relay, checkpoint_seconds=2)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    app.build(collector, log=log).run(stop)


@contextlib.contextmanager
def killed_at_the_end(
    bus: str, relay: str, *, lease_seconds: float = 1.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one until the block is left, then kill -9 it."""
    command = [sys.executable, "-m", __name__, bus, relay, str(lease_seconds)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
