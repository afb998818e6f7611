"""Fixtures that every folder of tests may ask for, and the word on what could not run.

`kafka`, `postgres`, `hubble`, `nodes`, `engine`, `control_plane`, `cilium_cluster`: the real and the
synthetic parts, see tests/parts.
"""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

# What others import stands before them, or it would not be rewritten.
pytest_plugins = [
    "tests.parts.kafka",
    "tests.parts.nodes",
    "tests.parts.postgres",
    "tests.parts.relay",
    "tests.parts.engine",
    "tests.parts.kubernetes.fixtures",
    "tests.parts.cilium.fixtures",
]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A script ignores it for what it runs in the background, and so would all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

NOT_RUN = "NOT RUN, "
"""How a test's reason begins that is skipped for want of a part: see tests.parts.demand."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which tests did not run for want of a part, and why.

    Where $PICKET_NOT_RUN names a file, it is written there too, for whoever runs several pytests.
    """
    reasons: dict[str, Counter[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _, found, reason = reason.partition(NOT_RUN)
        if found:
            file = report.nodeid.partition("::")[0]
            reasons.setdefault(reason.partition("\n")[0], Counter())[file] += 1
    # xdist's workers report to the controller, which has it all.
    if not reasons or "PYTEST_XDIST_WORKER" in os.environ:
        return
    lines = []
    for reason, files in reasons.items():
        lines.append(f"{files.total()} tests, {reason}")
        lines += [f"    {count} of {file}" for file, count in sorted(files.items())]
    terminalreporter.section("TESTS THAT DID NOT RUN", red=True)
    for line in lines:
        terminalreporter.line(line)
    if path := os.environ.get("PICKET_NOT_RUN"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
