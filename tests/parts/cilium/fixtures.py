"""Pytest's fixtures of the real cluster: one a session, with the standard pods and no policies.

A test that uses it leaves it as it was, and stops nothing that others wait for.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parts import cache, demand
from tests.parts.cilium import standard
from tests.parts.cilium.cluster import Cluster

ONE_WORKER = "tests/real/"
"""Tests in there share the cluster, and so does each that has `real` among its parameters."""


def group(nodeid: str) -> str:
    """Return what a test is to share a worker of xdist with: the cluster's, or nobody."""
    parameters = nodeid.partition("[")[2].partition("]")[0].split("-")
    return "cilium" if nodeid.startswith(ONE_WORKER) or "real" in parameters else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have one worker run all tests of the cluster, where tests are spread by groups.

    In place of the mark `xdist_group`, which xdist 3.8 does not see with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Grouping(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return Grouping(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def _populated() -> Iterator[tuple[Cluster, standard.Cast]]:
    reason: str | None = None
    with contextlib.ExitStack() as stack:
        try:
            cluster = stack.enter_context(Cluster())
            cast = standard.populate(cluster)
        except cache.Missing as missing:
            reason = str(missing)
        demand.require("Cilium", reason)
        yield cluster, cast


@pytest.fixture(scope="session")
def cilium_cluster(_populated: tuple[Cluster, standard.Cast]) -> Cluster:
    """The cluster; where it cannot be had, the test says so loudly."""
    return _populated[0]


@pytest.fixture(scope="session")
def cilium_cast(_populated: tuple[Cluster, standard.Cast]) -> standard.Cast:
    """The cluster's pods."""
    return _populated[1]
