"""Cilium's own policy engine as a part: asked with scenarios, answers as `picket policy verdicts`."""

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.parts import cache, demand, relay

Json = Mapping[str, Any]
Ask = Callable[[Iterable[Json]], list[dict[str, Any]]]
SECONDS = 240.0


def program() -> Path:
    """Return the engine as a program, see oracle/main.go, building it first. Raises Missing."""
    return relay.beside("oracle", Path(__file__).parent / "oracle")


def ask(scenarios: Iterable[Json]) -> list[dict[str, Any]]:
    """Return what the engine makes of each scenario, in order.

    `rejected` and `schema_rejected` are lists of index, stage and error. Where the engine itself
    broke, `fault` says how, and what it had not come to is missing. Raises Missing.
    """
    given = "".join(json.dumps(scenario) + "\n" for scenario in scenarios)
    answer = subprocess.run(
        [str(program())], input=given, capture_output=True, text=True, check=True, timeout=SECONDS
    )
    return [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.fixture(scope="session")
def engine() -> Ask:
    """Cilium's engine; a test that asks for it does not run where it cannot be had."""
    try:
        program()
    except cache.Missing as missing:
        demand.require("Cilium policy engine", str(missing))
    return ask
