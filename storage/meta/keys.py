"""Keys: minted, shown once, found by their prefix, revoked; every change moves the key revision."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, or_, select

from schemas.limits import parse_limits
from schemas.projects import Dialect, Key, Scope
from storage.errors import Conflict, NotFound
from storage.meta.activities import COMMAND_LINE, Activity, Actor, record
from storage.meta.engine import Metadata
from storage.meta.models import accounts, keys, projects
from storage.meta.quotas import demand_room
from storage.meta.secrets import PREFIX_LENGTH, key_digest, new_id, new_secret

# Of a busy key only so many writes of "last used" are worth their cost.
TOUCH_INTERVAL: Final = timedelta(minutes=1)

_NO_DIGEST: Final = bytes(32)
# Without what was asked for: it may be a secret.
_NOT_MEANT: Final = "no live key has this id, prefix or secret; `streamgauge keys list` shows them"


@dataclass(frozen=True, slots=True)
class KeySpec:
    """What to mint. Without a project the key is the account's."""

    account_id: int
    dialect: Dialect
    scope: Scope = Scope.ADMIN
    project_id: int | None = None
    name: str = ""
    expires_at: datetime | None = None
    # Limits of its own, as `requests/seconds` lists; without them those of the account or the surface hold.
    rate_limit: str | None = None
    # The source whose write key it is.
    source: str | None = None


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What to change of a key; None leaves it, and an empty limit removes it."""

    name: str | None = None
    scope: Scope | None = None
    rate_limit: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """All that is known of a key, but for its secret."""

    key: Key
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    rate_limit: str | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just minted, and the only sight of its secret."""

    secret: str = field(repr=False)
    record: KeyRecord


def create_key(metadata: Metadata, spec: KeySpec, now: datetime, by: Actor = COMMAND_LINE) -> NewKey:
    """Mint one key; raises as `create_keys`."""
    return create_keys(metadata, [spec], now, by)[0]


def create_keys(metadata: Metadata, specs: Sequence[KeySpec], now: datetime, by: Actor = COMMAND_LINE) -> list[NewKey]:
    """Mint all or none.

    Raises NotFound when a project is not the account's, QuotaReached, ValueError for an impossible expiry, name or
    limit.
    """
    with metadata.write() as connection:
        for spec in specs:
            usable = keys.c.revoked_at.is_(None) & (keys.c.expires_at.is_(None) | (keys.c.expires_at > now))
            # Those of sources come and go with them.
            mine = (keys.c.account_id == spec.account_id) & keys.c.source.is_(None) & usable
            held = select(func.count()).select_from(keys).where(mine)
            demand_room(connection, metadata.quotas, spec.account_id, "keys", held)
        made = [insert_key(connection, spec, now) for spec in specs]
        for new in made:
            _note(connection, new.record, "api_key.created", by, now)
    metadata.key_revision.bump()
    return made


def list_keys(
    metadata: Metadata, account_id: int | None, dialect: Dialect | None = None, project_id: int | None = None
) -> list[KeyRecord]:
    """The account's keys, or everybody's, or those of one project, revoked ones included, oldest first."""
    query = select(keys).order_by(keys.c.created_at, keys.c.id)
    if account_id is not None:
        query = query.where(keys.c.account_id == account_id)
    if dialect is not None:
        query = query.where(keys.c.dialect == dialect.value)
    if project_id is not None:
        query = query.where(keys.c.project_id == project_id)
    with metadata.read() as connection:
        return [_record(row) for row in connection.execute(query)]


def key_record(metadata: Metadata, key_id: str) -> KeyRecord | None:
    """The key of this id, revoked or not."""
    if not (key_id.isascii() and key_id.isprintable()):
        return None
    with metadata.read() as connection:
        row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
    return _record(row) if row else None


def update_key(
    metadata: Metadata, account_id: int, key_id: str, change: KeyChange, now: datetime, by: Actor = COMMAND_LINE
) -> KeyRecord:
    """Change a live key; it holds from the next request on.

    Raises NotFound when the account has no such live key, ValueError for an impossible value.
    """
    meant = (keys.c.id == key_id) & (keys.c.account_id == account_id) & keys.c.revoked_at.is_(None)
    with metadata.write() as connection:
        row = connection.execute(select(keys).where(meant).with_for_update()).one_or_none()
        if row is None:
            raise NotFound(_NOT_MEANT)
        name = row.name if change.name is None else change.name
        rate_limit = row.rate_limit if change.rate_limit is None else change.rate_limit or None
        _check(name, change.expires_at, rate_limit, now)
        values = {
            "name": name,
            "scope": row.scope if change.scope is None else change.scope.value,
            "rate_limit": rate_limit,
            "expires_at": row.expires_at if change.expires_at is None else change.expires_at,
        }
        changed = connection.execute(keys.update().where(meant).values(values).returning(keys)).one()
        found = _record(changed)
        _note(connection, found, "api_key.updated", by, now)
    metadata.key_revision.bump()
    return found


def revoke_key(
    metadata: Metadata, account_id: int | None, reference: str, now: datetime, by: Actor = COMMAND_LINE
) -> KeyRecord:
    """Revoke the live key of this id, prefix or secret, of the account or of anybody; it cannot be undone.

    Raises NotFound when no live key is meant, Conflict when the prefix fits several.
    """
    with metadata.write() as connection:
        revoked = _revoke(connection, account_id, reference, now)
        _note(connection, revoked, "api_key.revoked", by, now)
    metadata.key_revision.bump()
    return revoked


def regenerate_key(
    metadata: Metadata, account_id: int | None, reference: str, now: datetime, by: Actor = COMMAND_LINE
) -> NewKey:
    """Revoke a live key and mint its like in one step.

    Raises as `revoke_key`, and ValueError when the key has expired already.
    """
    with metadata.write() as connection:
        old = _revoke(connection, account_id, reference, now)
        spec = KeySpec(
            account_id=old.key.account_id,
            dialect=old.key.dialect,
            scope=old.key.scope,
            project_id=old.key.project_id,
            name=old.name,
            expires_at=old.expires_at,
            rate_limit=old.rate_limit,
            source=old.key.source,
        )
        made = insert_key(connection, spec, now)
        _note(connection, made.record, "api_key.rotated", by, now, {"replaced": old.key.id})
    metadata.key_revision.bump()
    return made


def find_key(metadata: Metadata, secret: str | bytes, now: datetime) -> Key | None:
    """Whose key this is; None if it is unknown, expired or revoked."""
    record = find_record(metadata, secret, now)
    return record.key if record else None


def find_record(metadata: Metadata, secret: str | bytes, now: datetime) -> KeyRecord | None:
    """As `find_key`, with all that is known of the key; a key of a deleted project is unknown."""
    digest = key_digest(secret)
    terms = (accounts.c.plan, accounts.c.rate_limit.label("account_limit"), projects.c.deleted_at)
    source = keys.join(accounts, accounts.c.id == keys.c.account_id).outerjoin(
        projects, projects.c.id == keys.c.project_id
    )
    query = select(keys, *terms).select_from(source).where(keys.c.prefix == _prefix(secret))
    with metadata.read() as connection:
        rows = connection.execute(query).all()
    match = None
    for row in rows:
        if hmac.compare_digest(row.digest, digest):
            match = row
    if not rows:
        hmac.compare_digest(_NO_DIGEST, digest)  # an unknown prefix takes the same steps as a known one
    if match is None or match.deleted_at is not None or not _is_live(match, now):
        return None
    return _record(match, match.plan, match.account_limit)


def is_expired(metadata: Metadata, secret: str | bytes, now: datetime) -> bool:
    """Whether this was a good key until its time ran out; for telling its holder so."""
    query = select(keys.c.expires_at).where(keys.c.digest == key_digest(secret), keys.c.revoked_at.is_(None))
    with metadata.read() as connection:
        expires_at = connection.execute(query).scalar_one_or_none()
    return expires_at is not None and expires_at <= now


def touch_keys(metadata: Metadata, uses: Mapping[str, datetime]) -> None:
    """Store when keys (by id) were last used, of each at most one write a minute."""
    if not uses:
        return
    last = keys.c.last_used_at
    is_due = or_(last.is_(None), last <= bindparam("before"))
    change = keys.update().where(keys.c.id == bindparam("key"), is_due).values(last_used_at=bindparam("used"))
    rows = [{"key": key, "used": used, "before": used - TOUCH_INTERVAL} for key, used in sorted(uses.items())]
    with metadata.write() as connection:
        connection.execute(change, rows)


def _check(name: str, expires_at: datetime | None, rate_limit: str | None, now: datetime) -> None:
    if len(name) > 255 or not name.isprintable():
        raise ValueError("a key's name is at most 255 printable characters")
    if expires_at is not None and expires_at <= now:
        raise ValueError("the key would have expired already")
    if rate_limit is not None:
        parse_limits(rate_limit)
        if len(rate_limit) > 64:
            raise ValueError("a key's rate limit is at most 64 characters")


def _note(
    connection: Connection,
    made: KeyRecord,
    action: str,
    by: Actor,
    now: datetime,
    further: dict[str, Any] | None = None,
) -> None:
    key = made.key
    told = {"kind": key.dialect.value, "scope": key.scope.value, **(further or {})}
    record(connection, Activity(key.account_id, action, "api_key", key.id, made.name, key.project_id, told), by, now)


def insert_key(connection: Connection, spec: KeySpec, now: datetime) -> NewKey:
    """Mint in a transaction of the caller's, who bumps the key revision after it; raises as `create_keys`."""
    _check(spec.name, spec.expires_at, spec.rate_limit, now)
    if spec.project_id is not None:
        owned = (projects.c.id == spec.project_id) & (projects.c.account_id == spec.account_id)
        is_live = projects.c.deleted_at.is_(None)
        if connection.execute(select(projects.c.id).where(owned, is_live)).one_or_none() is None:
            raise NotFound(f"the account has no project {spec.project_id}")
    secret = new_secret(spec.dialect)
    row = {
        "id": new_id("key"),
        "prefix": _prefix(secret),
        "digest": key_digest(secret),
        "dialect": spec.dialect.value,
        "scope": spec.scope.value,
        "name": spec.name,
        "account_id": spec.account_id,
        "project_id": spec.project_id,
        "created_at": now,
        "expires_at": spec.expires_at,
        "rate_limit": spec.rate_limit,
        "source": spec.source,
    }
    return NewKey(secret, _record(connection.execute(keys.insert().values(row).returning(keys)).one()))


def _revoke(connection: Connection, account_id: int | None, reference: str, now: datetime) -> KeyRecord:
    if not (reference.isascii() and reference.isprintable()):
        raise NotFound(_NOT_MEANT)
    meant: ColumnElement[bool] = or_(keys.c.id == reference, keys.c.digest == key_digest(reference))
    if len(reference) == PREFIX_LENGTH:
        meant = or_(meant, keys.c.prefix == reference)
    query = select(keys).where(meant, keys.c.revoked_at.is_(None)).with_for_update()
    if account_id is not None:
        query = query.where(keys.c.account_id == account_id)
    rows = connection.execute(query).all()
    if not rows:
        raise NotFound(_NOT_MEANT)
    if len(rows) > 1:
        raise Conflict(f"several keys begin so; name one by its id: {', '.join(sorted(row.id for row in rows))}")
    change = keys.update().where(keys.c.id == rows[0].id).values(revoked_at=now).returning(keys)
    return _record(connection.execute(change).one())


def _prefix(secret: str | bytes) -> str:
    """The first characters of a secret as they are stored; empty, which no key has, where no key could begin so."""
    text = secret if isinstance(secret, str) else secret.decode("latin-1")
    prefix = text[:PREFIX_LENGTH]
    return prefix if prefix.isascii() and prefix.isprintable() else ""


def _is_live(row: Row[Any], now: datetime) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


def _record(row: Row[Any], plan: str = "free", account_limit: str | None = None) -> KeyRecord:
    key = Key(
        id=row.id,
        dialect=Dialect(row.dialect),
        scope=Scope(row.scope),
        account_id=row.account_id,
        project_id=row.project_id,
        rate_limit=row.rate_limit or account_limit,
        plan=plan,
        source=row.source,
    )
    return KeyRecord(
        key=key,
        name=row.name,
        prefix=row.prefix,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        rate_limit=row.rate_limit,
    )
