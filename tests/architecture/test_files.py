"""What may stand in files, and how long they get."""

import ast
import re
from pathlib import Path

import pytest

from tests.architecture import house

HARD_LOOK = 400
"""Lines from which a module is asked whether it is two."""
LOOKED_AT: dict[str, str] = {}
"""Longer ones, and why they are one all the same."""
TESTS_MAY_HAVE = 600

# Pieced together, so that this file does not find itself.
REGISTRIES = re.compile(
    r"|".join(
        re.escape(name).replace("_", r"\.")
        for name in (
            *("proxy_golang_org", "pypi_org", "files_pythonhosted_org", "registry_npmjs_org"),
            *("repo_maven_apache_org", "repo1_maven_org", "docker_io/", "ghcr_io/", "quay_io/"),
        )
    )
    + r"|^--?(?:extra-)?index-url|^--?find-links|^--trusted-host",
    re.MULTILINE,
)
MACHINE_PATHS = re.compile(r"(?<![\w.~/$}])/(?:root|work|Users/\w+)/\w")
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]|\bglpat-[\w-]{20}|\bAKIA[0-9A-Z]{16}\b"
)


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (REGISTRIES, "the address of a registry"),
        (MACHINE_PATHS, "a path of someone's machine"),
        (SECRETS, "a secret"),
    ],
    ids=["registries", "paths", "secrets"],
)
def test_no_file_holds(pattern, what):
    """The network is whoever runs it's business."""
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for path, text in house.texts()
        if path != Path("tests/architecture/test_files.py")
        for match in pattern.finditer(text)
    ]
    assert found == [], what


def test_no_requirement_goes_without_a_hash():
    """And each is pinned."""
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (house.ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        lines = [
            line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
        ]
        assert len(lines) > 20
        assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


def test_the_developers_packages_are_those_of_running_and_more():
    """Otherwise what is tested is not what runs."""
    pins = [
        set(re.findall(r"^([a-z0-9][\w.-]*==\S+)", (house.ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt")
    ]
    assert pins[0] - pins[1] == set()


def test_modules_stay_short_enough_to_be_read_in_one_go():
    """Longer ones stand above, with the reason."""
    long = {
        str(path): (house.ROOT / path).read_text(encoding="utf-8").count("\n")
        for path in house.modules()
        if str(path) not in LOOKED_AT
    }
    limits = {name: TESTS_MAY_HAVE if name.startswith("tests/") else HARD_LOOK for name in long}
    assert {name: lines for name, lines in long.items() if lines > limits[name]} == {}


def test_tests_sleep_only_between_two_looks_at_a_condition():
    """A bare sleep is too short on one machine and wasted on all others."""
    found = []
    for path, tree in house.modules().items():
        if path.parts[0] != "tests" or path.parts[1] == "parts":
            continue
        patient = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.While)
            for inner in ast.walk(node)
        }
        found += [
            f"{path}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("time.sleep", "sleep", "asyncio.sleep")
            and id(node) not in patient
        ]
    assert found == []


def test_no_test_is_left_out_for_good():
    """A test that cannot run says so while it runs, and through tests.parts.demand for a part."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in house.modules().items()
        if path.parts[:2] != ("tests", "architecture")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("pytest.mark.skip", "pytest.importorskip", "pytest.mark.xfail")
    ]
    assert found == []


def test_every_marker_is_used():
    """One that is not would hide that its tests are gone."""
    texts = "".join(text for path, text in house.texts() if path.parts[0] == "tests")
    for line in house.PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]:
        assert f"mark.{line.partition(':')[0]}" in texts, line
