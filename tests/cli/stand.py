"""A `picket up` of a test's own: on a free port, with its own state folder."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil

from tests.parts import ports
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
COUNTS = [73, 32, 9, 8, 8, 4, 2]
READY = "Ctrl-C stops it"


def environment(state, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PICKET_")}
    return {**kept, "XDG_STATE_HOME": str(state), "COLUMNS": "120", **more}


def picket(*arguments, state, stdin="", **more):
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        input=stdin,
        timeout=120,
        cwd=ROOT,
        env=environment(state, **more),
        check=False,
    )


class Up:
    """A running `picket up`."""

    def __init__(self, process, port, state):
        self.process, self.port, self.state = process, port, state
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def folder(self):
        return self.state / "picket"

    def ready(self):
        def said():
            assert self.process.poll() is None, self.text
            return READY in self.text

        until(said, seconds=90)
        return self

    def get(self, path, **parameters):
        token = (self.folder / "token").read_text().strip()
        answer = httpx.get(
            self.base + path,
            params=parameters,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def alerts(self):
        return self.get("/api/v1/alerts", sort="-events")["alerts"]

    def counts(self):
        return [alert["events"] for alert in self.alerts()]

    def states(self):
        """How the streams of its clusters are."""
        return [row["state"] for row in self.get("/api/v1/clusters")["clusters"]]

    def children(self):
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                words = child.cmdline()
                if "cli.child" in words:
                    found[words[-3]] = child.pid
        return found

    def printed_counts(self):
        return [
            int(found) for found in re.findall(r"^ *(\d+)  \w+ +triggered", self.text, re.MULTILINE)
        ]


@contextlib.contextmanager
def running(state, *arguments, stdin=subprocess.DEVNULL, policies=EXAMPLES / "policies"):
    """Run `picket up` on a free port; stop it by SIGINT, and see that nothing is left."""
    port = ports.free()
    command = [sys.executable, "-m", "cli", "up", "--listen", f"127.0.0.1:{port}"]
    if policies is not None:
        command += ["--policies", str(policies)]
    command += map(str, arguments)
    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment(state),
    )
    up = Up(process, port, state)
    children = []
    try:
        yield up
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            up.thread.join(10)
            process.stdout.close()
        until(lambda: not any(child.is_running() for child in children))
