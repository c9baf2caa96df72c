"""Accounts: found or made, and closed to a wrong password."""

import re
import uuid
from datetime import timedelta

import pytest

from storage.errors import NotFound, Refused
from storage.meta import accounts
from storage.meta.accounts import (
    ProfileChange,
    account,
    check_password,
    ensure_account,
    find_account,
    set_terms,
    update_profile,
)
from storage.meta.activities import COMMAND_LINE, ActivityFilter, list_activities
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


def test_account_has_ids_for_others(metadata: Metadata) -> None:
    ada, eve = (ensure_account(metadata, f"{name}@example.org", "pw", NOW) for name in ("ada", "eve"))

    assert re.fullmatch(r"user_[0-9A-Za-z]{12}", ada.user_id)
    assert uuid.UUID(ada.uuid).version == 5
    assert (ada.uuid, ada.user_id) != (eve.uuid, eve.user_id)
    assert account(metadata, ada.id) == ada
    assert account(metadata, 99) is None


def test_password_opens_its_own_account_only(metadata: Metadata) -> None:
    ada = ensure_account(metadata, "ada@example.org", "her password", NOW)
    ensure_account(metadata, "eve@example.org", "another one", NOW)

    assert check_password(metadata, " ADA@example.org", "her password") == ada
    for email, password in (
        ("ada@example.org", "another one"),
        ("ada@example.org", ""),
        ("nobody@example.org", "her password"),
        ("no address", "her password"),
        ("\0", "her password"),
    ):
        with pytest.raises(Refused, match=r"^wrong e-mail address or password$"):
            check_password(metadata, email, password)


def test_profile_changes_in_part(metadata: Metadata) -> None:
    ada = ensure_account(metadata, "ada@example.org", "pw", NOW, ProfileChange("Ada"))
    assert (ada.name, ada.first_name, ada.picture) == ("Ada", "Ada", None)

    change = ProfileChange(last_name=" Lovelace ", picture="https://img.example/a.png")
    changed = update_profile(metadata, ada.id, change, COMMAND_LINE, NOW)
    assert (changed.name, changed.picture) == ("Ada Lovelace", "https://img.example/a.png")
    assert update_profile(metadata, ada.id, ProfileChange(), COMMAND_LINE, NOW) == changed
    assert update_profile(metadata, ada.id, ProfileChange(picture=""), COMMAND_LINE, NOW).picture is None
    told = list_activities(metadata, ada.id, ActivityFilter(type="settings"), limit=10).items
    assert [item.activity.metadata for item in told] == [
        {"changed": ["picture"]},
        {"changed": ["last_name", "picture"]},
    ]
    with pytest.raises(NotFound):
        update_profile(metadata, 99, ProfileChange("x"), COMMAND_LINE, NOW)


@pytest.mark.parametrize(
    "change",
    [
        ProfileChange("x" * 256),
        ProfileChange(last_name="a\0b"),
        ProfileChange(picture="data:image/png;base64,x"),
        ProfileChange(picture="https://img.example/" + "x" * 2048),
        ProfileChange(picture="https://img.example/\n"),
    ],
)
def test_impossible_profile_is_refused(metadata: Metadata, change: ProfileChange) -> None:
    ada = ensure_account(metadata, "ada@example.org", "pw", NOW)
    with pytest.raises(ValueError, match=r"at most"):
        update_profile(metadata, ada.id, change, COMMAND_LINE, NOW)


def test_terms_are_a_known_plan_and_a_limit(metadata: Metadata) -> None:
    ada = ensure_account(metadata, "ada@example.org", "pw", NOW)
    revision = metadata.key_revision.read()
    set_terms(metadata, ada.id, "pro", "10/60,100/3600")

    found = account(metadata, ada.id)
    assert found is not None
    assert (found.plan, found.rate_limit) == ("pro", "10/60,100/3600")
    assert metadata.key_revision.read() == revision + 1
    with pytest.raises(ValueError, match="is no plan"):
        set_terms(metadata, ada.id, "gold", None)
    with pytest.raises(ValueError, match="is no rate limit"):
        set_terms(metadata, ada.id, "pro", "many")
    with pytest.raises(NotFound):
        set_terms(metadata, 99, "pro", None)
