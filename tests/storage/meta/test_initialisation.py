"""`init` again and again, from several processes, and nothing secret on disk."""

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from sqlalchemy import select

from schemas.projects import Dialect, Scope
from storage.errors import Refused
from storage.meta.engine import Metadata, open_metadata
from storage.meta.initialisation import Initialised, initialise
from storage.meta.keys import find_key, list_keys
from storage.meta.models import tables
from storage.meta.projects import list_projects
from tests.storage.meta.conftest import NOW

PASSWORD = "a passphrase that is nowhere"


def _init(metadata: Metadata, project: str = "Shop") -> Initialised:
    return initialise(metadata, "ada@example.org", PASSWORD, project, "shop.example.org", NOW)


def test_init_prints_what_the_interface_says(metadata: Metadata) -> None:
    made = _init(metadata)

    tenant = made.project
    assert made.to_json() == {
        "account": {"email": "ada@example.org"},
        "project": {
            "id": tenant.id,
            "name": "Shop",
            "domain": "shop.example.org",
            "site_id": tenant.site_id,
            "website_id": tenant.website_id,
            "token": tenant.token,
        },
        "keys": made.secrets,
    }
    assert list(made.secrets) == ["jcht", "jetrack", "zta", "cohorly", "ovyxa", "ingest", "read"]


def test_init_mints_each_key_with_its_rights(metadata: Metadata) -> None:
    made = _init(metadata)

    found = {name: find_key(metadata, secret, NOW) for name, secret in made.secrets.items()}
    rights = {name: (key.dialect, key.scope, key.project_id) for name, key in found.items() if key}
    project = made.project.id
    assert rights == {
        "jcht": (Dialect.JCHT, Scope.ADMIN, project),
        "jetrack": (Dialect.JETRACK, Scope.ADMIN, None),
        "zta": (Dialect.ZTA, Scope.ADMIN, None),
        "cohorly": (Dialect.COHORLY, Scope.ADMIN, None),
        "ovyxa": (Dialect.OVYXA, Scope.ADMIN, None),
        "ingest": (Dialect.JCHT, Scope.INGEST, project),
        "read": (Dialect.JCHT, Scope.READ, project),
    }


def test_init_again_finds_both_and_revokes_nothing(metadata: Metadata) -> None:
    first, second = _init(metadata), _init(metadata)

    assert (second.account, second.project) == (first.account, first.project)
    secrets = [*first.secrets.values(), *second.secrets.values()]
    assert len(set(secrets)) == 14
    assert all(find_key(metadata, secret, NOW) for secret in secrets)


def test_init_with_a_new_project_name_makes_a_new_project(metadata: Metadata) -> None:
    first, second = _init(metadata), _init(metadata, "Blog")

    assert second.account == first.account
    assert list_projects(metadata, first.account.id) == [first.project, second.project]


def test_init_with_a_wrong_password_makes_nothing(metadata: Metadata) -> None:
    _init(metadata)

    with pytest.raises(Refused, match="wrong password"):
        initialise(metadata, "ada@example.org", "other", "Blog", None, NOW)
    assert len(list_projects(metadata, None)) == 1
    assert len(list_keys(metadata, None)) == 7


_barrier: Barrier


def _meet(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _start(url: str, key_revision: Path) -> Initialised:
    _barrier.wait()
    with open_metadata(url, key_revision) as metadata:
        metadata.migrate()
        return _init(metadata)


def test_processes_that_start_at_once_agree(metadata_url: str, key_revision: Path) -> None:
    context = multiprocessing.get_context("spawn")
    count = 3
    with ProcessPoolExecutor(count, context, _meet, (context.Barrier(count),)) as pool:
        made = [future.result() for future in [pool.submit(_start, metadata_url, key_revision) for _ in range(count)]]

    assert len({one.account for one in made}) == len({one.project for one in made}) == 1
    with open_metadata(metadata_url, key_revision) as metadata:
        assert len(list_projects(metadata, None)) == 1
        assert all(find_key(metadata, secret, NOW) for one in made for secret in one.secrets.values())
        assert metadata.key_revision.read() == count


def _every_byte(metadata: Metadata, folder: Path) -> Iterable[bytes]:
    yield from (path.read_bytes() for path in folder.iterdir() if path.is_file())
    with metadata.read() as connection:
        for table in tables.sorted_tables:
            for row in connection.execute(select(table)):
                yield from (value if isinstance(value, bytes) else str(value).encode() for value in row)


def test_no_secret_is_stored(metadata: Metadata, tmp_path: Path) -> None:
    made = _init(metadata)
    stored = b"\n".join(_every_byte(metadata, tmp_path))

    assert made.project.site_id.encode() in stored  # we do look in the right place
    for secret in (PASSWORD, *made.secrets.values()):
        assert secret[:12].encode() in stored or secret == PASSWORD
        assert secret[:16].encode() not in stored
        assert secret[-16:].encode() not in stored


def test_secrets_show_in_no_representation(metadata: Metadata) -> None:
    made = _init(metadata)

    assert not [secret for secret in made.secrets.values() if secret in repr(made)]
