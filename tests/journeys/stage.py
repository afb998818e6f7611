"""Run one stage as the command line does, and let it be killed at the worst moment.

    python -m tests.journeys.stage --die-at COMMIT --die-in log -- collector --config FILE …

The process kills itself (SIGKILL) when its COMMIT-th transaction has been produced and not yet
committed: in the log after the records went out, in the database before the COMMIT of events that
were counted. Without `--die-at` it is the stage as it is. The planting is done from outside,
through the port, so that the stages carry no hook for it.
"""

import argparse
import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from bus import opening, port

PR_SET_PDEATHSIG = 1


class Window(StrEnum):
    """What a stage has produced and not yet committed when it dies."""

    LOG = "log"
    DATABASE = "database"


class Countdown:
    """Counts commits that carry something, and ends the process at the chosen one."""

    def __init__(self, commits: int) -> None:
        self._left = commits

    def tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class DoomedLog:
    """A log whose producers die between produce and commit."""

    def __init__(self, log: port.Log, countdown: Countdown) -> None:
        self._log = log
        self._countdown = countdown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def producer(self, transactional_id: str) -> "DoomedProducer":
        return DoomedProducer(self._log.producer(transactional_id), self._countdown)


class DoomedProducer:
    def __init__(self, producer: port.Producer, countdown: Countdown) -> None:
        self._producer = producer
        self._countdown = countdown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[port.Transaction]:
        with self._producer.transaction() as transaction:
            watched = WatchedTransaction(transaction)
            yield watched
            if watched.sent:
                flush = getattr(self._producer, "flush", None)
                if flush is not None:
                    flush()  # out to the broker: only the commit is missing
                self._countdown.tick()


class WatchedTransaction:
    def __init__(self, transaction: port.Transaction) -> None:
        self._transaction = transaction
        self.sent = 0

    def send(self, record: port.Outgoing) -> None:
        self._transaction.send(record)
        self.sent += 1

    def commit_offsets(self, offsets: port.Offsets, membership: port.Membership) -> None:
        self._transaction.commit_offsets(offsets, membership)


def plant_in_log(countdown: Countdown) -> None:
    """Make every log that is opened count the commits of its producers."""
    honest = opening.open_log

    def open_log(*args: Any, **kwargs: Any) -> Any:
        return DoomedLog(honest(*args, **kwargs), countdown)

    opening.open_log = open_log


def plant_in_database(countdown: Countdown) -> None:
    """Make every database count its commits of events.

    Start-up, leases and reading commit too, and are told apart by the counts of the minutes: these
    are written with each event that is counted, and with nothing else.
    """
    # Loading them takes a moment, and only one stage has a database.
    import sqlalchemy

    from alert_api import tables

    counts = f"INSERT INTO {tables.Minute.__tablename__} "
    engine = sqlalchemy.Engine

    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def before_execute(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(counts):
            connection.info[counts] = True

    @sqlalchemy.event.listens_for(engine, "commit")
    def before_commit(connection: Any) -> None:
        if connection.info.pop(counts, False):
            countdown.tick()

    @sqlalchemy.event.listens_for(engine, "rollback")
    def before_rollback(connection: Any) -> None:
        connection.info.pop(counts, None)


PLANTS = {Window.LOG: plant_in_log, Window.DATABASE: plant_in_database}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--die-at", type=int, default=0)
    parser.add_argument("--die-in", type=Window, default=Window.LOG)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    # Whichever way the tests end, no stage outlives them.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # A journey that waits in vain asks each stage where it stands.
    faulthandler.register(signal.SIGUSR1)
    if options.die_at:
        PLANTS[options.die_in](Countdown(options.die_at))
    from cli import main as cli_main

    sys.argv = ["picket", *options.command]
    cli_main.main()


if __name__ == "__main__":
    main(sys.argv[1:])
