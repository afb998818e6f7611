"""The real parts that journeys stand on: synthetic nodes behind a real relay, a log, a database."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.journeys import pipeline
from tests.parts import cache, demand, gitlab, kafka, postgres, relay
from tests.parts.nodes import Nodes
from tests.parts.synthetic import mix

PROJECTS = ("101", "102", "103")
"""The GitLab projects of the mix's policies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a pipeline of its own runs in."""

    nodes: Nodes
    relay: relay.Relay
    kafka: kafka.Broker
    postgres: postgres.Postgres
    pipeline: pipeline.Pipeline
    policies: Path


@contextlib.contextmanager
def distributed(
    folder: Path, *, nodes: int = 3, capacity: int = 4095, settings: dict[str, Any] | None = None
) -> Iterator[Surroundings]:
    """Start all parts; the stages are still to be started.

    A part that cannot be had ends the test, loudly.
    """
    with contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(kafka.running(folder / "kafka"))
            database = stack.enter_context(postgres.running())
            running = stack.enter_context(Nodes(nodes, f"--capacity={capacity}"))
            front = stack.enter_context(relay.running(folder / "relay", running.peers, nodes=nodes))
        except cache.Missing as missing:
            demand.require("Apache Kafka, PostgreSQL and hubble-relay", str(missing))
            raise
        policies = folder / "policies"
        policies.mkdir()
        for path in mix.POLICIES.iterdir():
            (policies / path.name).write_bytes(path.read_bytes())
        tables = {
            "agent": {"cluster": "demo", "policies": str(policies)},
            "collector": {"cluster": "demo", "relay": front.address},
            "enricher": {},
            "alert-api": {},
        }
        for stage, table in (settings or {}).items():
            tables[stage] = {**tables[stage], **table}
        yield Surroundings(
            nodes=running,
            relay=front,
            kafka=broker,
            postgres=database,
            policies=policies,
            pipeline=pipeline.Pipeline(
                folder=folder / "picket",
                bus=broker.url,
                database=database.create(),
                settings=tables,
            ),
        )


@contextlib.contextmanager
def gitlab_server(folder: Path) -> Iterator[tuple[gitlab.GitLab, dict[str, Any]]]:
    """Run a strict GitLab; yield it with the settings by which the alert API delivers to it."""
    folder.mkdir(parents=True, exist_ok=True)
    projects = [gitlab.Project(id=name) for name in PROJECTS]
    with gitlab.GitLab(*projects) as server:
        rows = []
        for project in projects:
            key = folder / f"{project.id}.key"
            key.write_text(project.key)
            key.chmod(0o600)
            rows.append(
                {
                    "project": project.id,
                    "url": server.address(project.id),
                    "token_file": str(key),
                    "environment": "production",
                }
            )
        yield server, {"gitlab": rows}


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A log of each kind, as settings name it; the test's own, since topics have fixed names."""
    if request.param == "embedded":
        yield str(tmp_path / "log.db")
        return
    with contextlib.ExitStack() as stack:
        try:
            broker = stack.enter_context(kafka.running(tmp_path / "kafka"))
        except cache.Missing as missing:
            demand.require("Apache Kafka", str(missing))
            raise
        yield broker.url


def record(front: relay.Relay, capture: Path) -> None:
    """Write all that the rings hold into a capture, as Hubble's own client does."""
    command = [relay.programs().hubble, "observe", "--server", front.address]
    with capture.open("wb") as output:
        subprocess.run([*command, "--all", "-o", "jsonpb"], stdout=output, check=True)


def needs_all(function: Any) -> Any:
    """Mark a journey by the parts that it needs."""
    for mark in (pytest.mark.journey, pytest.mark.kafka, pytest.mark.postgres, pytest.mark.relay):
        function = mark(function)
    return function
