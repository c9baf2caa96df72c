"""Accounts: who owns projects and keys."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from storage.errors import Refused
from storage.meta.engine import Metadata
from storage.meta.models import accounts
from storage.meta.secrets import hash_password, password_matches


@dataclass(frozen=True, slots=True)
class Account:
    """A person's or a team's account."""

    id: int
    email: str
    created_at: datetime


def find_account(metadata: Metadata, email: str) -> Account | None:
    """The account of this address, however it is capitalised."""
    with metadata.read() as connection:
        found = _find(connection, _normalised(email))
    return found[0] if found else None


def ensure_account(metadata: Metadata, email: str, password: str, now: datetime) -> Account:
    """The account of this address, made if there is none.

    Raises Refused when the account is known and the password is not its own,
    ValueError for an impossible address or password.
    """
    email = _normalised(email)
    if not password:
        raise ValueError("the password is empty")
    with metadata.read() as connection:
        found = _find(connection, email)
    # Hashing is slow on purpose, so it stays outside the transactions.
    return _checked(*found, password) if found else _create(metadata, email, password, now)


def _create(metadata: Metadata, email: str, password: str, now: datetime) -> Account:
    row = {"email": email, "password_hash": hash_password(password), "created_at": now}
    try:
        with metadata.write() as connection:
            connection.execute(accounts.insert().values(row))
    except IntegrityError:
        pass  # another process made it since we looked: its password decides, as if it had been first all along
    with metadata.read() as connection:
        found = _find(connection, email)
    assert found is not None
    return _checked(*found, password)


def _checked(account: Account, password_hash: str, password: str) -> Account:
    if not password_matches(password, password_hash):
        raise Refused(f"wrong password for the account {account.email}")
    return account


def _find(connection: Connection, email: str) -> tuple[Account, str] | None:
    row = connection.execute(select(accounts).where(accounts.c.email == email)).one_or_none()
    return (Account(row.id, row.email, row.created_at), row.password_hash) if row else None


def _normalised(email: str) -> str:
    email = email.strip().lower()
    name, at, domain = email.rpartition("@")
    if not (name and at and domain and email.isprintable() and " " not in email and len(email) <= 320):
        raise ValueError(f"{email!r} is no e-mail address")
    return email
