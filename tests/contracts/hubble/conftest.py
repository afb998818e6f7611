"""The nodes that the contract of this folder is held against."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.contracts.hubble import agents
from tests.parts import cache, demand, relay

KINDS = ["synthetic", pytest.param("reference", marks=pytest.mark.relay)]


@pytest.fixture(scope="module", params=KINDS)
def fed(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[agents.Fed]]:
    """What runs a node whose events a test makes up, by the size of its ring."""
    if request.param == "reference":
        try:
            relay.reference()
        except cache.Missing as missing:
            demand.require("observer of Hubble's", str(missing))
    kind: Callable[..., AbstractContextManager[agents.Fed]] = getattr(agents, request.param)
    return kind


@pytest.fixture(scope="module")
def agent(fed: Callable[..., AbstractContextManager[agents.Fed]]) -> Iterator[agents.Agent]:
    """A node for all tests of a module, as a real agent would be."""
    with fed() as running:
        yield running
