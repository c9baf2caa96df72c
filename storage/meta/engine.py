"""The metadata database: one engine, short transactions, migrations, and errors that say what to do."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError

from schemas.quotas import NO_QUOTAS, Quotas
from storage.errors import Unavailable
from storage.meta.revision import KeyRevision

# Longest wait for another writer of SQLite's file. Writes last milliseconds; much longer would hide a stuck process.
_BUSY_SECONDS: Final = 15
# Longest wait for PostgreSQL to take a connection; a request waits as long at worst.
_CONNECT_SECONDS: Final = 10
# PostgreSQL's advisory lock of the migration: any number will do, as long as it stays.
_MIGRATION_LOCK: Final = 7_305_807_614_028_109_427


class Metadata:
    """The open database, and the counter that tells other processes of changed keys.

    All calls block; any thread may call.
    """

    def __init__(self, engine: Engine, key_revision: KeyRevision) -> None:
        self._reader = engine
        self._writer = engine.execution_options(is_write=True)
        self.key_revision = key_revision
        # Of those who come over HTTP; whoever runs the command line may do anything.
        self.quotas: Quotas = NO_QUOTAS

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view, for reading only; raises Unavailable."""
        with _translated(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction, committed when the block ends well; raises Unavailable.

        On SQLite it excludes other writers from its start.
        """
        with _translated(), self._writer.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the tables up to date; several processes may do so at once, one does the work. Raises Unavailable."""
        configuration = Config()
        configuration.set_main_option("script_location", "storage.meta:migrations")
        with self.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")

    def close(self) -> None:
        """Give up all connections."""
        self._reader.dispose()
        self.key_revision.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_metadata(url: str, key_revision: Path) -> Metadata:
    """Open the database at `url`, a SQLite file or PostgreSQL; it connects at first use. The directories exist already.

    Raises ValueError for another kind of URL.
    """
    parsed = _parse(url)
    revision = KeyRevision(key_revision)
    try:
        engine = _sqlite(parsed, revision) if parsed.get_backend_name() == "sqlite" else _postgresql(parsed)
    except BaseException:
        revision.close()
        raise
    return Metadata(engine, revision)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is a plain ValueError
        # Not the URL itself: it may hold a password.
        raise ValueError("DATABASE_URL is no database URL; write postgresql://user:password@host/database") from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    raise ValueError(f"DATABASE_URL may name PostgreSQL or a SQLite file, not {parsed.drivername}")


def _postgresql(url: URL) -> Engine:
    return create_engine(
        url, pool_pre_ping=True, hide_parameters=True, connect_args={"connect_timeout": _CONNECT_SECONDS}
    )


def _sqlite(url: URL, key_revision: KeyRevision) -> Engine:
    # Made here, because SQLite would make it readable by all; its -wal and -shm files take over these permissions.
    # Never opened if it exists: closing it would drop the locks that SQLite holds on it elsewhere in this process.
    with suppress(FileExistsError):
        os.close(os.open(str(url.database), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    engine = create_engine(url.set(query={"timeout": str(_BUSY_SECONDS), **url.query}), hide_parameters=True)

    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transactions start late and end early around DDL; ours are explicit (_begin_sqlite).
        connection.isolation_level = None
        # Two connections that turn a fresh file to WAL at once may fail with "locked" whatever the time-out (1 in 240).
        with key_revision.locked():
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer fails at once when somebody wrote in between, whatever the busy time-out:
    # so writers say it at the start.
    options: dict[str, Any] = dict(connection.get_execution_options())
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("is_write") else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError):
        raise  # defects of ours, not of the database's health
    except DBAPIError as error:
        reason = str(error.orig).strip().partition("\n")[0]
        raise Unavailable(
            f"the metadata database does not answer ({reason}); check DATABASE_URL and the data directory"
        ) from error
