"""The metadata under test, once on SQLite and once on PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.meta.engine import Metadata, open_metadata
from storage.meta.models import accounts
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def metadata_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'meta.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def key_revision(tmp_path: Path) -> Path:
    """Where the counter of key changes lies."""
    return tmp_path / "keys.rev"


@pytest.fixture
def metadata(metadata_url: str, key_revision: Path) -> Iterator[Metadata]:
    """A migrated database."""
    with open_metadata(metadata_url, key_revision) as metadata:
        metadata.migrate()
        yield metadata


@pytest.fixture
def account_id(metadata: Metadata) -> int:
    """An account that nobody can log in to; its password is not hashed, as that is slow on purpose."""
    return add_account(metadata, "owner@example.org")


def add_account(metadata: Metadata, email: str) -> int:
    """Insert an account without a usable password."""
    row = {"email": email, "password_hash": "", "created_at": NOW}
    with metadata.write() as connection:
        number: int = connection.execute(accounts.insert().values(row).returning(accounts.c.id)).scalar_one()
    return number
