"""The SQLite file behind the embedded log: its tables, its connections and its errors.

Nothing here knows what a consumer or a producer is. A record's row id is its topic's number in the
upper bits and its offset in the lower 40, so that a topic is a range of the primary key and large
values need no second index. Offsets come from `topics.next_offset`, which only grows: they are
never reused, also when everything was deleted.

The file must lie on a local disk: SQLite's write-ahead log needs shared memory.
"""

import contextlib
import errno
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bus import port

APPLICATION_ID = 0x5069636B
"""What marks a SQLite file as one of these ("Pick")."""
FORMAT = 1
BUSY_SECONDS = 5.0
OFFSET_BITS = 40
PAGE_BYTES = 16 * 1024
CHECKPOINT_PAGES = 1024
"""The write-ahead log is folded back at 16 MiB, and kept no larger than four times that."""
NO_ROOM_BYTES = 1024 * 1024
SHORT_NAP = 0.001
LONG_NAP = 0.015

SCHEMA = f"""
CREATE TABLE identity (uuid TEXT NOT NULL);
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    cleanup TEXT NOT NULL,
    retention_ms INTEGER,
    max_record_bytes INTEGER NOT NULL,
    first_offset INTEGER NOT NULL DEFAULT 0,
    next_offset INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    timestamp INTEGER NOT NULL,
    key BLOB,
    headers TEXT,
    value BLOB
);
CREATE TABLE newest (
    topic INTEGER NOT NULL, key BLOB NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (topic, key)
) WITHOUT ROWID;
CREATE TABLE superseded (
    topic INTEGER NOT NULL, since INTEGER NOT NULL, id INTEGER NOT NULL,
    PRIMARY KEY (topic, since, id)
) WITHOUT ROWID;
CREATE TABLE offsets (
    member_of TEXT NOT NULL, topic INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (member_of, topic)
) WITHOUT ROWID;
CREATE TABLE leases (
    member_of TEXT NOT NULL, topic INTEGER NOT NULL,
    holder TEXT NOT NULL, epoch INTEGER NOT NULL, expires REAL NOT NULL,
    PRIMARY KEY (member_of, topic)
) WITHOUT ROWID;
CREATE TABLE producers (id TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRow:
    """A topic as it stands in the file; `first` and `next` are offsets."""

    id: int
    name: str
    compacted: bool
    retention_ms: int | None
    max_record_bytes: int
    first: int
    next: int

    def row_id(self, offset: int) -> int:
        """Return where a record of this topic stands in the table of records."""
        return self.id << OFFSET_BITS | offset

    @property
    def partition(self) -> port.Partition:
        """Return the only partition there is."""
        return port.Partition(self.name, 0)


def offset_of(row_id: int) -> int:
    """Return the offset within its topic of the record in this row."""
    return row_id & ((1 << OFFSET_BITS) - 1)


@dataclass(slots=True)
class Connection:
    """One connection; `sql` is for statements inside `translated`."""

    sql: sqlite3.Connection
    path: Path
    _seen: int = -1

    def topic(self, name: str) -> TopicRow:
        """Return a topic as it stands now. Raises Misconfigured where there is none."""
        row = self.sql.execute(
            "SELECT id, name, cleanup, retention_ms, max_record_bytes, first_offset, next_offset"
            " FROM topics WHERE name = ?",
            (name,),
        ).fetchone()
        if row is None:
            raise port.Misconfigured(f"there is no topic {name} in {self.path}")
        return TopicRow(
            id=row[0],
            name=row[1],
            compacted=row[2] == "compact",
            retention_ms=row[3],
            max_record_bytes=row[4],
            first=row[5],
            next=row[6],
        )

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn SQLite's errors into the port's."""
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold one snapshot of the file for the statements within."""
        with self.translated(), _between(self.sql, "BEGIN"):
            yield self.sql

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Be the only writer; all of what is within is on the disk at its end, or nothing."""
        with self.translated(), _between(self.sql, "BEGIN IMMEDIATE"):
            yield self.sql

    def wait(self, seconds: float) -> None:
        """Return once another connection has written, or after `seconds`.

        SQLite counts the commits of others in shared memory: asking costs microseconds, so a nap
        of at most 15 ms between two looks costs no more than a fraction of a percent.
        """
        deadline = time.monotonic() + seconds
        nap = SHORT_NAP
        while True:
            with self.translated():
                version = self.sql.execute("PRAGMA data_version").fetchone()[0]
            if version != self._seen:
                self._seen = version
                return
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(nap, left))
            nap = min(nap * 2, LONG_NAP)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self.sql.close()


def connect(path: Path, *, max_pages: int | None = None) -> Connection:
    """Open the file, making it (mode 0600) with its folder where there is none.

    `max_pages` caps the file's size. Raises Misconfigured where it is something else, damaged,
    unreadable or of a newer format; Unavailable where others hold it for too long.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(path)
    except OSError as error:
        raise port.Misconfigured(f"cannot open the log {path}: {error.strerror}") from error
    sql: sqlite3.Connection | None = None
    try:
        # Closing comes from another thread than polling; SQLite itself serializes.
        sql = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        _prepare(sql, path)
        if max_pages is not None:
            sql.execute(f"PRAGMA max_page_count = {max_pages:d}")
    except BaseException as error:
        if sql is not None:
            sql.close()
        if isinstance(error, sqlite3.Error):
            raise translate(error, path) from error
        raise
    return Connection(sql, path)


def translate(error: sqlite3.Error, path: Path) -> port.LogError:
    """Return the port's error for one of SQLite's."""
    # Python has no code on errors of its own making, such as the use of a closed connection.
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_IOERR and _no_room(path):
        primary = sqlite3.SQLITE_FULL
    kind, problem = _ERRORS.get(primary, (port.LogError, "the log failed"))
    return kind(f"{path}: {problem} ({error})")


_ERRORS: Mapping[int | None, tuple[type[port.LogError], str]] = {
    sqlite3.SQLITE_FULL: (port.LogFull, "no room for the log"),
    sqlite3.SQLITE_BUSY: (port.Unavailable, "another process holds the log"),
    sqlite3.SQLITE_LOCKED: (port.Unavailable, "another process holds the log"),
    sqlite3.SQLITE_IOERR: (port.Unavailable, "the log's disk failed"),
    sqlite3.SQLITE_NOTADB: (port.Misconfigured, "is no log of Picket"),
    sqlite3.SQLITE_CORRUPT: (
        port.Misconfigured,
        "the log is damaged; move it away to start anew",
    ),
    sqlite3.SQLITE_CANTOPEN: (port.Misconfigured, "the log cannot be opened"),
    sqlite3.SQLITE_PERM: (port.Misconfigured, "the log may not be written"),
    sqlite3.SQLITE_READONLY: (port.Misconfigured, "the log may not be written"),
}


def _make(path: Path) -> None:
    # Never by opening the file itself: closing a descriptor of a file drops all locks that this
    # process has on it, SQLite's among them, and others then take the log for abandoned.
    if path.exists():
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()


def _prepare(sql: sqlite3.Connection, path: Path) -> None:
    sql.execute(f"PRAGMA page_size = {PAGE_BYTES:d}")
    if _format(sql) == (0, 0):
        with _between(sql, "BEGIN IMMEDIATE"):
            if _format(sql) == (0, 0):
                _create(sql, path)
    application, version = _format(sql)
    if application != APPLICATION_ID:
        raise port.Misconfigured(f"{path} is a SQLite database, but no log of Picket")
    if version != FORMAT:
        raise port.Misconfigured(
            f"the log {path} has format {version}, this Picket reads {FORMAT}: use the Picket that"
            " made it, or move it away to start anew"
        )
    _write_ahead(sql)
    sql.execute("PRAGMA synchronous = FULL")
    sql.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES:d}")
    sql.execute(f"PRAGMA journal_size_limit = {4 * CHECKPOINT_PAGES * PAGE_BYTES:d}")


def _format(sql: sqlite3.Connection) -> tuple[int, int]:
    application = sql.execute("PRAGMA application_id").fetchone()[0]
    return application, sql.execute("PRAGMA user_version").fetchone()[0]


def _create(sql: sqlite3.Connection, path: Path) -> None:
    if sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise port.Misconfigured(f"{path} is a SQLite database, but no log of Picket")
    for statement in SCHEMA.split(";"):
        sql.execute(statement)
    sql.execute("INSERT INTO identity VALUES (?)", (str(uuid.uuid4()),))


def _write_ahead(sql: sqlite3.Connection) -> None:
    # Changing the mode takes the whole file for a moment and does not heed the busy timeout.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = sql.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(LONG_NAP)
        else:
            if mode != "wal":
                raise port.Misconfigured(f"the log's disk has no shared memory (mode {mode})")
            return


@contextlib.contextmanager
def _between(sql: sqlite3.Connection, begin: str) -> Iterator[None]:
    sql.execute(begin)
    try:
        yield
        sql.execute("COMMIT")
    finally:
        if sql.in_transaction:
            sql.execute("ROLLBACK")


def _no_room(path: Path) -> bool:
    try:
        disk = os.statvfs(path)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < NO_ROOM_BYTES
