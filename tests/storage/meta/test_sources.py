"""Sources and their write keys."""

import secrets
from datetime import timedelta

import pytest

from schemas.kept import Source
from schemas.projects import Scope
from storage.errors import NotFound
from storage.meta.activities import Actor
from storage.meta.engine import Metadata
from storage.meta.kept import KeptRepository
from storage.meta.keys import find_key, list_keys, regenerate_key
from storage.meta.projects import ensure_project
from storage.meta.sealing import Sealer
from storage.meta.sources import (
    create_source,
    delete_source,
    due_syncs,
    note_rest,
    pulled_source,
    request_sync,
)
from tests.storage.meta.conftest import NOW

SOURCE = Source(provider="mixpanel", name="Main")


def _any(_: str) -> None:
    """Every expression is fine."""


@pytest.fixture
def things(metadata: Metadata) -> KeptRepository:
    return KeptRepository(metadata, Sealer([secrets.token_hex(32).encode()]), _any)


def test_source_comes_with_a_key_that_names_it(things: KeptRepository, metadata: Metadata, account_id: int) -> None:
    shop = ensure_project(metadata, account_id, "Shop", None, NOW)
    before = metadata.key_revision.read()
    made, key = create_source(things, shop.id, SOURCE, b'{"apiSecret":"s"}', Actor(account_id), NOW)
    assert metadata.key_revision.read() > before
    assert things.get(Source, shop.id, made.id) == made
    assert made.body.key_id == key.record.key.id
    assert things.secret(Source, shop.id, made.id) == b'{"apiSecret":"s"}'
    found = find_key(metadata, key.secret, NOW)
    assert found is not None
    assert (found.scope, found.project_id, found.source) == (Scope.INGEST, shop.id, made.id)
    again = regenerate_key(metadata, account_id, key.record.key.id, NOW)
    assert again.record.key.source == made.id


def test_keys_go_with_their_source(things: KeptRepository, metadata: Metadata, account_id: int) -> None:
    shop = ensure_project(metadata, account_id, "Shop", None, NOW)
    made, key = create_source(things, shop.id, SOURCE, b"{}", Actor(account_id), NOW)
    other, stays = create_source(things, shop.id, SOURCE, b"{}", Actor(account_id), NOW)
    fresh = regenerate_key(metadata, account_id, key.record.key.id, NOW)
    before = metadata.key_revision.read()
    delete_source(things, shop.id, made.id, Actor(account_id), NOW)
    assert metadata.key_revision.read() > before
    assert find_key(metadata, fresh.secret, NOW) is None
    assert find_key(metadata, stays.secret, NOW) is not None
    with pytest.raises(NotFound):
        delete_source(things, shop.id, made.id, Actor(account_id), NOW)
    assert [item.id for item in things.all(Source, shop.id)] == [other.id]


def test_source_that_cannot_be_kept_leaves_no_key(things: KeptRepository, metadata: Metadata, account_id: int) -> None:
    shop = ensure_project(metadata, account_id, "Shop", None, NOW)
    with pytest.raises(ValueError, match="name"):
        create_source(things, shop.id, Source(provider="p", name=""), b"{}", Actor(account_id), NOW)
    assert list_keys(metadata, account_id) == []


def test_rest_is_not_noted_over_a_wish(things: KeptRepository, metadata: Metadata, account_id: int) -> None:
    shop = ensure_project(metadata, account_id, "Shop", None, NOW)
    made, _ = create_source(things, shop.id, SOURCE, b"{}", Actor(account_id), NOW)
    assert pulled_source(things, shop.id, made.id) is None  # nobody asked
    held = request_sync(things, shop.id, made.id, None, Actor(account_id), NOW)
    later = NOW + timedelta(hours=1)
    request_sync(things, shop.id, made.id, NOW, Actor(account_id), later)
    assert not note_rest(things, held, NOW + timedelta(days=1), later)
    [due] = due_syncs(metadata, later)
    assert (due.id, due == pulled_source(things, shop.id, made.id)) == (made.id, True)
    assert note_rest(things, due, NOW + timedelta(days=1), later)
    assert due_syncs(metadata, later) == []
    assert len(due_syncs(metadata, NOW + timedelta(days=1))) == 1
