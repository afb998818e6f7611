"""Fixtures that every folder of tests may ask for, and the word on what could not run.

`kafka`, `postgres`, `hubble`, `nodes`: the real and the synthetic parts, see tests/parts.
"""

import os
from pathlib import Path

import pytest

pytest_plugins = [
    "tests.parts.kafka",
    "tests.parts.nodes",
    "tests.parts.postgres",
    "tests.parts.relay",
]

NOT_RUN = "NOT RUN, "
"""How a test's reason begins that is skipped for want of a part: see tests.parts.demand."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which tests did not run for want of a part, and why.

    Where $PICKET_NOT_RUN names a file, it is written there too, for whoever runs several pytests.
    """
    reasons: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _, found, reason = reason.partition(NOT_RUN)
        if found:
            reasons.setdefault(reason, []).append(report.nodeid)
    if not reasons:
        return
    lines = []
    for reason, tests in reasons.items():
        lines.append(f"{len(tests)} tests: {reason}")
        lines += [f"    {test}" for test in tests]
    terminalreporter.section("TESTS THAT DID NOT RUN", red=True)
    for line in lines:
        terminalreporter.line(line)
    if path := os.environ.get("PICKET_NOT_RUN"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
