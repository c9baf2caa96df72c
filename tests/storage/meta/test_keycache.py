"""Keys from memory: quick, and never longer than they hold."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from schemas.projects import Dialect
from storage.errors import Unavailable
from storage.meta.engine import Metadata, open_metadata
from storage.meta.keycache import FRESH_SECONDS, KeyCache
from storage.meta.keys import KeySpec, create_key, list_keys, regenerate_key, revoke_key
from storage.meta.models import keys
from tests.storage.meta.conftest import NOW


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(metadata: Metadata, clock: Clock) -> KeyCache:
    return KeyCache(metadata, clock)


@pytest.fixture
def queries(metadata: Metadata) -> Iterator[list[str]]:
    """The statements run so far."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    event.listen(metadata._reader, "before_cursor_execute", note)
    yield seen
    event.remove(metadata._reader, "before_cursor_execute", note)


def test_known_key_is_queried_once(metadata: Metadata, account_id: int, cache: KeyCache, queries: list[str]) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    queries.clear()

    assert {cache.resolve(made.secret), cache.resolve(made.secret.encode())} == {made.record.key}
    assert len(queries) == 1
    assert cache.peek(made.secret) == made.record.key
    assert len(queries) == 1


def test_peek_never_queries(metadata: Metadata, account_id: int, cache: KeyCache, queries: list[str]) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    queries.clear()

    assert cache.peek(made.secret) is None
    assert queries == []


def test_unknown_key_is_looked_up_each_time(cache: KeyCache, queries: list[str]) -> None:
    assert [cache.resolve("sg_unknown") for _ in range(3)] == [None, None, None]
    assert len(queries) == 3
    assert len(cache) == 0


def test_change_by_another_process_holds_at_the_next_call(
    metadata: Metadata, metadata_url: str, key_revision: Path, account_id: int, cache: KeyCache
) -> None:
    old = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    assert cache.resolve(old.secret) == old.record.key
    with open_metadata(metadata_url, key_revision) as other:
        new = regenerate_key(other, account_id, old.secret, NOW)
        assert cache.peek(old.secret) is None
        assert cache.resolve(old.secret) is None
        assert cache.resolve(new.secret) == new.record.key

        revoke_key(other, account_id, new.secret, NOW)
    assert cache.resolve(new.secret) is None


def test_change_by_another_host_holds_after_half_a_minute(
    metadata: Metadata, account_id: int, cache: KeyCache, clock: Clock
) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    assert cache.resolve(made.secret) == made.record.key
    with metadata.write() as connection:
        connection.execute(keys.update().values(revoked_at=NOW))  # its counter is not ours

    clock.now += FRESH_SECONDS - 0.001
    assert cache.resolve(made.secret) == made.record.key
    clock.now += 0.001
    assert cache.resolve(made.secret) is None


def test_key_expires_in_memory_too(metadata: Metadata, account_id: int, cache: KeyCache, clock: Clock) -> None:
    expires = NOW + timedelta(seconds=10)
    made = create_key(metadata, KeySpec(account_id, Dialect.ZTA, expires_at=expires), NOW)
    assert cache.resolve(made.secret) == made.record.key

    clock.now = expires.timestamp()
    assert cache.resolve(made.secret) is None


def test_change_between_reading_the_revision_and_the_row_is_not_missed(
    metadata: Metadata, account_id: int, cache: KeyCache
) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)

    def revoke(*_: object) -> None:
        # After the row is read as live, and before it is kept.
        metadata.key_revision.bump()

    event.listen(metadata._reader, "after_cursor_execute", revoke, once=True)
    assert cache.resolve(made.secret) == made.record.key
    assert cache.peek(made.secret) is None


def test_size_is_bounded(metadata: Metadata, account_id: int, clock: Clock) -> None:
    made = [create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW) for _ in range(4)]
    cache = KeyCache(metadata, clock, capacity=3)

    assert [cache.resolve(key.secret) for key in made] == [key.record.key for key in made]
    assert len(cache) == 3
    assert [cache.peek(key.secret) is not None for key in made] == [False, True, True, True]


def test_uses_are_stored_when_asked(metadata: Metadata, account_id: int, cache: KeyCache, clock: Clock) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    cache.resolve(made.secret)
    clock.now += 5
    cache.peek(made.secret)
    assert list_keys(metadata, None)[0].last_used_at is None

    cache.store_uses()
    assert list_keys(metadata, None)[0].last_used_at == datetime.fromtimestamp(clock.now, UTC)

    clock.now += 90
    cache.store_uses()  # not used since
    assert list_keys(metadata, None)[0].last_used_at == datetime.fromtimestamp(clock.now - 90, UTC)


def test_database_away_is_an_error_and_known_keys_go_on(
    metadata: Metadata, account_id: int, cache: KeyCache, clock: Clock
) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    assert cache.resolve(made.secret) == made.record.key
    with open_metadata("postgresql://nobody@127.0.0.1:1/none", Path(metadata.key_revision._path)) as away:
        cache._metadata = away

        assert cache.resolve(made.secret) == made.record.key
        with pytest.raises(Unavailable):
            cache.resolve("sg_unknown")
