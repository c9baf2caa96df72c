"""Accounts: found or made, and closed to a wrong password."""

from datetime import timedelta

import pytest

from storage.errors import Refused
from storage.meta import accounts
from storage.meta.accounts import ensure_account, find_account
from storage.meta.engine import Metadata
from tests.storage.meta.conftest import NOW


def test_account_is_made_once_however_its_address_is_written(metadata: Metadata) -> None:
    made = ensure_account(metadata, " Ada@Example.org ", "pw", NOW)

    assert made.email == "ada@example.org"
    assert made.created_at == NOW
    assert ensure_account(metadata, "ada@EXAMPLE.org", "pw", NOW + timedelta(days=1)) == made
    assert find_account(metadata, "ADA@example.org") == made
    assert find_account(metadata, "eve@example.org") is None


def test_wrong_password_for_a_known_account_is_refused(metadata: Metadata) -> None:
    ensure_account(metadata, "ada@example.org", "pw", NOW)

    with pytest.raises(Refused, match=r"wrong password for the account ada@example\.org"):
        ensure_account(metadata, "ada@example.org", "other", NOW)


def test_account_made_by_another_process_meanwhile_is_found(metadata: Metadata) -> None:
    ensure_account(metadata, "ada@example.org", "pw", NOW)

    # As if both had looked before either wrote.
    assert accounts._create(metadata, "ada@example.org", "pw", NOW) == find_account(metadata, "ada@example.org")
    with pytest.raises(Refused):
        accounts._create(metadata, "ada@example.org", "other", NOW)


@pytest.mark.parametrize("email", ["", "ada", "@example.org", "ada@", "a da@example.org", "ada@x\0y", "a" * 320 + "@x"])
def test_impossible_address_is_refused(metadata: Metadata, email: str) -> None:
    with pytest.raises(ValueError, match="is no e-mail address"):
        ensure_account(metadata, email, "pw", NOW)


def test_empty_password_is_refused(metadata: Metadata) -> None:
    with pytest.raises(ValueError, match="password is empty"):
        ensure_account(metadata, "ada@example.org", "", NOW)
