"""The files of the checkout, and what they import."""

import ast
import contextlib
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: tuple[str, ...] = tuple(PYPROJECT["tool"]["importlinter"]["root_packages"])
BINARY = {".gz", ".png", ".ico", ".woff2", ".pyc", ".db"}


@cache
def files() -> tuple[Path, ...]:
    """Return all files that are, or could be, committed; relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # not a clone, such as a source archive
        found = [
            path.relative_to(ROOT)
            for path in ROOT.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.parts)
        ]
    else:
        found = [Path(line) for line in answer.stdout.splitlines()]
    return tuple(sorted(path for path in found if (ROOT / path).is_file()))


def texts() -> Iterator[tuple[Path, str]]:
    """Yield all files of text, but for what tests read as data."""
    for path in files():
        if path.suffix in BINARY or path.parts[:2] == ("tests", "data"):
            continue
        with contextlib.suppress(FileNotFoundError):  # someone is at work
            yield path, (ROOT / path).read_text(encoding="utf-8")


@cache
def modules() -> dict[Path, ast.Module]:
    """Return all Python modules that someone wrote."""
    return {
        path: ast.parse(text, str(path))
        for path, text in texts()
        if path.suffix == ".py" and "_pb2" not in path.name
    }


def imports(tree: ast.Module) -> Iterator[str]:
    """Yield the full names that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
