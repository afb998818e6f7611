"""The connection to SQLite or PostgreSQL, and bringing its tables up to this code's version.

Reads go through `reading`, writes through `writing`: in SQLite a transaction that will write takes
the write lock at once, since one that asks for it later may be refused.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL

from alert_api.settings import Settings
from runtime.errors import UserError
from runtime.settings import read_secret

log = structlog.get_logger()

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_KEY = 0x7069636B6574
"""Of the advisory lock in PostgreSQL under which migrations run: "picket" in ASCII."""
REACH_SECONDS = 30.0
BUSY_SECONDS = 15

_LASTING = (
    "unable to open database file",
    "does not exist",
    "authentication failed",
    "no pg_hba.conf entry",
    "permission denied",
)
"""In the words of the servers, since a refused connection has no error code; not healed by time."""


class Unreachable(Exception):
    """The database is away, or too busy; the same work may succeed later, from its start."""


@dataclass(slots=True)
class Database:
    """An engine with the two ways to use it. Thread-safe."""

    url: URL
    engine: sa.Engine = field(init=False)

    def __post_init__(self) -> None:
        """Create the engine; nothing is connected yet."""
        self.engine = _postgres(self.url) if self.is_postgres else _sqlite(self.url)

    @property
    def is_postgres(self) -> bool:
        """Return whether this is PostgreSQL, which knows arrays and row locks."""
        return self.url.get_backend_name() == "postgresql"

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write; an exception rolls it back. Raises Unreachable."""
        with _translated(), self.engine.connect() as plain:
            connection = plain.execution_options(picket_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads, all as of one moment. Raises Unreachable."""
        with _translated(), self.engine.connect() as plain:
            # SQLite's are so anyway; PostgreSQL's statements each see what was committed meanwhile.
            one_moment = {"isolation_level": "REPEATABLE READ"} if self.is_postgres else {}
            connection = plain.execution_options(**one_moment)
            with connection.begin():
                yield connection

    def problem(self) -> str | None:
        """Return what keeps the database from answering, or None."""
        try:
            with self.reading() as connection:
                connection.execute(sa.text("SELECT 1"))
        except Unreachable as error:
            return str(error)
        return None

    def close(self) -> None:
        """Let go of all connections. Idempotent."""
        self.engine.dispose()

    def upgrade(self) -> None:
        """Create or upgrade the tables, one process at a time.

        Waits up to 30 s for the database to come up. Raises UserError where it does not, where it
        refuses, and where a newer Picket wrote it.
        """
        deadline = time.monotonic() + REACH_SECONDS
        while True:
            try:
                with self.writing() as connection:
                    self._upgrade(connection)
            except Unreachable as error:
                if _lasts(error) or time.monotonic() > deadline:
                    raise UserError(f"the database {self.url} cannot be used: {error}") from error
                log.warning("waiting for the database", reason=str(error))
                time.sleep(0.5)
            except sa.exc.DatabaseError as error:
                if not any(words in str(error.orig) for words in _NO_DATABASE):
                    raise
                raise UserError(
                    f"the database {self.url} cannot be used: {_first_line(error)}"
                ) from error
            else:
                return

    def _upgrade(self, connection: sa.Connection) -> None:
        if self.is_postgres:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        for revision in MigrationContext.configure(connection).get_current_heads():
            if revision not in known:
                raise UserError(
                    f"the database {self.url} was written by a newer Picket (its version is "
                    f"{revision}): install that one, or use another database"
                )
        command.upgrade(config, "head")


_NO_DATABASE = ("is not a database", "is malformed")
"""What SQLite says of a file that is something else, or damaged."""


def of(settings: Settings) -> Database:
    """Return the database of the settings, with its password. Raises UserError."""
    url = settings.database_url()
    if settings.database_password_file is not None:
        password = read_secret(settings.database_password_file, what="the database's password")
        url = url.set(password=password)
    return Database(url)


def _lasts(error: Unreachable) -> bool:
    return any(words in str(error) for words in _LASTING)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors that time heals into Unreachable; all others are faults."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if error.connection_invalidated or _heals(error):
            raise Unreachable(_first_line(error)) from error
        raise
    except sa.exc.TimeoutError as error:
        raise Unreachable("all connections to the database are in use") from error


def _heals(error: sa.exc.DBAPIError) -> bool:
    text = str(error.orig)
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return "no such " not in text and "syntax error" not in text
    state = getattr(error.orig, "sqlstate", None) or ""
    # Deadlocks and the like, an administrator's shutdown, and no room left.
    return state.startswith(("40", "53", "57P"))


def _first_line(error: sa.exc.DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else repr(error.orig)


def _postgres(url: URL) -> sa.Engine:
    return sa.create_engine(
        url,
        pool_size=8,
        max_overflow=8,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={
            "connect_timeout": 5,
            "application_name": "picket-alert-api",
            # A half-open connection after a failover must not hold a thread for hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )


def _sqlite(url: URL) -> sa.Engine:
    engine = sa.create_engine(
        url, pool_size=8, max_overflow=8, connect_args={"timeout": BUSY_SECONDS}
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: it does not for DDL, and too late for
        # the write lock.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("picket_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
