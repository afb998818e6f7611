"""The nodes that the contract of this folder is held against."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.contracts.hubble import agents
from tests.parts import cache, demand, relay

FED = ["synthetic", pytest.param("reference", marks=pytest.mark.relay)]
REAL = pytest.param("real", marks=[pytest.mark.cilium, pytest.mark.xdist_group("cilium")])


@pytest.fixture(scope="module", params=FED)
def fed(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[agents.Fed]]:
    """What runs a node whose events a test makes up, by the size of its ring."""
    return _fed(request.param)


@pytest.fixture(scope="module", params=[*FED, REAL])
def agent(request: pytest.FixtureRequest) -> Iterator[agents.Agent]:
    """A node for all tests of a module, synthetic or real."""
    if request.param == "real":
        cluster = request.getfixturevalue("cilium_cluster")
        cast = request.getfixturevalue("cilium_cast")
        with agents.real(cluster, cast) as running:
            yield running
        return
    with _fed(request.param)() as running:
        yield running


def _fed(name: str) -> Callable[..., AbstractContextManager[agents.Fed]]:
    if name == "reference":
        try:
            relay.reference()
        except cache.Missing as missing:
            demand.require("observer of Hubble's", str(missing))
    kind: Callable[..., AbstractContextManager[agents.Fed]] = getattr(agents, name)
    return kind
