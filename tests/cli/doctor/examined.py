"""Running the doctor in this process and reading what it found."""

import json

import pytest

from cli import main
from cli.doctor.finding import Finding, State


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[Finding]]:
    """Run the command; return its exit code and its findings."""
    code = main.run(["doctor", "--output", "json", *map(str, arguments)])
    found = json.loads(capsys.readouterr().out)
    return code, [Finding(**{**row, "state": State(row["state"])}) for row in found]


def about(found: list[Finding], name: str) -> Finding:
    """Return the one finding about a thing."""
    (one,) = [finding for finding in found if finding.about == name]
    return one
