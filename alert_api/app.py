"""Putting the alert API together: the one place where its parts are made."""

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from alert_api import database as databases
from alert_api import ingest, metrics
from alert_api.database import Database, Unreachable
from alert_api.gitlab.deliverer import Deliverer
from alert_api.gitlab.endpoint import Endpoint
from alert_api.ingest import Ingest
from alert_api.leasing import Lease
from alert_api.letters import DeadLetters
from alert_api.publishing import Publisher
from alert_api.settings import Settings
from alert_api.upkeep import Upkeep
from alert_api.web import application, security
from alert_api.web.server import Server
from alert_api.web.service import Service
from alert_api.workers import Worker
from bus import port
from runtime import clock as clocks
from runtime.errors import UserError
from runtime.health import HealthServer
from runtime.lifecycle import App, Part
from runtime.settings import read_secret

logs = structlog.get_logger()

NAME = "alert-api"
MIN_TOKEN = 16
LOOK_SECONDS = 0.25
"""Between two looks at the outbox, and at the deliveries."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class Built:
    """What a caller may want of a built stage, besides running it."""

    app: App
    server: Server
    database: Database
    health: HealthServer | None


def build(
    settings: Settings,
    *,
    log: port.Log,
    clock: clocks.Clock = clocks.SYSTEM,
    instruments: metrics.Metrics | None = None,
) -> App:
    """Return the stage. `log` is the caller's to close.

    Raises UserError where a secret cannot be read, or the token is too short to guard anything.
    """
    return assemble(settings, log=log, clock=clock, instruments=instruments).app


def assemble(
    settings: Settings,
    *,
    log: port.Log,
    clock: clocks.Clock = clocks.SYSTEM,
    instruments: metrics.Metrics | None = None,
) -> Built:
    """Return the stage with its parts in reach; see `build`."""
    token = read_secret(settings.token_file, what="the API's token")
    if len(token) < MIN_TOKEN:
        raise UserError(f"the token in {settings.token_file} has less than {MIN_TOKEN} characters")
    database = databases.of(settings)
    figures = instruments or metrics.Metrics()
    died = threading.Event()
    incarnation = secrets.token_hex(4)

    def lease(name: str) -> Lease:
        return Lease(
            database=database,
            clock=clock,
            name=name,
            slot=settings.slot,
            incarnation=incarnation,
        )

    reading = Ingest(
        database=database,
        log=log,
        clock=clock,
        metrics=figures,
        letters=DeadLetters(
            log=log, transactional_id=f"picket-alert-api-{settings.slot}", stage=ingest.STAGE
        ),
        batch_records=settings.batch_records,
        recount=settings.recount,
    )
    publisher = Publisher(database=database, log=log, clock=clock, metrics=figures)
    upkeep = Upkeep(
        database=database,
        log=log,
        clock=clock,
        metrics=figures,
        resolve_after=settings.resolve_after,
        keep_days=settings.keep_days,
    )
    outbox_lease = lease("outbox")
    deliverer = Deliverer(
        database=database,
        clock=clock,
        metrics=figures,
        lease=lease("gitlab"),
        endpoints=tuple(Endpoint(project) for project in settings.gitlab),
        public_url=settings.public_url,
    )

    def tend(stop: threading.Event) -> None:
        try:
            _loop(stop, "outbox", lambda: _tend(outbox_lease, publisher, upkeep))
        finally:
            publisher.close()

    def deliver(stop: threading.Event) -> None:
        _loop(stop, "deliveries", deliverer.step)

    workers = tuple(
        Worker(name=name, work=work, died=died)
        for name, work in (("ingest", reading.run), ("outbox", tend), ("deliveries", deliver))
    )
    server = Server(
        app=application.create(
            Service(database=database, clock=clock, gitlab=settings.gitlab),
            settings,
            access=security.Access(token=token, clock=clock),
        ),
        settings=settings,
    )
    health = _health(settings, workers, reading, database, figures)

    def run(stop: threading.Event) -> None:
        logs.info("serving", address=server.url)
        _supervise(stop, died, workers, server)

    parts: list[Part] = [_Migrated(database), server, *workers]
    if health is not None:
        parts.insert(0, health)
    app = App(name=NAME, run=run, parts=tuple(parts), closing=(database.close, deliverer.close))
    return Built(app, server, database, health)


@dataclass(frozen=True, slots=True)
class _Migrated:
    """The database at this code's version, before anything uses it."""

    database: Database

    def start(self) -> None:
        """Bring it there. Raises UserError."""
        self.database.upgrade()

    def close(self) -> None:
        """There is nothing to undo."""


def _supervise(
    stop: threading.Event, died: threading.Event, workers: Sequence[Worker], server: Server
) -> None:
    """Wait for the stop; raise what ended a thread before."""
    while not stop.is_set():
        # Woken at once by a dying worker; the stop event is looked at in between.
        if died.wait(0.1):
            for worker in workers:
                worker.check()
        server.check()


def _tend(lease: Lease, publisher: Publisher, upkeep: Upkeep) -> int:
    """Publish and keep up, if this process is the one to do it; return how much was done."""
    if not lease.hold():
        publisher.close()
        return 0
    upkeep.step()
    return publisher.step()


def _loop(stop: threading.Event, name: str, step: Callable[[], int]) -> None:
    """Call `step` until told to stop: again at once while it finds work, slower while it fails."""
    pause = FIRST_PAUSE
    while not stop.is_set():
        try:
            done = step()
        except port.Misconfigured as error:
            raise UserError(str(error)) from error
        except (port.Unavailable, port.Fenced, Unreachable) as error:
            logs.warning("interrupted", job=name, reason=str(error), pause=pause)
            stop.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            pause = FIRST_PAUSE
            if not done:
                stop.wait(LOOK_SECONDS)


def _health(
    settings: Settings,
    workers: tuple[Worker, ...],
    reading: Ingest,
    database: Database,
    figures: metrics.Metrics,
) -> HealthServer | None:
    if not settings.health_port:
        return None
    return HealthServer(
        host=settings.health_host,
        port=settings.health_port,
        live={worker.name: worker.problem for worker in workers},
        ready={
            **{worker.name: worker.problem for worker in workers},
            "log": lambda: reading.problem,
            "database": database.problem,
        },
        registry=figures.registry,
    )
