"""Who may know whom, beyond what import-linter is told in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import house

HOMES = {
    "kafka": ("bus/kafka",),
    "sqlite3": ("bus/",),
    "grpc": ("collector/", "schemas/hubble/"),
    "re2": ("policies/",),
    "sqlalchemy": ("alert_api/",),
    "fastapi": ("alert_api/",),
    "uvicorn": ("alert_api/",),
    "kubernetes": ("agent/",),
    "watchfiles": ("agent/",),
    "typer": ("cli/",),
    "rich": ("cli/",),
}
"""What is one adapter's business, and where that adapter is."""
BANNED_NAMES = {"utils", "helpers", "common", "manager", "base"}


def in_packages() -> list[Path]:
    return [path for path in house.modules() if path.parts[0] in house.PACKAGES]


def test_every_package_is_known_to_the_linters_the_types_and_the_installer():
    """A new package that one of them does not know would go unchecked."""
    tools = house.PYPROJECT["tool"]
    layers = " | ".join(tools["importlinter"]["contracts"][0]["layers"]).split(" | ")
    installed = {name.partition(".")[0] for name in tools["setuptools"]["packages"]}
    assert set(house.PACKAGES) == set(layers) == set(tools["mypy"]["packages"]) == installed
    folders = {path.parts[0] for path in house.modules() if len(path.parts) > 1}
    assert folders - {"tests", "bench", "examples", "docs", "helm"} == set(house.PACKAGES)


def test_every_folder_of_a_package_is_installed():
    """Packages are listed by hand: one that is forgotten works here and nowhere else."""
    folders = {".".join(path.parts[:-1]) for path in in_packages()}
    assert folders == set(house.PYPROJECT["tool"]["setuptools"]["packages"])


def test_import_linter_is_content():
    """The arrows point down, the services do not know each other, policies are pure."""
    program = Path(sys.executable).parent / "lint-imports"
    answer = subprocess.run(
        [program, "--no-logo"], cwd=house.ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_is_known_to_its_adapter_only(library):
    strangers = [
        str(path)
        for path in in_packages()
        if library in {name.partition(".")[0] for name in house.imports(house.modules()[path])}
        and not str(path).startswith(HOMES[library])
    ]
    assert strangers == []


def test_only_the_command_line_reads_the_environment_and_signals():
    """Elsewhere both are arguments. One module writes it: grpc takes some things by nothing else."""
    telling_grpc = "collector/relay_channel.py"
    readers = []
    for path in in_packages():
        names = set(house.imports(house.modules()[path]))
        text = (house.ROOT / path).read_text(encoding="utf-8")
        if str(path) == telling_grpc:
            text = text.replace("os.environ.setdefault(", "")
        reads = "os.environ" in text or "os.getenv" in text or "signal.signal(" in text
        if path.parts[0] != "cli" and (reads or names & {"os.environ", "os.getenv"}):
            readers.append(str(path))
    assert readers == []


def test_nothing_but_tests_imports_tests_and_benchmarks():
    for path in in_packages():
        roots = {name.partition(".")[0] for name in house.imports(house.modules()[path])}
        assert not roots & {"tests", "bench", "pytest"}, path


def test_modules_are_named_after_what_they_own():
    assert [str(path) for path in house.modules() if path.stem in BANNED_NAMES] == []


def test_every_folder_of_tests_is_a_package():
    """Otherwise tests/collector would shadow collector."""
    folders = {path.parent for path in house.modules() if path.parts[0] == "tests"}
    missing = [str(folder) for folder in folders if folder / "__init__.py" not in house.modules()]
    assert missing == []
