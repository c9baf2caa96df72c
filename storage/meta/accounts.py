"""Accounts: the people who own projects and keys, their profiles and passwords."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import IntegrityError

from schemas.limits import parse_limits
from storage.errors import NotFound, Refused
from storage.meta.activities import COMMAND_LINE, Activity, Actor, full_name, record
from storage.meta.engine import Metadata
from storage.meta.models import accounts, logins
from storage.meta.secrets import hash_password, password_matches

LEAST_PASSWORD: Final = 8
# Hashing reads all of it.
LONGEST_PASSWORD: Final = 1024
PLANS: Final = ("free", "pro", "business", "enterprise")

_ACCOUNT_NAMES: Final = uuid.UUID("6f0c5f2e-6f0a-4b8e-9d57-3d1f6b8f2a10")


@dataclass(frozen=True, slots=True)
class Account:
    """A person's account; `user_id` is its id for others."""

    id: int
    email: str
    created_at: datetime
    user_id: str
    first_name: str = ""
    last_name: str = ""
    picture: str | None = None
    plan: str = "free"
    rate_limit: str | None = None
    email_verified_at: datetime | None = None

    @property
    def name(self) -> str:
        return full_name(self.first_name, self.last_name)

    @property
    def uuid(self) -> str:
        """The same id where a dialect wants a UUID."""
        return str(uuid.uuid5(_ACCOUNT_NAMES, self.user_id))


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """What to change of a profile; None leaves it, and an empty picture removes it."""

    first_name: str | None = None
    last_name: str | None = None
    picture: str | None = None


def find_account(metadata: Metadata, email: str) -> Account | None:
    """The account of this address, however it is capitalised."""
    with metadata.read() as connection:
        found = _find(connection, normalised(email))
    return found[0] if found else None


def account(metadata: Metadata, account_id: int) -> Account | None:
    """The account of this number."""
    with metadata.read() as connection:
        row = connection.execute(select(accounts).where(accounts.c.id == account_id)).one_or_none()
    return account_of(row) if row else None


def ensure_account(
    metadata: Metadata, email: str, password: str, now: datetime, profile: ProfileChange = ProfileChange()
) -> Account:
    """The account of this address, made with the profile if there is none.

    Raises Refused when the account is known and the password is not its own,
    ValueError for an impossible address, password or name.
    """
    email = normalised(email)
    if not password:
        raise ValueError("the password is empty")
    with metadata.read() as connection:
        found = _find(connection, email)
    # Hashing is slow on purpose, so it stays outside the transactions.
    return _checked(*found, password) if found else _create(metadata, email, password, now, profile)


def check_password(metadata: Metadata, email: str, password: str) -> Account:
    """The account of an address and a password; raises Refused, after the same time whatever is wrong."""
    try:
        email = normalised(email)
    except ValueError:
        email = ""
    with metadata.read() as connection:
        found = _find(connection, email)
    is_right = password_matches(password[:LONGEST_PASSWORD], found[1] if found else None)
    if found is None or not is_right:
        raise Refused("wrong e-mail address or password")
    return found[0]


def update_profile(metadata: Metadata, account_id: int, change: ProfileChange, by: Actor, now: datetime) -> Account:
    """Change names and picture; raises NotFound, ValueError for an impossible one."""
    values = _profile(change)
    with metadata.write() as connection:
        row = connection.execute(select(accounts).where(accounts.c.id == account_id)).one_or_none()
        if row is None:
            raise NotFound(f"no account {account_id}")
        if values:
            done = accounts.update().where(accounts.c.id == account_id).values(values).returning(accounts)
            row = connection.execute(done).one()
            changed = {"changed": sorted(values)}
            record(connection, _of_account(row, "settings.profile_updated", changed), by, now)
    return account_of(row)


def change_password(
    metadata: Metadata, account_id: int, current: str, password: str, by: Actor, now: datetime, keep: str | None = None
) -> None:
    """Change the password and end all logins but the one to keep.

    Raises Refused where the current one is wrong, ValueError for an impossible new one.
    """
    check_new_password(password)
    with metadata.read() as connection:
        row = connection.execute(select(accounts).where(accounts.c.id == account_id)).one_or_none()
    if row is None or not password_matches(current[:LONGEST_PASSWORD], row.password_hash):
        raise Refused("wrong current password")
    hashed = hash_password(password)
    with metadata.write() as connection:
        store_password(connection, account_id, hashed, now, keep)
        record(connection, _of_account(row, "auth.password_changed"), by, now)
    metadata.key_revision.bump()


def set_terms(metadata: Metadata, account_id: int, plan: str, rate_limit: str | None) -> None:
    """Set the plan, and limits of its own or none; raises NotFound, ValueError."""
    if plan not in PLANS:
        raise ValueError(f"{plan!r} is no plan; write one of {', '.join(PLANS)}")
    if rate_limit is not None:
        parse_limits(rate_limit)
    change = accounts.update().where(accounts.c.id == account_id).values(plan=plan, rate_limit=rate_limit)
    with metadata.write() as connection:
        if connection.execute(change).rowcount != 1:
            raise NotFound(f"no account {account_id}")
    metadata.key_revision.bump()


def check_new_password(password: str) -> None:
    """Raises ValueError for a password that may not be chosen."""
    if not LEAST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(f"the password needs {LEAST_PASSWORD} to {LONGEST_PASSWORD} characters")


def store_password(
    connection: Connection, account_id: int, hashed: str, now: datetime, keep_login: str | None = None
) -> None:
    """Set the hash and end the account's other logins; bump the key revision after the commit."""
    connection.execute(accounts.update().where(accounts.c.id == account_id).values(password_hash=hashed))
    theirs = (logins.c.account_id == account_id) & logins.c.revoked_at.is_(None)
    if keep_login is not None:
        theirs &= logins.c.id != keep_login
    connection.execute(logins.update().where(theirs).values(revoked_at=now))


def normalised(email: str) -> str:
    """An address in the one spelling that is kept; raises ValueError."""
    email = email.strip().lower()
    name, at, domain = email.rpartition("@")
    if not (name and at and domain and email.isprintable() and " " not in email and len(email) <= 320):
        raise ValueError(f"{email!r} is no e-mail address")
    return email


def account_of(row: Row[Any]) -> Account:
    """The account of a row that holds all its columns."""
    return Account(
        id=row.id,
        email=row.email,
        created_at=row.created_at,
        user_id=row.user_id,
        first_name=row.first_name,
        last_name=row.last_name,
        picture=row.picture,
        plan=row.plan,
        rate_limit=row.rate_limit,
        email_verified_at=row.email_verified_at,
    )


def _create(
    metadata: Metadata, email: str, password: str, now: datetime, profile: ProfileChange = ProfileChange()
) -> Account:
    row = {"email": email, "password_hash": hash_password(password), "created_at": now, **_profile(profile)}
    try:
        with metadata.write() as connection:
            made = connection.execute(accounts.insert().values(row).returning(accounts)).one()
            record(connection, _of_account(made, "auth.account_created"), COMMAND_LINE, now)
    except IntegrityError:
        pass  # another process made it since we looked: its password decides, as if it had been first all along
    with metadata.read() as connection:
        found = _find(connection, email)
    assert found is not None
    return _checked(*found, password)


def _checked(found: Account, password_hash: str, password: str) -> Account:
    if not password_matches(password, password_hash):
        raise Refused(f"wrong password for the account {found.email}")
    return found


def _find(connection: Connection, email: str) -> tuple[Account, str] | None:
    row = connection.execute(select(accounts).where(accounts.c.email == email)).one_or_none()
    return (account_of(row), row.password_hash) if row else None


def _profile(change: ProfileChange) -> dict[str, str | None]:
    values: dict[str, str | None] = {}
    for name, text in (("first_name", change.first_name), ("last_name", change.last_name)):
        if text is not None:
            if len(text) > 255 or not text.isprintable():
                raise ValueError("a name is at most 255 printable characters")
            values[name] = text.strip()
    if change.picture is not None:
        # Shown as an image: nothing but a plain address may stand there.
        is_address = change.picture.startswith(("https://", "http://")) and change.picture.isprintable()
        if change.picture and not (is_address and len(change.picture) <= 2048):
            raise ValueError("the picture is an http(s) address of at most 2048 characters")
        values["picture"] = change.picture or None
    return values


def _of_account(row: Row[Any], action: str, metadata: dict[str, Any] | None = None) -> Activity:
    return Activity(row.id, action, "user", row.user_id, row.email, metadata=metadata or {})
