"""Kept things: one table and one repository for all kinds; every rule they obey is in `schemas.keeping`."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeAlias

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from schemas.conversions import filter_kept, reached
from schemas.filters import Filter
from schemas.keeping import InvalidKept, UnknownReference, checked, patterns, references
from schemas.kept import OVERVIEW, Body, Dashboard, Funnel, Goal, Segment, T
from schemas.questions import InvalidQuestion
from schemas.quotas import THINGS
from storage.errors import Conflict, NotFound
from storage.meta.activities import Activity, Actor, record
from storage.meta.engine import Metadata
from storage.meta.models import accounts, kept, outbox, projects
from storage.meta.quotas import demand_room
from storage.meta.sealing import Sealer
from storage.meta.secrets import key_digest, new_id

# Raises InvalidQuestion for a regular expression that the engine does not take.
PatternCheck: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A thing with its place and its history. `creator` is the user id of whoever made it, if a person is known."""

    id: str
    number: int
    project_id: int
    parent_id: str | None
    body: T
    created_by: int | None
    creator: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class KeptPage(Generic[T]):
    """Some of a list, the number of all, and where the next page starts."""

    items: list[Kept[T]]
    total: int
    next: str | None


class KeptRepository:
    """Things of projects by kind. All calls block; any thread may call; all raise Unavailable."""

    def __init__(self, metadata: Metadata, sealer: Sealer, check_pattern: PatternCheck) -> None:
        self.metadata = metadata
        self._sealer = sealer
        self._check_pattern = check_pattern

    def create(
        self,
        project_id: int,
        body: T,
        by: Actor | None,
        now: datetime,
        *,
        parent_id: str | None = None,
        secret: bytes | None = None,
        link: str | None = None,
    ) -> Kept[T]:
        """Keep a thing. Its secret is sealed; by its link `find_linked` finds it again.

        Without an actor it is the service's own, and not in the log of changes. Raises InvalidKept, NotFound for an
        unknown project or parent, Conflict for one too many, QuotaReached where the account's plan allows no more.
        """
        with self.metadata.write() as connection:
            return self.insert(connection, project_id, body, by, now, parent_id=parent_id, secret=secret, link=link)

    def insert(
        self,
        connection: Connection,
        project_id: int,
        body: T,
        by: Actor | None,
        now: datetime,
        *,
        parent_id: str | None = None,
        secret: bytes | None = None,
        link: str | None = None,
    ) -> Kept[T]:
        """As `create`, in a transaction of the caller's."""
        body = checked(body)
        self._check(connection, project_id, body, None)
        account_id = account_of(connection, project_id)
        if body.below:
            parent = (kept.c.id == (parent_id or "")) & (kept.c.project_id == project_id) & (kept.c.kind == body.below)
            live = parent & kept.c.deleted_at.is_(None)
            if (
                not _is_id(parent_id or "")
                or connection.execute(select(kept.c.number).where(live)).one_or_none() is None
            ):
                raise NotFound(f"no such {body.below}")
        if not body.newest and _count(connection, type(body), project_id, parent_id) >= body.most:
            where = f"A {body.below}" if body.below else "A project"
            raise Conflict(f"{where} keeps at most {body.most} {body.kind}s")
        if by is not None and (thing := f"{body.kind}s") in THINGS:
            mine = (projects.c.account_id == account_id) & projects.c.deleted_at.is_(None)
            live = (kept.c.kind == body.kind) & kept.c.deleted_at.is_(None)
            held = select(func.count()).select_from(kept.join(projects)).where(mine, live)
            demand_room(connection, self.metadata.quotas, account_id, thing, held)
        named = new_id(body.prefix)
        row = {
            "id": named,
            "project_id": project_id,
            "kind": body.kind,
            "parent_id": parent_id,
            "body": _encoded(body),
            "sealed": None if secret is None else self._sealer.seal(secret, project_id, named),
            "digest": None if link is None else key_digest(link),
            "created_by": None if by is None else by.account_id,
            "created_at": now,
            "updated_at": now,
        }
        number = connection.execute(kept.insert().values(row).returning(kept.c.number)).scalar_one()
        made = _one(connection, type(body), kept.c.number == number)
        if by is not None:
            _note(connection, account_id, made, "created", by, now)
            _touch(connection, parent_id, now)
        if body.newest:
            _prune(connection, made)
        return made

    def get(
        self,
        kind: type[T],
        project_id: int,
        thing_id: str,
        *,
        parent_id: str | None = None,
        with_deleted: bool = False,
    ) -> Kept[T] | None:
        """The thing of this id; a deleted one only where it is asked for, since answers about the past need it."""
        meant = _meant(kind, project_id, thing_id, parent_id, with_deleted)
        if meant is None:
            return None
        with self.metadata.read() as connection:
            row = connection.execute(_rows().where(meant)).one_or_none()
        return None if row is None else _kept(kind, row)

    def get_many(self, kind: type[T], project_id: int, ids: Iterable[str]) -> dict[str, T]:
        """Bodies by id, of deleted things too; unknown ids are not among them."""
        wanted = [thing_id for thing_id in ids if _is_id(thing_id)]
        which = (kept.c.project_id == project_id) & (kept.c.kind == kind.kind) & kept.c.id.in_(wanted)
        with self.metadata.read() as connection:
            return {row.id: _kept(kind, row).body for row in connection.execute(_rows().where(which))}

    def goal(self, project_id: int, goal_id: str) -> Goal | None:
        """A goal by its id."""
        found = self.get(Goal, project_id, goal_id)
        return None if found is None else found.body

    def goal_filter(self, project_id: int, goal_id: str) -> Filter | None:
        """The events that reach a goal; None where there is no such goal, or one that takes time."""
        found = self.goal(project_id, goal_id)
        return None if found is None else reached(found)

    def segment_filter(self, project_id: int, segment_id: str) -> Filter | None:
        """The filter of a segment; None where there is no such segment."""
        found = self.get(Segment, project_id, segment_id)
        return None if found is None else filter_kept(found.body.filters)

    def page(
        self,
        kind: type[T],
        project_id: int,
        *,
        limit: int,
        parent_id: str | None = None,
        after: str | None = None,
        offset: int = 0,
        newest_first: bool = False,
    ) -> KeptPage[T]:
        """Some of the things, in the order they were made; `after` is the `next` of the page before.

        Raises InvalidQuestion for another `after`.
        """
        which = _listed(kind, project_id, parent_id)
        order = kept.c.number.desc() if newest_first else kept.c.number
        query = _rows().where(which).order_by(order).limit(limit + 1).offset(offset)
        if after is not None:
            last = _decode_cursor(after)
            query = query.where(kept.c.number < last if newest_first else kept.c.number > last)
        with self.metadata.read() as connection:
            total = _count(connection, kind, project_id, parent_id)
            found = [_kept(kind, row) for row in connection.execute(query)]
        following = _encode_cursor(found[limit - 1].number) if len(found) > limit else None
        return KeptPage(found[:limit], total, following)

    def all(self, kind: type[T], project_id: int, *, parent_id: str | None = None) -> list[Kept[T]]:
        """All of them, in the order they were made."""
        return self.page(kind, project_id, limit=kind.most, parent_id=parent_id).items

    def count(self, kind: type[Body], project_id: int, *, parent_id: str | None = None) -> int:
        """How many there are; without a parent all of the project's."""
        with self.metadata.read() as connection:
            return _count(connection, kind, project_id, parent_id)

    def counts_below(self, kind: type[Body], project_id: int) -> Mapping[str, int]:
        """How many of a kind each parent has; one without any is not among them."""
        query = select(kept.c.parent_id, func.count()).where(_listed(kind, project_id, None)).group_by(kept.c.parent_id)
        with self.metadata.read() as connection:
            return {parent: int(number) for parent, number in connection.execute(query)}

    def change(
        self,
        kind: type[T],
        project_id: int,
        thing_id: str,
        changed: Callable[[T], T],
        by: Actor | None,
        now: datetime,
        *,
        parent_id: str | None = None,
        secret: bytes | None = None,
    ) -> Kept[T]:
        """Replace a thing by what `changed` makes of it, while nobody else does; a secret replaces the sealed one.

        Without an actor it is the service's own note, which is not in the log and no update for people.
        Raises NotFound, InvalidKept, and what `changed` raises.
        """
        meant = _meant(kind, project_id, thing_id, parent_id, False)
        if meant is None:
            raise NotFound("no such thing")
        with self.metadata.write() as connection:
            account_id = account_of(connection, project_id)
            old = _one(connection, kind, meant)
            body = changed(old.body)
            if by is not None:
                body = checked(body)
                self._check(connection, project_id, body, old.body)
            values: dict[str, Any] = {"body": _encoded(body)}
            if secret is not None:
                values["sealed"] = self._sealer.seal(secret, project_id, thing_id)
            if by is not None:
                values["updated_at"] = now
            connection.execute(kept.update().where(meant).values(values))
            new = replace(old, body=body, updated_at=now if by is not None else old.updated_at)
            if by is not None:
                _note(connection, account_id, new, "updated", by, now)
                _touch(connection, old.parent_id, now)
        return new

    def delete(
        self,
        kind: type[T],
        project_id: int,
        thing_id: str,
        by: Actor,
        now: datetime,
        *,
        parent_id: str | None = None,
    ) -> Kept[T]:
        """Delete a thing and what is below it; its secrets and links are gone at once. Raises NotFound."""
        with self.metadata.write() as connection:
            return self.remove(connection, kind, project_id, thing_id, by, now, parent_id=parent_id)

    def remove(
        self,
        connection: Connection,
        kind: type[T],
        project_id: int,
        thing_id: str,
        by: Actor,
        now: datetime,
        *,
        parent_id: str | None = None,
    ) -> Kept[T]:
        """As `delete`, in a transaction of the caller's."""
        meant = _meant(kind, project_id, thing_id, parent_id, False)
        if meant is None:
            raise NotFound("no such thing")
        account_id = account_of(connection, project_id)
        old = _one(connection, kind, meant)
        gone = {"deleted_at": now, "sealed": None, "digest": None}
        connection.execute(kept.update().where(meant).values(gone))
        below = (kept.c.parent_id == thing_id) & kept.c.deleted_at.is_(None)
        connection.execute(kept.update().where(below).values(gone))
        _note(connection, account_id, old, "deleted", by, now)
        _touch(connection, old.parent_id, now)
        return old

    def put(self, connection: Connection, thing: Kept[T], body: T) -> Kept[T]:
        """The same thing with another body, noted by the service itself in a transaction of the caller's."""
        self.overwrite(connection, thing.id, body)
        return replace(thing, body=body)

    def overwrite(self, connection: Connection, thing_id: str, body: Body) -> None:
        """As `put`, of a thing that may be gone."""
        connection.execute(kept.update().where(kept.c.id == thing_id).values(body=_encoded(body)))

    def find(self, connection: Connection, kind: type[T], project_id: int, thing_id: str) -> Kept[T]:
        """A thing that nobody else changes until the caller's transaction ends. Raises NotFound."""
        account_of(connection, project_id)
        meant = _meant(kind, project_id, thing_id, None, False)
        if meant is None:
            raise NotFound(f"no such {kind.kind}")
        return _one(connection, kind, meant)

    def secret(self, kind: type[Body], project_id: int, thing_id: str) -> bytes | None:
        """The sealed secret of a thing, for whoever uses it; raises SecretUnreadable."""
        meant = _meant(kind, project_id, thing_id, None, False)
        if meant is None:
            return None
        with self.metadata.read() as connection:
            sealed = connection.execute(select(kept.c.sealed).where(meant)).scalar_one_or_none()
        return None if sealed is None else self._sealer.open(sealed, project_id, thing_id)

    def find_linked(self, kind: type[T], link: str) -> Kept[T] | None:
        """The thing that a secret link leads to, whose project is not deleted."""
        meant = (kept.c.digest == key_digest(link)) & (kept.c.kind == kind.kind) & kept.c.deleted_at.is_(None)
        live = kept.c.project_id.in_(select(projects.c.id).where(projects.c.deleted_at.is_(None)))
        with self.metadata.read() as connection:
            row = connection.execute(_rows().where(meant, live)).one_or_none()
        return None if row is None else _kept(kind, row)

    def everywhere(self, kind: type[T]) -> list[Kept[T]]:
        """All of a kind in all projects that are not deleted, for work that goes on by itself."""
        return everywhere(self.metadata, kind)

    def _check(self, connection: Connection, project_id: int, body: Body, old: Body | None) -> None:
        for name, pattern in patterns(body):
            try:
                self._check_pattern(pattern)
            except InvalidQuestion as error:
                raise InvalidKept(name, value=pattern) from error
        known = set() if old is None else set(references(old))
        for reference in references(body):
            if reference in known:  # it may have been deleted since: what was kept stays kept
                continue
            name, kind, thing_id = reference
            which = (kept.c.id == thing_id) & (kept.c.kind == kind) & (kept.c.project_id == project_id)
            query = select(kept.c.body).where(which, kept.c.deleted_at.is_(None))
            found = connection.execute(query).scalar_one_or_none() if _is_id(thing_id) else None
            if found is None:
                raise UnknownReference(name, kind, thing_id)
            # A step is an event, and a goal that takes time is none.
            if isinstance(body, Funnel) and reached(msgspec.json.decode(found, type=Goal)) is None:
                raise InvalidKept(name, value=thing_id)


def everywhere(metadata: Metadata, kind: type[T]) -> list[Kept[T]]:
    """All of a kind in all projects that are not deleted."""
    live = kept.c.project_id.in_(select(projects.c.id).where(projects.c.deleted_at.is_(None)))
    which = (kept.c.kind == kind.kind) & kept.c.deleted_at.is_(None)
    with metadata.read() as connection:
        return [_kept(kind, row) for row in connection.execute(_rows().where(which, live).order_by(kept.c.number))]


def furnish(connection: Connection, project_id: int, now: datetime) -> None:
    """Give a new project its first dashboard, in the transaction that makes the project."""
    dashboard = new_id(Dashboard.prefix)
    things: list[tuple[str, str | None, Body]] = [(dashboard, None, Dashboard(name="Overview"))]
    things += [(new_id(widget.prefix), dashboard, widget) for widget in OVERVIEW]
    rows = [
        {
            "id": named,
            "project_id": project_id,
            "kind": body.kind,
            "parent_id": parent_id,
            "body": _encoded(body),
            "created_at": now,
            "updated_at": now,
        }
        for named, parent_id, body in things
    ]
    connection.execute(kept.insert(), rows)


def forget(connection: Connection, project_id: int) -> None:
    """Drop all that a project kept, and what was to be told of it, for good."""
    connection.execute(kept.delete().where(kept.c.project_id == project_id))
    connection.execute(outbox.delete().where(outbox.c.project_id == project_id))


def _rows() -> Select[Any]:
    source = kept.outerjoin(accounts, accounts.c.id == kept.c.created_by)
    return select(kept, accounts.c.user_id).select_from(source)


def _listed(kind: type[Body], project_id: int, parent_id: str | None) -> ColumnElement[bool]:
    which = (kept.c.project_id == project_id) & (kept.c.kind == kind.kind) & kept.c.deleted_at.is_(None)
    return which if parent_id is None else which & (kept.c.parent_id == parent_id)


def _meant(
    kind: type[Body], project_id: int, thing_id: str, parent_id: str | None, with_deleted: bool
) -> ColumnElement[bool] | None:
    if not _is_id(thing_id):
        return None
    which = (kept.c.id == thing_id) & (kept.c.project_id == project_id) & (kept.c.kind == kind.kind)
    if not with_deleted:
        which &= kept.c.deleted_at.is_(None)
    return which if parent_id is None else which & (kept.c.parent_id == parent_id)


def _is_id(text: str) -> bool:
    """Whether a database takes it as one; NUL and halves of characters are refused by some."""
    return text.isascii() and text.isprintable() and len(text) <= 64


def account_of(connection: Connection, project_id: int) -> int:
    """The account of a project whose things nobody else changes until the transaction ends. Raises NotFound."""
    live = (projects.c.id == project_id) & projects.c.deleted_at.is_(None)
    found = connection.execute(select(projects.c.account_id).where(live).with_for_update()).scalar_one_or_none()
    if found is None:
        raise NotFound(f"no project {project_id}")
    return int(found)


def _one(connection: Connection, kind: type[T], which: ColumnElement[bool]) -> Kept[T]:
    row = connection.execute(_rows().where(which)).one_or_none()
    if row is None:
        raise NotFound(f"no such {kind.kind}")
    return _kept(kind, row)


def _count(connection: Connection, kind: type[Body], project_id: int, parent_id: str | None) -> int:
    query = select(func.count()).select_from(kept).where(_listed(kind, project_id, parent_id))
    return int(connection.execute(query).scalar_one())


def _kept(kind: type[T], row: Row[Any]) -> Kept[T]:
    return Kept(
        id=row.id,
        number=row.number,
        project_id=row.project_id,
        parent_id=row.parent_id,
        body=msgspec.json.decode(row.body, type=kind),
        created_by=row.created_by,
        creator=row.user_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _touch(connection: Connection, parent_id: str | None, now: datetime) -> None:
    """What is below a thing is part of it."""
    if parent_id is not None:
        connection.execute(kept.update().where(kept.c.id == parent_id).values(updated_at=now))


def _prune(connection: Connection, last: Kept[Any]) -> None:
    """Drop the oldest beside the newest of a log, for good."""
    beside = (kept.c.parent_id == last.parent_id) & (kept.c.kind == last.body.kind)
    newest = select(kept.c.number).where(beside).order_by(kept.c.number.desc()).limit(last.body.newest)
    numbers = connection.execute(newest).scalars().all()
    connection.execute(kept.delete().where(beside, kept.c.number < min(numbers)))


def _encoded(body: Body) -> str:
    return msgspec.json.encode(body).decode()


def _note(connection: Connection, account_id: int, thing: Kept[Any], verb: str, by: Actor, now: datetime) -> None:
    body: Body = thing.body
    activity = Activity(account_id, f"{body.kind}.{verb}", body.kind, thing.id, body.label[:320], thing.project_id)
    record(connection, activity, by, now)


def _encode_cursor(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")


def _decode_cursor(text: str) -> int:
    try:
        digits = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidQuestion("Invalid parameter: cursor") from error
    if not digits.isdigit() or len(digits) > 18:
        raise InvalidQuestion("Invalid parameter: cursor")
    return int(digits)
