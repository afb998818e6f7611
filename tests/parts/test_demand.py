"""A part that cannot be had: skipped loudly, or failed where CI demands it; built once, whole."""

import threading
from pathlib import Path

import pytest

from tests.parts import cache, demand


def test_a_missing_part_skips_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CI the test is skipped, saying what is missing and why."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"NOT RUN.*Oven.*no gas"):
        demand.require("Oven", "no gas")


def test_a_missing_part_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CI=true the same is a failure."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"Oven.*no gas"):
        demand.require("Oven", "no gas")


def test_a_part_that_is_there_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing happens where nothing is missing."""
    monkeypatch.setenv("CI", "true")
    demand.require("Oven", None)


def test_a_part_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several that want a part at the same time get the one that the first built."""
    monkeypatch.setenv("PICKET_PARTS", str(tmp_path))
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "program").write_text("whole")

    threads = [threading.Thread(target=cache.part, args=("p", "1", build)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert (cache.part("p", "1", build) / "program").read_text() == "whole"


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that failed is tried again, from nothing."""
    monkeypatch.setenv("PICKET_PARTS", str(tmp_path))

    def broken(folder: Path) -> None:
        (folder / "half").write_text("half")
        cache.run(["false"], label=("p", "1"))

    with pytest.raises(cache.Missing, match="false"):
        cache.part("p", "1", broken)
    home = cache.part("p", "1", lambda folder: (folder / "whole").touch())
    assert [path.name for path in home.iterdir()] == ["whole"]


def test_a_tool_that_is_not_there_says_what_to_install() -> None:
    """The reason for a missing part names the package."""
    with pytest.raises(cache.Missing, match="install the package of ovens"):
        cache.tool("no-such-oven", install="the package of ovens")
