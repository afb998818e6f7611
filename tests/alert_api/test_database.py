"""The database: migrations, versions, and what happens when it is away."""

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from alert_api import database as module
from alert_api import tables
from alert_api.database import Database, Unreachable
from runtime.errors import UserError
from tests.alert_api import builders
from tests.parts import postgres as part


@pytest.fixture
def blank(empty: str, tmp_path: Path) -> Database:
    """A database without tables."""
    return Database(builders.settings(tmp_path, empty).database_url())


def test_the_migrations_make_what_the_models_say(blank: Database) -> None:
    """No table, column or index more or less."""
    blank.upgrade()
    with blank.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.Base.metadata) == []
    blank.close()


def test_upgrading_again_changes_nothing(blank: Database) -> None:
    """Every start does it."""
    blank.upgrade()
    blank.upgrade()
    assert blank.problem() is None
    blank.close()


def test_what_is_read_is_of_one_moment(blank: Database) -> None:
    """An answer made of several questions does not mix what was with what came meanwhile."""
    with blank.writing() as connection:
        connection.execute(sa.text("CREATE TABLE things (name TEXT)"))
    count = sa.text("SELECT count(*) FROM things")
    with blank.reading() as reading:
        assert reading.scalar(count) == 0
        with blank.writing() as writing:
            writing.execute(sa.text("INSERT INTO things VALUES ('new')"))
        assert reading.scalar(count) == 0
    with blank.reading() as reading:
        assert reading.scalar(count) == 1
    blank.close()


def test_several_processes_may_start_at_once(blank: Database) -> None:
    """One migrates, the others wait for it."""
    errors: list[BaseException] = []

    def upgrade() -> None:
        other = Database(blank.url)
        try:
            other.upgrade()
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)
        finally:
            other.close()

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blank.close()
    assert errors == []


def test_a_database_of_a_newer_version_is_refused(blank: Database) -> None:
    """Old code must not write into tables that it does not know."""
    blank.upgrade()
    with blank.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UserError, match=r"newer Picket.*9999"):
        blank.upgrade()
    blank.close()


def test_a_failed_migration_leaves_nothing_behind(
    blank: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and version are one transaction, in both databases."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    real = module.command.upgrade

    def upgrade(*given: object) -> None:
        real(*given)  # type: ignore[arg-type]
        killed()

    with monkeypatch.context() as patched:
        patched.setattr(module.command, "upgrade", upgrade)
        with pytest.raises(KeyboardInterrupt):
            blank.upgrade()
    assert sa.inspect(blank.engine).get_table_names() == []
    blank.upgrade()
    blank.close()


def test_a_database_that_is_not_there_is_the_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while of waiting, in one line without a password."""
    monkeypatch.setattr(module, "REACH_SECONDS", 0.0)
    url = builders.settings(tmp_path, "postgresql://u@127.0.0.1:1/x").database_url()
    made = Database(url.set(password="hidden-word"))
    with pytest.raises(UserError) as caught:
        made.upgrade()
    assert "127.0.0.1:1" in str(caught.value)
    assert "hidden-word" not in str(caught.value)
    made.close()


@pytest.mark.postgres
def test_a_wrong_database_name_is_not_waited_for(postgres: part.Postgres, tmp_path: Path) -> None:
    """Time does not heal it."""
    address = postgres.create().rpartition("/")[0] + "/nowhere"
    made = Database(builders.settings(tmp_path, address).database_url())
    with pytest.raises(UserError, match="nowhere"):
        made.upgrade()
    made.close()


def test_a_folder_that_is_not_there_is_the_users_error(tmp_path: Path) -> None:
    """SQLite makes files, not folders."""
    url = f"sqlite:///{tmp_path}/no/such/alerts.db"
    made = Database(builders.settings(tmp_path, url).database_url())
    with pytest.raises(UserError, match="unable to open"):
        made.upgrade()
    made.close()


@pytest.mark.postgres
def test_a_restarted_server_is_reached_again(tmp_path: Path) -> None:
    """What was under way is Unreachable; the same object works on."""
    with part.running() as server:
        made = Database(builders.settings(tmp_path, server.create()).database_url())
        made.upgrade()

        def work() -> None:
            with made.writing() as connection:
                server.stop(kill=True)
                connection.execute(sa.text("SELECT 1"))

        with pytest.raises(Unreachable):
            work()
        assert made.problem() is not None
        server.start()
        assert made.problem() is None
        made.close()


def test_a_locked_file_is_unreachable_not_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may hold it for too long."""
    monkeypatch.setattr(module, "BUSY_SECONDS", 0)
    url = builders.settings(tmp_path, f"sqlite:///{tmp_path}/alerts.db").database_url()
    one, other = Database(url), Database(url)
    one.upgrade()
    with one.writing():
        with pytest.raises(Unreachable, match="locked"), other.writing():
            pass
        with other.reading() as connection:
            connection.execute(sa.text("SELECT count(*) FROM alerts"))
    one.close()
    other.close()


def test_a_fault_in_a_statement_is_no_outage(blank: Database) -> None:
    """It must end the process, not be tried for ever."""
    with pytest.raises(sa.exc.DBAPIError), blank.reading() as connection:
        connection.execute(sa.text("SELECT * FROM no_such_table"))
    blank.close()
