"""A stage on a fresh log."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from enricher import session
from tests.enricher import harness


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[harness.Stage]:
    """An enricher that does not wait for records which no test is going to write."""
    monkeypatch.setattr(session, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(session, "FOLLOW_SECONDS", 0.0)
    with harness.a_stage(tmp_path) as made:
        yield made
