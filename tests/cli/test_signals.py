"""When a process stops, and what it goes on ignoring."""

import subprocess
import sys

import pytest

from tests.cli import stand

CODE = """
import os, signal, sys, threading
from cli import signals
# Whatever runs the tests may have been started by nohup.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
for name in sys.argv[3:]:
    signal.signal(signal.Signals[name], signal.SIG_IGN)
stop, again = threading.Event(), threading.Event()
signals.stopping(stop, again=again.set)
# As where a signal comes in the midst of stop.wait(): the event's own lock is taken.
with stop._cond:
    for name in sys.argv[1].split(","):
        os.kill(os.getpid(), signal.Signals[name])
{"goes on": lambda: None, "stopped": stop.wait, "again": again.wait}[sys.argv[2]]()
print("again" if again.is_set() else "stopped" if stop.is_set() else "goes on")
"""


@pytest.mark.parametrize(
    ("sent", "ignored", "said"),
    [
        ("SIGINT", [], "stopped"),
        ("SIGTERM", [], "stopped"),
        ("SIGHUP", [], "stopped"),
        ("SIGTERM,SIGINT", [], "again"),
        ("SIGINT", ["SIGINT"], "stopped"),
        ("SIGHUP", ["SIGHUP"], "goes on"),
    ],
)
def test_what_stops_a_process(sent, ignored, said):
    """Also what a shell started in the background; but not what nohup protects."""
    found = subprocess.run(
        [sys.executable, "-c", CODE, sent, said, *ignored],
        capture_output=True,
        text=True,
        cwd=stand.ROOT,
        timeout=60,
        check=True,
    )
    assert found.stdout == said + "\n"
