"""Keys: minted, found, listed, revoked, regenerated, and never stored."""

from datetime import timedelta

import pytest

from schemas.projects import Dialect, Key, Scope
from storage.errors import Conflict, NotFound
from storage.meta.accounts import set_terms
from storage.meta.activities import ActivityFilter, Actor, list_activities
from storage.meta.engine import Metadata
from storage.meta.keys import (
    KeyChange,
    KeySpec,
    create_key,
    create_keys,
    find_key,
    find_record,
    key_record,
    list_keys,
    regenerate_key,
    revoke_key,
    touch_keys,
    update_key,
)
from storage.meta.models import keys
from storage.meta.projects import ensure_project
from tests.storage.meta.conftest import NOW, add_account

LATER = NOW + timedelta(minutes=5)


@pytest.mark.parametrize("dialect", Dialect)
def test_new_key_is_found_as_text_and_as_bytes(metadata: Metadata, account_id: int, dialect: Dialect) -> None:
    project = ensure_project(metadata, account_id, "Shop", None, NOW)
    made = create_key(metadata, KeySpec(account_id, dialect, Scope.READ, project.id, "panel"), NOW)

    expected = Key(made.record.key.id, dialect, Scope.READ, account_id, project.id)
    assert find_key(metadata, made.secret, LATER) == expected
    assert find_key(metadata, made.secret.encode(), LATER) == expected
    assert made.record.key.id.startswith("key_")
    assert made.record.prefix == made.secret[:12]


@pytest.mark.parametrize("secret", ["", "sg_", "sg_" + "0" * 64, "\0" * 12, "é" * 20, "\udcff" * 20, b"\xff" * 20])
def test_unknown_secret_finds_nothing(metadata: Metadata, account_id: int, secret: str | bytes) -> None:
    create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)

    assert find_key(metadata, secret, NOW) is None


def test_known_prefix_is_not_enough(metadata: Metadata, account_id: int) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    last = "0" if made.secret[-1] != "0" else "1"

    assert find_key(metadata, made.secret[:-1] + last, NOW) is None
    assert find_key(metadata, made.secret[:12], NOW) is None
    assert find_key(metadata, made.secret + "0", NOW) is None


def test_keys_of_one_prefix_are_told_apart(metadata: Metadata, account_id: int) -> None:
    made = create_keys(metadata, [KeySpec(account_id, Dialect.ZTA) for _ in range(3)], NOW)
    with metadata.write() as connection:
        connection.execute(keys.update().values(prefix=made[1].secret[:12]))

    assert find_key(metadata, made[1].secret, NOW) == made[1].record.key


def test_key_ends_at_its_expiry(metadata: Metadata, account_id: int) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.ZTA, expires_at=LATER), NOW)

    assert find_key(metadata, made.secret, LATER - timedelta(microseconds=1)) is not None
    assert find_key(metadata, made.secret, LATER) is None


def test_revoked_key_finds_nothing_and_stays_listed(metadata: Metadata, account_id: int) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JETRACK), NOW)

    revoke_key(metadata, account_id, made.record.key.id, LATER)

    assert find_key(metadata, made.secret, LATER) is None
    assert [record.revoked_at for record in list_keys(metadata, account_id)] == [LATER]


def test_key_is_revoked_by_id_prefix_or_secret(metadata: Metadata, account_id: int) -> None:
    made = create_keys(metadata, [KeySpec(account_id, Dialect.JCHT) for _ in range(4)], NOW)
    for key, reference in zip(made, [made[0].record.key.id, made[1].record.prefix, made[2].secret], strict=False):
        assert revoke_key(metadata, None, reference, LATER).key == key.record.key

    assert [find_key(metadata, key.secret, LATER) for key in made] == [None, None, None, made[3].record.key]


def test_prefix_of_several_keys_revokes_none(metadata: Metadata, account_id: int) -> None:
    made = create_keys(metadata, [KeySpec(account_id, Dialect.ZTA) for _ in range(2)], NOW)
    with metadata.write() as connection:
        connection.execute(keys.update().values(prefix="zta_live_abc"))

    with pytest.raises(Conflict, match="name one by its id: key_") as caught:
        revoke_key(metadata, account_id, "zta_live_abc", LATER)
    assert all(key.record.key.id in str(caught.value) for key in made)
    assert [record.revoked_at for record in list_keys(metadata, account_id)] == [None, None]


@pytest.mark.parametrize(
    "reference", ["", "key_000000000000", "sg_", "sg_" + "0" * 64, "a\0b", "é", "%", "____________"]
)
def test_reference_to_no_key_is_not_found(metadata: Metadata, account_id: int, reference: str) -> None:
    create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)

    with pytest.raises(NotFound, match="streamgauge keys list"):
        revoke_key(metadata, account_id, reference, LATER)


def test_key_is_revoked_once(metadata: Metadata, account_id: int) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    revoke_key(metadata, account_id, made.secret, LATER)

    with pytest.raises(NotFound):
        revoke_key(metadata, account_id, made.secret, LATER)


def test_foreign_key_is_not_found(metadata: Metadata, account_id: int) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    stranger = add_account(metadata, "other@example.org")

    for change in (revoke_key, regenerate_key):
        with pytest.raises(NotFound):
            change(metadata, stranger, made.secret, LATER)
    assert list_keys(metadata, stranger) == []
    assert find_key(metadata, made.secret, LATER) is not None


def test_regenerated_key_takes_over_everything_but_the_secret(metadata: Metadata, account_id: int) -> None:
    project = ensure_project(metadata, account_id, "Shop", None, NOW)
    expires = NOW + timedelta(days=30)
    old = create_key(metadata, KeySpec(account_id, Dialect.JCHT, Scope.SQL, project.id, "notebook", expires), NOW)

    new = regenerate_key(metadata, account_id, old.record.key.id, LATER)

    assert find_key(metadata, old.secret, LATER) is None
    assert find_key(metadata, new.secret, LATER) == Key(
        new.record.key.id, Dialect.JCHT, Scope.SQL, account_id, project.id
    )
    assert (new.record.name, new.record.expires_at, new.record.created_at) == ("notebook", expires, LATER)
    assert new.record.key.id != old.record.key.id


def test_regenerating_an_expired_key_is_refused_and_changes_nothing(metadata: Metadata, account_id: int) -> None:
    old = create_key(metadata, KeySpec(account_id, Dialect.ZTA, expires_at=LATER), NOW)

    with pytest.raises(ValueError, match="expired already"):
        regenerate_key(metadata, account_id, old.record.key.id, LATER)
    assert [record.revoked_at for record in list_keys(metadata, account_id)] == [None]


def test_list_is_by_dialect_where_asked(metadata: Metadata, account_id: int) -> None:
    made = create_keys(metadata, [KeySpec(account_id, Dialect.ZTA), KeySpec(account_id, Dialect.OVYXA)], NOW)

    assert list_keys(metadata, None, Dialect.OVYXA) == [made[1].record]
    assert {record.key.id for record in list_keys(metadata, None)} == {key.record.key.id for key in made}


def test_key_of_a_foreign_project_is_refused_with_all_others(metadata: Metadata, account_id: int) -> None:
    stranger = add_account(metadata, "other@example.org")
    foreign = ensure_project(metadata, stranger, "Shop", None, NOW)
    specs = [KeySpec(account_id, Dialect.JCHT), KeySpec(account_id, Dialect.JCHT, project_id=foreign.id)]

    with pytest.raises(NotFound, match=f"no project {foreign.id}"):
        create_keys(metadata, specs, NOW)
    assert list_keys(metadata, None) == []


def test_impossible_key_is_refused(metadata: Metadata, account_id: int) -> None:
    with pytest.raises(ValueError, match="expired already"):
        create_key(metadata, KeySpec(account_id, Dialect.ZTA, expires_at=NOW), NOW)
    for name in ("x" * 256, "a\0b"):
        with pytest.raises(ValueError, match="key's name"):
            create_key(metadata, KeySpec(account_id, Dialect.ZTA, name=name), NOW)


def test_last_use_moves_at_most_once_a_minute(metadata: Metadata, account_id: int) -> None:
    made = create_keys(metadata, [KeySpec(account_id, Dialect.JCHT) for _ in range(2)], NOW)
    used, idle = (key.record.key.id for key in made)

    stored = []
    for seconds in (0, 59, 60, 30):
        touch_keys(metadata, {used: NOW + timedelta(seconds=seconds), "key_unknown": NOW})
        stored.append({record.key.id: record.last_used_at for record in list_keys(metadata, None)})

    first, second = NOW, NOW + timedelta(minutes=1)
    assert [state[used] for state in stored] == [first, first, second, second]
    assert {state[idle] for state in stored} == {None}


def test_no_uses_change_nothing(metadata: Metadata, account_id: int) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)

    touch_keys(metadata, {})

    assert list_keys(metadata, None) == [made.record]


def test_every_change_moves_the_revision_and_reading_does_not(metadata: Metadata, account_id: int) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    revisions = [metadata.key_revision.read()]
    find_record(metadata, made.secret, NOW)
    list_keys(metadata, None)
    touch_keys(metadata, {made.record.key.id: NOW})
    revisions.append(metadata.key_revision.read())
    made = regenerate_key(metadata, None, made.secret, NOW)
    revisions.append(metadata.key_revision.read())
    revoke_key(metadata, None, made.secret, NOW)
    revisions.append(metadata.key_revision.read())

    assert revisions == [1, 1, 2, 3]


def test_secret_shows_in_no_representation(metadata: Metadata, account_id: int) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)

    assert made.secret not in repr(made)
    assert made.secret not in repr(find_record(metadata, made.secret, NOW))


def test_key_carries_its_limit_and_its_accounts_terms(metadata: Metadata, account_id: int) -> None:
    own = create_key(metadata, KeySpec(account_id, Dialect.JCHT, rate_limit="5/60"), NOW)
    plain = create_key(metadata, KeySpec(account_id, Dialect.OVYXA), NOW)
    set_terms(metadata, account_id, "pro", "7/60")

    def terms(secret: str) -> tuple[str | None, str] | None:
        key = find_key(metadata, secret, NOW)
        return None if key is None else (key.rate_limit, key.plan)

    assert (terms(own.secret), terms(plain.secret)) == (("5/60", "pro"), ("7/60", "pro"))
    found = find_record(metadata, plain.secret, NOW)
    assert found is not None
    assert found.rate_limit is None, "what is its own"


def test_key_changes_in_part(metadata: Metadata, account_id: int) -> None:
    stranger = add_account(metadata, "other@example.org")
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT, Scope.ADMIN, name="a", rate_limit="5/60"), NOW)
    key_id = made.record.key.id
    revision = metadata.key_revision.read()

    changed = update_key(metadata, account_id, key_id, KeyChange(scope=Scope.READ, expires_at=LATER), NOW)
    assert (changed.key.scope, changed.name, changed.rate_limit, changed.expires_at) == (Scope.READ, "a", "5/60", LATER)
    changed = update_key(metadata, account_id, key_id, KeyChange(name="b", rate_limit=""), LATER)
    assert (changed.name, changed.rate_limit, changed.expires_at) == ("b", None, LATER)
    assert key_record(metadata, key_id) == changed
    assert metadata.key_revision.read() == revision + 2
    for owner, key in ((stranger, key_id), (account_id, "key_000000000000")):
        with pytest.raises(NotFound):
            update_key(metadata, owner, key, KeyChange(name="c"), NOW)
    for change in (KeyChange(rate_limit="many"), KeyChange(expires_at=NOW), KeyChange(name="a\0b")):
        with pytest.raises(ValueError, match=r"no rate limit|expired already|key's name"):
            update_key(metadata, account_id, key_id, change, NOW)
    revoke_key(metadata, account_id, key_id, NOW)
    with pytest.raises(NotFound):
        update_key(metadata, account_id, key_id, KeyChange(name="c"), NOW)


def test_record_is_found_by_id_only(metadata: Metadata, account_id: int) -> None:
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT), NOW)
    assert key_record(metadata, made.record.key.id) == made.record
    for reference in (made.secret, made.record.prefix, "", "\0", "é"):
        assert key_record(metadata, reference) is None


def test_keys_of_one_project_are_listed(metadata: Metadata, account_id: int) -> None:
    shop = ensure_project(metadata, account_id, "Shop", None, NOW)
    made = create_keys(
        metadata, [KeySpec(account_id, Dialect.JCHT), KeySpec(account_id, Dialect.JCHT, project_id=shop.id)], NOW
    )
    assert list_keys(metadata, account_id, project_id=shop.id) == [made[1].record]


def test_changes_of_keys_are_told_without_their_secret(metadata: Metadata, account_id: int) -> None:
    by = Actor(account_id)
    made = create_key(metadata, KeySpec(account_id, Dialect.JCHT, name="panel"), NOW, by)
    update_key(metadata, account_id, made.record.key.id, KeyChange(scope=Scope.READ), NOW, by)
    fresh = regenerate_key(metadata, account_id, made.record.key.id, NOW, by)
    revoke_key(metadata, account_id, fresh.record.key.id, NOW, by)

    told = list_activities(metadata, account_id, ActivityFilter(type="api_key"), limit=10).items
    assert [(item.activity.action, item.activity.target_id) for item in reversed(told)] == [
        ("api_key.created", made.record.key.id),
        ("api_key.updated", made.record.key.id),
        ("api_key.rotated", fresh.record.key.id),
        ("api_key.revoked", fresh.record.key.id),
    ]
    assert made.secret not in str(told)
    assert fresh.secret not in str(told)
