"""Formats of keys and ids, and hashes of passwords."""

import hashlib
import re
from base64 import b64encode

import pytest

from schemas.projects import Dialect
from storage.meta.secrets import hash_password, new_id, new_secret, password_matches


@pytest.mark.parametrize(
    ("dialect", "pattern"),
    [
        (Dialect.JCHT, r"sg_[0-9a-f]{64}"),
        (Dialect.JETRACK, r"bj_live_[0-9a-f]{64}"),
        (Dialect.ZTA, r"zta_live_[0-9A-Za-z]{36}"),
        (Dialect.COHORLY, r"coh_[0-9a-f]{64}"),
        (Dialect.OVYXA, r"ovx_[0-9a-f]{64}"),
    ],
)
def test_secrets_have_their_dialects_format_and_differ(dialect: Dialect, pattern: str) -> None:
    made = {new_secret(dialect) for _ in range(50)}

    assert len(made) == 50
    assert all(re.fullmatch(pattern, secret) for secret in made)


def test_ids_are_a_kind_and_twelve_digits() -> None:
    assert re.fullmatch(r"site_[0-9A-Za-z]{12}", new_id("site"))


def test_password_matches_only_itself() -> None:
    stored = hash_password("correct horse \ud800")  # half a character, as JSON may carry it

    assert password_matches("correct horse \ud800", stored)
    assert not password_matches("correct horse", stored)
    assert "correct" not in stored


def test_equal_passwords_are_stored_differently() -> None:
    assert hash_password("same") != hash_password("same")


def test_nobody_has_no_password() -> None:
    """An address without an account takes the steps of one that has one, and a row without a password matches none."""
    for stored in (None, ""):
        assert not password_matches("", stored)
        assert not password_matches("guess", stored)


def test_password_of_an_account_made_with_scrypt_still_holds() -> None:
    salt = bytes(range(16))
    digest = hashlib.scrypt(b"old", salt=salt, n=1 << 14, r=8, p=5)
    stored = f"scrypt$14$8$5${b64encode(salt).decode()}${b64encode(digest).decode()}"

    assert password_matches("old", stored)
    assert not password_matches("new", stored)
