"""What a person sees and does at a terminal, and where things are unless said otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import state
from cli.settings import UpSettings
from tests.cli import stand
from tests.parts import ports

ESCAPE = "\x1b"
INTERRUPT = b"\x03"
"""What the terminal makes of Ctrl-C: SIGINT for whoever is in front."""


@pytest.mark.slow
def test_a_person_sees_progress_then_the_alerts_and_stops_it_by_its_key(tmp_path):
    """The bar moves and goes; the alerts stay, and Ctrl-C ends well."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "cli", "up", "--listen", f"127.0.0.1:{ports.free()}"]
    command += ["--flows", "examples/shop.jsonl.gz", "--policies", "examples/policies"]
    with subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=stand.ROOT,
        env=stand.environment(tmp_path, TERM="xterm-256color"),
    ) as process:
        os.close(theirs)
        try:
            seen = read_until(ours, stand.READY)
            os.write(ours, INTERRUPT)
            seen += read_until(ours, "Stopping.")
            assert process.wait(60) == 0
        finally:
            process.kill()
            os.close(ours)
    bar, _, after = seen.partition("7 alerts")
    assert "starting" in bar
    assert "━" in bar
    assert f"{ESCAPE}[2K" in bar, "the bar's line is wiped"
    assert after.count("triggered") == len(stand.COUNTS)
    assert "Traceback" not in seen


def test_the_api_and_the_state_have_their_known_places():
    """Those of the README: loopback, and the folder for a user's state."""
    assert UpSettings.model_fields["listen"].default == "127.0.0.1:8080"
    assert state.folder({"XDG_STATE_HOME": "/there"}).folder == Path("/there/picket")
    assert state.folder({"XDG_STATE_HOME": "here"}).folder == Path.home() / ".local/state/picket"
    assert state.folder({}).token == Path.home() / ".local/state/picket/token"


def read_until(terminal, word):
    """Return what was written, once the word is among it. The test's time limit ends the wait."""
    seen = b""
    while word.encode() not in seen:
        seen += os.read(terminal, 65536)
    return seen.decode()
