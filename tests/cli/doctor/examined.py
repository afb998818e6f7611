"""Running the doctor in this process and reading what it found."""

import json

import pytest

from cli import main
from cli.doctor.finding import Finding, State


def doctor(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[Finding]]:
    """Run the command; return its exit code and its findings, each with what to do next."""
    code = main.run(["doctor", "--output", "json", *map(str, arguments)])
    rows = json.loads(capsys.readouterr().out)
    found = [Finding(**{**row, "state": State(row["state"])}) for row in rows]
    assert all(finding.next for finding in found if finding.state is not State.FINE)
    return code, found


def about(found: list[Finding], name: str) -> Finding:
    """Return the one finding about a thing."""
    (one,) = [finding for finding in found if finding.about == name]
    return one
