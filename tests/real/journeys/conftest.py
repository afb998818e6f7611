"""Time between two journeys on one cluster."""

import time

import pytest

from tests import waiting

APART_SECONDS = 6.0
"""Up to 5 s before a policy was made it may be what stopped a packet: not one of the last test."""


@pytest.fixture(autouse=True)
def _apart() -> None:
    """Let what earlier tests' policies stopped grow old."""
    until = time.monotonic() + APART_SECONDS
    waiting.until(lambda: time.monotonic() > until, what="quiet")
