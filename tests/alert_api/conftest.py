"""Both databases, an embedded log, and a stage over them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from alert_api import tables
from alert_api.database import Database
from tests.alert_api import builders
from tests.alert_api.browser import Browser, a_client
from tests.parts.postgres import Postgres, postgres

__all__ = ["postgres"]

BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def migrated(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of one migrated PostgreSQL database for the whole session."""
    address = postgres.create()
    folder = tmp_path_factory.mktemp("migrated")
    made = Database(builders.settings(folder, address).database_url())
    made.upgrade()
    made.close()
    return address


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One migrated SQLite database, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    made = Database(builders.settings(folder, f"sqlite:///{folder}/alerts.db").database_url())
    made.upgrade()
    made.close()
    return folder / "alerts.db"


@pytest.fixture(params=BOTH)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database of each kind without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/alerts.db"
        return
    server = request.getfixturevalue("postgres")
    made = server.create()
    yield made
    server.drop(made)


@pytest.fixture(params=BOTH)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated database of each kind without any row."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("migrated_file"), tmp_path / "alerts.db")
        return f"sqlite:///{tmp_path}/alerts.db"
    found = str(request.getfixturevalue("migrated"))
    made = Database(builders.settings(tmp_path, found).database_url())
    names = ", ".join(table.name for table in tables.Base.metadata.sorted_tables)
    with made.writing() as connection:
        connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY"))
    made.close()
    return found


@pytest.fixture
def database(address: str, tmp_path: Path) -> Iterator[Database]:
    """A migrated database of each kind."""
    made = Database(builders.settings(tmp_path, address).database_url())
    yield made
    made.close()


@pytest.fixture
def stage(database: Database, tmp_path: Path) -> Iterator[builders.Stage]:
    """The parts of the stage, over each database and an embedded log."""
    log = builders.a_log(tmp_path / "log.db")
    made = builders.Stage(database=database, log=log, time=builders.Time())
    yield made
    made.die()
    log.close()


@pytest.fixture
def client(stage: builders.Stage, tmp_path: Path) -> Browser:
    """A client that shows the token."""
    return a_client(stage, tmp_path, headers={"Authorization": f"Bearer {builders.TOKEN}"})


@pytest.fixture
def stranger(stage: builders.Stage, tmp_path: Path) -> Browser:
    """A client that shows nothing."""
    return a_client(stage, tmp_path)
