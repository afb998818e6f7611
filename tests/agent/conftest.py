"""A log of a test's own."""

import pytest

from bus import embedded
from schemas import topics


@pytest.fixture
def log(tmp_path_factory):
    """An embedded log of this test's own."""
    opened = embedded.EmbeddedLog(tmp_path_factory.mktemp("log") / "log.db")
    opened.ensure(topics.ALL)
    yield opened
    opened.close()
