"""Forgotten passwords."""

from datetime import timedelta

import pytest

from schemas.projects import Dialect
from storage.errors import NotFound, Refused
from storage.meta.accounts import account, change_password, check_password, ensure_account
from storage.meta.activities import Actor
from storage.meta.engine import Metadata
from storage.meta.logins import list_logins, open_login
from storage.meta.models import password_resets
from storage.meta.resets import begin_reset, finish_reset, reset_expiry
from tests.storage.meta.conftest import NOW

BY = Actor()
EMAIL = "ada@example.org"


@pytest.fixture
def ada(metadata: Metadata) -> int:
    return ensure_account(metadata, EMAIL, "first password", NOW).id


def test_reset_sets_the_password_once_and_ends_all_logins(metadata: Metadata, ada: int) -> None:
    open_login(metadata, ada, Dialect.ZTA, BY, NOW)
    reset = begin_reset(metadata, " ADA@example.org", BY, NOW)
    other = begin_reset(metadata, EMAIL, BY, NOW)
    assert reset is not None
    assert other is not None
    assert reset.secret not in repr(reset)
    assert reset_expiry(metadata, reset.secret, NOW) == NOW + timedelta(hours=1)
    revision = metadata.key_revision.read()

    assert finish_reset(metadata, reset.secret, "second password", BY, NOW).id == ada
    assert check_password(metadata, EMAIL, "second password").id == ada
    with pytest.raises(Refused):
        check_password(metadata, EMAIL, "first password")
    assert list_logins(metadata, ada, NOW) == []
    assert metadata.key_revision.read() == revision + 1
    for secret in (reset.secret, other.secret, "guess", ""):
        assert reset_expiry(metadata, secret, NOW) is None
        with pytest.raises(NotFound, match="unknown, used or too old"):
            finish_reset(metadata, secret, "third password", BY, NOW)
    found = account(metadata, ada)
    assert found is not None
    assert found.email_verified_at == NOW


def test_reset_is_good_for_an_hour(metadata: Metadata, ada: int) -> None:
    reset = begin_reset(metadata, EMAIL, BY, NOW)
    assert reset is not None
    assert reset_expiry(metadata, reset.secret, reset.expires_at - timedelta(seconds=1)) is not None
    with pytest.raises(NotFound):
        finish_reset(metadata, reset.secret, "second password", BY, reset.expires_at)
    check_password(metadata, EMAIL, "first password")


def test_nobody_is_told_apart(metadata: Metadata, ada: int) -> None:
    assert begin_reset(metadata, "eve@example.org", BY, NOW) is None
    assert begin_reset(metadata, "no address", BY, NOW) is None


def test_secret_is_not_stored_and_old_ones_go(metadata: Metadata, ada: int) -> None:
    first = begin_reset(metadata, EMAIL, BY, NOW)
    assert first is not None
    begin_reset(metadata, EMAIL, BY, NOW + timedelta(hours=2))
    with metadata.read() as connection:
        [row] = connection.execute(password_resets.select()).all()
    assert first.secret.encode() not in bytes(row.digest)
    assert row.created_at == NOW + timedelta(hours=2)


@pytest.mark.parametrize("password", ["", "7 chars", "x" * 1025])
def test_impossible_password_uses_nothing_up(metadata: Metadata, ada: int, password: str) -> None:
    reset = begin_reset(metadata, EMAIL, BY, NOW)
    assert reset is not None
    with pytest.raises(ValueError, match="8 to 1024 characters"):
        finish_reset(metadata, reset.secret, password, BY, NOW)
    finish_reset(metadata, reset.secret, "second password", BY, NOW)


def test_changed_password_keeps_the_login_that_did_it(metadata: Metadata, ada: int) -> None:
    kept, _ = (open_login(metadata, ada, Dialect.ZTA, BY, NOW) for _ in range(2))
    for account_id, current in ((ada, "wrong"), (99, "first password")):
        with pytest.raises(Refused, match="wrong current password"):
            change_password(metadata, account_id, current, "second password", BY, NOW, kept.id)
    assert len(list_logins(metadata, ada, NOW)) == 2
    change_password(metadata, ada, "first password", "second password", BY, NOW, kept.id)
    assert [login.id for login in list_logins(metadata, ada, NOW)] == [kept.id]
    check_password(metadata, EMAIL, "second password")
