"""The logs that the contract suite runs over."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import cache, demand
from tests.parts import kafka as kafka_part  # before anything else that loads the client
from tests.parts.kafka import kafka

from tests.contracts.log.harness import Harness  # isort: skip

__all__ = ["kafka"]

BOTH = ["embedded", pytest.param("kafka", marks=pytest.mark.kafka)]


@pytest.fixture(params=BOTH)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """A log of each kind."""
    if request.param == "kafka":
        made = Harness("kafka", request.getfixturevalue("kafka").url)
    else:
        made = Harness("embedded", str(tmp_path / "log.db"))
    yield made
    made.close()


@pytest.fixture(params=BOTH)
def restartable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """A log of each kind whose server nobody else uses."""
    if request.param != "kafka":
        made = Harness("embedded", str(tmp_path / "log.db"))
        yield made
        made.close()
        return
    try:
        with kafka_part.running(tmp_path / "kafka") as broker:
            made = Harness(
                "kafka",
                broker.url,
                restart=lambda: broker.restart(kill=True),
                stop=lambda: broker.stop(kill=True),
            )
            yield made
            made.close()
            gc.collect()  # what is unclosed shall show here and not in some later test
    except cache.Missing as missing:
        demand.require("Apache Kafka", str(missing))
