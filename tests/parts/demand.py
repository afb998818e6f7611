"""What happens to a test whose real part cannot be had: skipped loudly, or failed in CI."""

import os

import pytest


def demanded() -> bool:
    """Return whether a missing part is a failure here."""
    return os.environ.get("CI", "").lower() == "true"


def require(part: str, reason: str | None) -> None:
    """Go on where `reason` is None; else end the test, saying which part is missing and why.

    The one place for the rule: with `CI=true` a missing part is a failure, elsewhere a skip.
    """
    if reason is None:
        return
    text = f"NOT RUN, it needs a real {part}: {reason}"
    if demanded():
        pytest.fail(text, pytrace=False)
    pytest.skip(text)
