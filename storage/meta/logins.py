"""Logins: one for each time somebody signed in, so that each can be seen and ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, select

from schemas.projects import Dialect, Key, Scope
from storage.errors import NotFound
from storage.meta.activities import LONGEST_AGENT, Activity, Actor, record
from storage.meta.engine import Metadata
from storage.meta.models import accounts, logins
from storage.meta.secrets import new_id

LIFETIME: Final = timedelta(days=7)
# Of a busy login only so many writes of "last active" are worth their cost.
TOUCH_INTERVAL: Final = timedelta(minutes=1)
LOGIN_KIND: Final = "sess"


@dataclass(frozen=True, slots=True)
class Login:
    """One login of an account on one surface."""

    id: str
    account_id: int
    surface: Dialect
    created_at: datetime
    last_active_at: datetime
    expires_at: datetime
    agent: str
    masked_address: str


def open_login(
    metadata: Metadata, account_id: int, surface: Dialect, by: Actor, now: datetime, lifetime: timedelta = LIFETIME
) -> Login:
    """Note a login of an account whose password was checked; whole seconds, as tokens count in them."""
    start = now.replace(microsecond=0)
    row = {
        "id": new_id(LOGIN_KIND),
        "account_id": account_id,
        "surface": surface.value,
        "created_at": start,
        "last_active_at": start,
        "expires_at": start + lifetime,
        "agent": by.agent[:LONGEST_AGENT],
        "masked_address": by.masked_address,
    }
    with metadata.write() as connection:
        made = connection.execute(logins.insert().values(row).returning(logins)).one()
        _record(connection, made, "auth.login", by, now)
    return _login(made)


def login_key(metadata: Metadata, login_id: str, surface: Dialect, now: datetime) -> tuple[Key, datetime] | None:
    """What a login may do on its surface, and until when; None once it has ended."""
    terms = (accounts.c.plan, accounts.c.rate_limit)
    meant = _live(now) & (logins.c.id == login_id) & (logins.c.surface == surface.value)
    query = select(logins, *terms).join(accounts, accounts.c.id == logins.c.account_id).where(meant)
    with metadata.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    key = Key(row.id, surface, Scope.ADMIN, row.account_id, None, "login", row.rate_limit, row.plan)
    return key, row.expires_at


def list_logins(metadata: Metadata, account_id: int, now: datetime) -> list[Login]:
    """The account's logins that still hold, on any surface, the one active last first."""
    query = select(logins).where(_live(now), logins.c.account_id == account_id)
    with metadata.read() as connection:
        return [_login(row) for row in connection.execute(query.order_by(logins.c.last_active_at.desc(), logins.c.id))]


def end_login(metadata: Metadata, account_id: int, login_id: str, by: Actor, now: datetime) -> None:
    """End one login, at once; raises NotFound where the account has none of this id."""
    if _end(metadata, account_id, logins.c.id == login_id, by, now) == 0:
        raise NotFound("no login has this id")


def end_logins(metadata: Metadata, account_id: int, by: Actor, now: datetime, keep: str | None = None) -> int:
    """End all logins of an account but the one to keep; how many."""
    return _end(metadata, account_id, logins.c.id != (keep or ""), by, now)


def touch_logins(metadata: Metadata, uses: Mapping[str, datetime]) -> None:
    """Store when logins (by id) were last active, of each at most one write a minute."""
    if not uses:
        return
    is_due = logins.c.last_active_at <= bindparam("before")
    change = logins.update().where(logins.c.id == bindparam("login"), is_due).values(last_active_at=bindparam("used"))
    rows = [{"login": login, "used": used, "before": used - TOUCH_INTERVAL} for login, used in sorted(uses.items())]
    with metadata.write() as connection:
        connection.execute(change, rows)


def _end(metadata: Metadata, account_id: int, which: ColumnElement[bool], by: Actor, now: datetime) -> int:
    meant = _live(now) & (logins.c.account_id == account_id) & which
    with metadata.write() as connection:
        ended = connection.execute(logins.update().where(meant).values(revoked_at=now).returning(logins)).all()
        for row in ended:
            _record(connection, row, "auth.logout", by, now)
    if ended:
        metadata.key_revision.bump()
    return len(ended)


def _live(now: datetime) -> ColumnElement[bool]:
    return logins.c.revoked_at.is_(None) & (logins.c.expires_at > now)


def _login(row: Row[Any]) -> Login:
    return Login(
        id=row.id,
        account_id=row.account_id,
        surface=Dialect(row.surface),
        created_at=row.created_at,
        last_active_at=row.last_active_at,
        expires_at=row.expires_at,
        agent=row.agent,
        masked_address=row.masked_address,
    )


def _record(connection: Connection, row: Row[Any], action: str, by: Actor, now: datetime) -> None:
    activity = Activity(row.account_id, action, "session", row.id, metadata={"surface": row.surface})
    record(connection, activity, by, now)
