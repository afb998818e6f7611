"""A short run of each target; the long ones are recorded in docs/fuzzing.md."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzz
from tests.parts import demand

SECONDS = 10


@pytest.fixture(autouse=True)
def _needs_atheris() -> None:
    """It has no wheels for every system."""
    found = importlib.util.find_spec("atheris") is not None
    demand.require("atheris", None if found else "it cannot be imported")


@pytest.mark.slow
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_nothing_is_found_within_seconds(target: str, tmp_path: Path) -> None:
    """And the inputs reach most lines of the modules; a long run reaches nearly all."""
    command = [sys.executable, "-m", "tests.fuzz", target, f"--seconds={SECONDS}", "--least=0.75"]
    done = subprocess.run(
        [*command, f"--corpus={tmp_path}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_what_the_fuzzer_finds_is_told_and_kept(tmp_path: Path) -> None:
    """A target that fails on some input ends the run with its trace."""
    corpus = tmp_path / "failing"
    corpus.mkdir()
    (corpus / "seed").write_bytes(b"x")
    run = fuzz.fuzz("failing", corpus, seconds=60)
    assert "AssertionError: found" in run.trace
    assert list(tmp_path.glob("found-crash-*"))
