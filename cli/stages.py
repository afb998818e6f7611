"""The stages: what each is called, its settings, and how one runs as a process of its own."""

import dataclasses
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from bus import opening, port
from cli import flags, signals
from runtime import lifecycle, parent
from runtime.errors import UserError
from runtime.settings import Settings
from runtime.supervisor import PARENT_VARIABLE
from schemas import topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage. Neither its settings nor its code are loaded before they are asked for."""

    name: str
    package: str
    settings_name: str
    summary: str

    @property
    def settings(self) -> type[Settings]:
        """Return the class of its settings."""
        module = importlib.import_module(f"{self.package}.settings")
        found: type[Settings] = getattr(module, self.settings_name)
        return found

    @property
    def section(self) -> flags.Section:
        """Return its settings with the name of their table and variables."""
        return flags.Section(self.name, self.settings)

    def build(self, settings: Settings, log: port.Log, **more: object) -> lifecycle.App:
        """Return the stage, built and not started."""
        module = importlib.import_module(f"{self.package}.app")
        build: Callable[..., lifecycle.App] = module.build
        return build(settings, log=log, **more)


COLLECTOR = Stage(
    name="collector",
    package="collector",
    settings_name="CollectorSettings",
    summary="Read flows from Hubble relay, or from a capture, into the log.",
)
ENRICHER = Stage(
    name="enricher",
    package="enricher",
    settings_name="EnricherSettings",
    summary="Match flows against the policies.",
)
ALERT_API = Stage(
    name="alert-api",
    package="alert_api",
    settings_name="Settings",
    summary="Turn matches into alerts; serve them and deliver them to GitLab.",
)
AGENT = Stage(
    name="agent",
    package="agent",
    settings_name="AgentSettings",
    summary="Publish the policies of a cluster or a folder, and keep them in step.",
)
STAGES = (AGENT, ALERT_API, ENRICHER, COLLECTOR)
"""In the order in which they are started: a stage finds what it reads already being written."""

CAPTURE_PROGRESS = "capture progress"
"""What the line is called by which a collector tells how far it has come."""
PROGRESS_SECONDS = 0.1

BUS = flags.Section("bus", opening.BusSettings, "Log")

FIRST_PAUSE_SECONDS = 0.5
LAST_PAUSE_SECONDS = 15.0

logs = structlog.get_logger()


@dataclass(slots=True)
class Told:
    """Tells whoever started a collector how far it has come: one line on standard output."""

    last: float = float("-inf")

    def __call__(self, progress: Any) -> None:
        """Write a line, but not more often than a person looks; the last one always."""
        now = time.monotonic()
        if not progress.ended and now - self.last < PROGRESS_SECONDS:
            return
        self.last = now
        entry = {"event": CAPTURE_PROGRESS, **dataclasses.asdict(progress)}
        sys.stdout.write(json.dumps(entry) + "\n")
        sys.stdout.flush()


def run(stage: Stage, settings: Settings, bus: opening.BusSettings) -> None:
    """Run a stage until it ends or a signal comes. Raises UserError, Unavailable, Fenced.

    A log that is away when the stage starts is waited for.
    """
    stop = threading.Event()
    signals.stopping(stop)
    above = os.environ.get(PARENT_VARIABLE, "")
    more: dict[str, object] = {}
    if above.isdecimal():
        parent.tie(int(above), stop=stop.set)
        if stage is COLLECTOR:
            more["progress"] = Told()
    log = awaited(bus, stop)
    if log is None:
        return
    try:
        app = stage.build(settings, log, **more)
        app.stop = stop
        app.serve()
    finally:
        log.close()


def awaited(bus: opening.BusSettings, stop: threading.Event) -> port.Log | None:
    """Open the log, trying for as long as it is away; None where the stop came first.

    Raises UserError as `opened` does.
    """
    pause = FIRST_PAUSE_SECONDS
    while not stop.is_set():
        try:
            return opened(bus)
        except port.Unavailable as away:
            logs.warning("the log is away", reason=str(away), retry_in=pause)
            stop.wait(pause)
            pause = min(pause * 2, LAST_PAUSE_SECONDS)
    return None


def opened(bus: opening.BusSettings, *, ensure: bool = True) -> port.Log:
    """Open the log, with all topics there. Raises UserError for what a person has to change.

    Without `ensure` nothing is made, not even an embedded log's file: that is for who only looks.
    """
    if not ensure and not bus.is_kafka and not opening.file(bus.bus).exists():
        raise UserError(f"there is no log at {bus.bus}; has picket up run? (--bus names another)")
    try:
        log = opening.open_log(bus)
        if ensure:
            try:
                log.ensure(topics.ALL)
            except BaseException:
                log.close()
                raise
    except port.Misconfigured as error:
        raise UserError(f"log {bus.bus}: {error}") from error
    return log
