"""Opening, migrating and sharing the metadata database."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError

from storage.errors import Unavailable
from storage.meta.accounts import find_account
from storage.meta.engine import Metadata, open_metadata
from storage.meta.models import accounts, tables
from storage.meta.projects import known_project_ids
from tests.storage.meta.conftest import NOW


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Metadata]:
    with open_metadata(f"sqlite:///{tmp_path / 'meta.db'}?timeout=0.05", tmp_path / "keys.rev") as metadata:
        metadata.migrate()
        yield metadata


def test_migrate_makes_what_the_models_say(metadata: Metadata) -> None:
    with metadata.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables) == []


def test_migrate_again_keeps_everything(metadata: Metadata, account_id: int) -> None:
    metadata.migrate()

    with metadata.read() as connection:
        assert connection.execute(accounts.select()).one().id == account_id


def test_accounts_of_before_get_ids_of_their_own(metadata_url: str, key_revision: Path) -> None:
    with open_metadata(metadata_url, key_revision) as metadata:
        configuration = Config()
        configuration.set_main_option("script_location", "storage.meta:migrations")
        with metadata.write() as connection:
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "0001")
            for name in ("ada", "eve"):
                row = {"email": f"{name}@example.org", "hash": "", "now": NOW.isoformat()}
                insert = "INSERT INTO accounts (email, password_hash, created_at) VALUES (:email, :hash, :now)"
                connection.execute(text(insert), row)
        metadata.migrate()
        found = [find_account(metadata, f"{name}@example.org") for name in ("ada", "eve")]
    ids = {one.user_id for one in found if one is not None}
    assert len(ids) == 2
    assert all(re.fullmatch(r"user_[0-9A-Za-z]{12}", one) for one in ids)
    assert {one.plan for one in found if one is not None} == {"free"}


def test_write_that_fails_leaves_nothing(metadata: Metadata) -> None:
    row = {"email": "a@example.org", "password_hash": "", "created_at": NOW}
    with pytest.raises(IntegrityError), metadata.write() as connection:
        assert [connection.execute(accounts.insert().values(row)) for _ in range(2)] == []

    with metadata.read() as connection:
        assert connection.execute(accounts.select()).all() == []


def test_failed_migration_leaves_nothing(metadata_url: str, key_revision: Path) -> None:
    with open_metadata(metadata_url, key_revision) as metadata:
        with metadata.write() as connection:
            connection.execute(text("CREATE TABLE keys (id INTEGER)"))  # in the way of the third table
        with pytest.raises(Exception, match="already exists"):
            metadata.migrate()
        with metadata.write() as connection:
            connection.execute(text("DROP TABLE keys"))

        metadata.migrate()

        assert known_project_ids(metadata) == frozenset()


def test_instants_come_back_aware_in_utc(metadata: Metadata, account_id: int) -> None:
    with metadata.read() as connection:
        stored = connection.execute(accounts.select()).one().created_at

    assert stored == NOW
    assert stored.utcoffset().total_seconds() == 0


def test_naive_instant_is_refused(metadata: Metadata) -> None:
    row = {"email": "a@example.org", "password_hash": "", "created_at": NOW.replace(tzinfo=None)}
    with pytest.raises(Exception, match="needs its time zone"), metadata.write() as connection:
        connection.execute(accounts.insert().values(row))


def test_sqlite_is_shared_and_private(sqlite: Metadata, tmp_path: Path) -> None:
    with sqlite.read() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["meta.db", "meta.db-shm", "meta.db-wal", "keys.rev"], 0o600)


def test_sqlite_turns_to_wal_in_one_process_at_a_time(tmp_path: Path) -> None:
    with open_metadata(f"sqlite:///{tmp_path / 'meta.db'}", tmp_path / "keys.rev") as metadata:
        migration = Thread(target=metadata.migrate)
        with metadata.key_revision.locked():
            migration.start()
            migration.join(0.1)
            assert migration.is_alive()
        migration.join()

        assert known_project_ids(metadata) == frozenset()


def test_sqlite_opened_again_keeps_the_locks_of_the_first(sqlite: Metadata, tmp_path: Path) -> None:
    path = tmp_path / "meta.db"
    visit = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('SELECT * FROM keys').fetchall(); c.close()"
    with sqlite.read() as connection:
        connection.execute(accounts.select())
        open_metadata(f"sqlite:///{path}", tmp_path / "keys.rev").close()
        subprocess.run([sys.executable, "-c", visit], check=True)

        # A visitor who finds no locks takes itself for the last one, and removes the log that we are reading.
        assert (tmp_path / "meta.db-wal").exists()


def test_sqlite_held_by_another_writer_is_unavailable_for_writes_only(sqlite: Metadata, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "meta.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(Unavailable, match="database is locked"), sqlite.write():
            pass
        assert known_project_ids(sqlite) == frozenset()


def test_sqlite_file_that_is_none_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "meta.db").write_bytes(b"no database at all" * 100)
    with (
        open_metadata(f"sqlite:///{tmp_path / 'meta.db'}", tmp_path / "keys.rev") as metadata,
        pytest.raises(Unavailable, match=r"not a database.*check DATABASE_URL"),
    ):
        metadata.migrate()


def test_postgresql_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    url = f"postgresql://user:s3cret@/none?host={tmp_path}"
    with open_metadata(url, tmp_path / "keys.rev") as metadata:
        with pytest.raises(Unavailable, match="does not answer") as caught:
            metadata.migrate()
        assert "s3cret" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_postgresql_connection_cut_while_idle_is_replaced(postgres_url: str, key_revision: Path) -> None:
    with open_metadata(postgres_url, key_revision) as metadata:
        metadata.migrate()
        with metadata.read() as connection:
            backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with psycopg.connect(postgres_url, autocommit=True) as other:
            assert other.execute("SELECT pg_terminate_backend(%s, 5000)", [backend]).fetchone() == (True,)

        assert known_project_ids(metadata) == frozenset()


@pytest.mark.parametrize("name", ["postgres", "postgresql", "postgresql+psycopg"])
def test_each_name_of_postgresql_means_psycopg(name: str, postgres_url: str, key_revision: Path) -> None:
    url = make_url(postgres_url).set(drivername=name).render_as_string(hide_password=False)
    with open_metadata(url, key_revision) as metadata:
        metadata.migrate()
        with metadata.read() as connection:
            assert (connection.dialect.name, connection.dialect.driver) == ("postgresql", "psycopg")


@pytest.mark.parametrize(
    "url",
    ["mysql://u:s3cret@host/db", "sqlite://", "sqlite:///:memory:", "u:s3cret", "postgresql://u:s3cret@h:port/db", ""],
)
def test_other_urls_are_refused_without_showing_the_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL") as caught:
        open_metadata(url, tmp_path / "keys.rev")
    assert "s3cret" not in str(caught.value)
