"""What git remembers of a file: at HEAD, before it, and in each release."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def git(*arguments):
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def versions(path):
    """Return (revision, text) of each version that must stay readable."""
    try:
        tags = git("tag", "--list", "v*")
    except FileNotFoundError:
        pytest.skip("no history to compare with: git is not installed")
    if tags.returncode != 0:
        pytest.skip("no history to compare with: this is not a git checkout")
    found = []
    for revision in ["HEAD", "HEAD~1", *tags.stdout.split()]:
        shown = git("show", f"{revision}:{path}")
        if shown.returncode == 0:
            found.append((revision, shown.stdout))
    return found
