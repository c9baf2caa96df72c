"""Forgotten passwords: a secret for a link, good once and for an hour."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, select

from storage.errors import NotFound
from storage.meta.accounts import Account, account_of, check_new_password, find_account, store_password
from storage.meta.activities import Activity, Actor, record
from storage.meta.engine import Metadata
from storage.meta.models import accounts, password_resets
from storage.meta.secrets import hash_password, key_digest, new_token

LIFETIME: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Reset:
    """A reset that was asked for, and the only sight of its secret."""

    account: Account
    expires_at: datetime
    secret: str = field(repr=False)


def begin_reset(metadata: Metadata, email: str, by: Actor, now: datetime) -> Reset | None:
    """A secret for the account of this address; None if there is none, which nobody outside may be told."""
    try:
        found = find_account(metadata, email)
    except ValueError:
        return None
    if found is None:
        return None
    reset = Reset(found, now + LIFETIME, new_token())
    row = {
        "digest": key_digest(reset.secret),
        "account_id": found.id,
        "created_at": now,
        "expires_at": reset.expires_at,
    }
    with metadata.write() as connection:
        connection.execute(password_resets.delete().where(password_resets.c.expires_at <= now))
        connection.execute(password_resets.insert().values(row))
        activity = Activity(found.id, "auth.password_reset_requested", "user", found.user_id, found.email)
        record(connection, activity, by, now)
    return reset


def reset_expiry(metadata: Metadata, secret: str, now: datetime) -> datetime | None:
    """Until when a secret is good; None if it is not."""
    query = select(password_resets.c.expires_at).where(_live(secret, now))
    with metadata.read() as connection:
        return connection.execute(query).scalar_one_or_none()


def finish_reset(metadata: Metadata, secret: str, password: str, by: Actor, now: datetime) -> Account:
    """Set the password, use up all secrets of the account, and end its logins.

    The address is known to be theirs now. Raises ValueError for an impossible password, NotFound for a secret that is
    unknown, used or too old.
    """
    check_new_password(password)
    if reset_expiry(metadata, secret, now) is None:
        raise NotFound("this reset link is unknown, used or too old")
    hashed = hash_password(password)
    with metadata.write() as connection:
        used = password_resets.update().where(_live(secret, now)).values(used_at=now)
        account_id = connection.execute(used.returning(password_resets.c.account_id)).scalar_one_or_none()
        if account_id is None:  # somebody used it since we looked
            raise NotFound("this reset link is unknown, used or too old")
        theirs = (password_resets.c.account_id == account_id) & password_resets.c.used_at.is_(None)
        connection.execute(password_resets.update().where(theirs).values(used_at=now))
        verified = accounts.update().where(accounts.c.id == account_id, accounts.c.email_verified_at.is_(None))
        connection.execute(verified.values(email_verified_at=now))
        store_password(connection, account_id, hashed, now)
        found = account_of(connection.execute(select(accounts).where(accounts.c.id == account_id)).one())
        record(connection, Activity(found.id, "auth.password_reset", "user", found.user_id, found.email), by, now)
    metadata.key_revision.bump()
    return found


def _live(secret: str, now: datetime) -> ColumnElement[bool]:
    is_open = password_resets.c.used_at.is_(None) & (password_resets.c.expires_at > now)
    return is_open & (password_resets.c.digest == key_digest(secret))
