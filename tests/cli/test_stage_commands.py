"""A stage by its own command: its flags, its health port, and how it ends."""

import contextlib
import select
import signal
import subprocess
import sys

import httpx
import pytest

from agent import table
from bus import embedded
from tests.cli import stand
from tests.parts import ports
from tests.waiting import until

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def a_stage(*arguments, state):
    """A stage as a process; SIGTERM ends it with exit code 0."""
    with subprocess.Popen(
        [sys.executable, "-m", "cli", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=stand.ROOT,
        env=stand.environment(state),
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def answers(port, path):
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False)
    except httpx.HTTPError:
        return None


def test_the_agent_runs_by_its_command(tmp_path):
    """Ready once the folder is published; it stops when it is told to."""
    port = ports.free()
    arguments = ("--policies", stand.EXAMPLES / "policies", "--cluster", "demo")
    with a_stage(
        *("agent", *arguments, "--bus", tmp_path / "log.db", "--health-port", port),
        state=tmp_path,
    ):

        def ready():
            answer = answers(port, "/readyz")
            return answer is not None and answer.status_code == 200

        until(ready, seconds=60)
        assert 'picket_agent_objects{cluster="demo",kind="NetworkPolicy"} 1.0' in (
            answers(port, "/metrics").text
        )
    log = embedded.EmbeddedLog(tmp_path / "log.db")
    assert len(table.read(log, "demo").objects) == 7
    log.close()


def test_a_collector_ends_by_itself_at_the_end_of_a_capture(tmp_path):
    """Exit code 0, and all flows in the log."""
    found = stand.picket(
        *("collector", "--flows", stand.EXAMPLES / "shop.jsonl.gz", "--bus", tmp_path / "log.db"),
        state=tmp_path,
    )
    assert found.returncode == 0, found.stderr
    shown = stand.picket("flows", "--last", "1000", "--bus", tmp_path / "log.db", state=tmp_path)
    assert len(shown.stdout.splitlines()) == 136


def test_an_endless_look_ends_when_it_is_told_to(tmp_path):
    """A look with --follow prints what comes, and stops at once."""
    bus = ("--bus", tmp_path / "log.db")
    stand.picket("collector", "--flows", "/dev/null", *bus, state=tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "flows", "--follow", *map(str, bus)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=stand.ROOT,
        env=stand.environment(tmp_path),
    ) as looking:
        capture = ("--flows", stand.EXAMPLES / "shop.jsonl.gz")
        # Only what comes after the look began is shown: write until something is.
        for number in range(20):
            cluster = ("--cluster", f"demo-{number}")
            stand.picket("collector", *capture, *cluster, *bus, state=tmp_path)
            if looking.poll() is None and _has_output(looking):
                break
        assert "policy-verdict" in looking.stdout.readline()
        looking.send_signal(signal.SIGINT)
        looking.communicate(timeout=30)
    assert looking.returncode == 0


def _has_output(process):
    return bool(select.select([process.stdout], [], [], 0)[0])
