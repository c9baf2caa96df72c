"""Projects: one row a tenant, with a name for every dialect; deleted ones wait in a trash."""

import uuid
import zoneinfo
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from schemas.projects import NO_SETTINGS, Project, ProjectSettings
from storage.errors import Conflict, NotFound
from storage.meta.activities import COMMAND_LINE, Activity, Actor, record
from storage.meta.engine import Metadata
from storage.meta.kept import forget, furnish
from storage.meta.models import accounts, invitations, keys, projects
from storage.meta.quotas import demand_room
from storage.meta.secrets import new_id

# How long a deleted project can be restored where a surface names no time of its own.
TRASH: Final = timedelta(days=30)

ProjectId = Literal["id", "site_id", "website_id", "token"]


@dataclass(frozen=True, slots=True)
class NewProject:
    """What to make. Without a domain the name stands for it."""

    name: str
    domain: str | None = None
    timezone: str = "UTC"
    public: bool = False
    settings: ProjectSettings = NO_SETTINGS


@dataclass(frozen=True, slots=True)
class ProjectChange:
    """What to change; None leaves it."""

    name: str | None = None
    domain: str | None = None
    timezone: str | None = None
    public: bool | None = None
    settings: ProjectSettings | None = None


def ensure_project(
    metadata: Metadata, account_id: int, name: str, domain: str | None, now: datetime, timezone: str = "UTC"
) -> Project:
    """The account's project of this name, the oldest if several, made if there is none.

    A found one keeps its domain and zone. Without a domain the name stands for it.

    Raises NotFound for an unknown account, ValueError for an impossible value.
    """
    values = _values(NewProject(name, domain, timezone))
    with metadata.write() as connection:
        _lock(connection, account_id)
        same = _live(account_id) & (projects.c.name == values["name"])
        found = connection.execute(select(projects).where(same).order_by(projects.c.id).limit(1)).one_or_none()
        return project_of(found) if found else _insert(connection, account_id, values, COMMAND_LINE, now)


def create_project(
    metadata: Metadata,
    account_id: int,
    new: NewProject,
    by: Actor,
    now: datetime,
    unique: tuple[Literal["name", "domain"], ...] = ("name",),
) -> Project:
    """Make a project; no other of the account may have the same in one of the `unique` columns.

    Raises Conflict, QuotaReached, NotFound for an unknown account, ValueError for an impossible value.
    """
    values = _values(new)
    with metadata.write() as connection:
        _lock(connection, account_id)
        for column in unique:
            _demand_free(connection, account_id, column, values[column])
        held = select(func.count()).where(_live(account_id)).select_from(projects)
        demand_room(connection, metadata.quotas, account_id, "sites", held)
        return _insert(connection, account_id, values, by, now)


def update_project(metadata: Metadata, project_id: int, change: ProjectChange, by: Actor, now: datetime) -> Project:
    """Change a project that is not deleted.

    Raises NotFound, Conflict where the account has another of the new name, ValueError for an impossible value.
    """
    with metadata.write() as connection:
        old = _locked(connection, project_id)
        values = _changed(project_of(old), change)
        if "name" in values:
            _demand_free(connection, old.account_id, "name", values["name"])
        if not values:
            return project_of(old)
        done = projects.update().where(projects.c.id == project_id).values(values).returning(projects)
        row = connection.execute(done).one()
        _record(connection, row, "site.updated", by, now, {"changed": sorted(values)})
    return project_of(row)


def rotate_token(metadata: Metadata, project_id: int, by: Actor, now: datetime) -> Project:
    """Give the project a new ingestion token; the old one is refused from the next request on. Raises NotFound."""
    with metadata.write() as connection:
        _locked(connection, project_id)
        done = projects.update().where(projects.c.id == project_id).values(token=str(uuid.uuid4())).returning(projects)
        row = connection.execute(done).one()
        _record(connection, row, "site.token_rotated", by, now)
    metadata.key_revision.bump()
    return project_of(row)


def delete_project(metadata: Metadata, project_id: int, by: Actor, now: datetime, keep: timedelta = TRASH) -> Project:
    """Put a project into the trash, from where it can be restored for so long; with no time it is lost at once.

    Its keys and token stop working with it. Raises NotFound, Conflict for the last project of the account.
    """
    with metadata.write() as connection:
        old = _locked(connection, project_id)
        others = _live(old.account_id) & (projects.c.id != project_id)
        if connection.execute(select(func.count()).where(others).select_from(projects)).scalar_one() == 0:
            raise Conflict("the last project cannot be deleted")
        done = projects.update().where(projects.c.id == project_id).values(deleted_at=now, purge_at=now + keep)
        row = connection.execute(done.returning(projects)).one()
        _record(connection, row, "site.deleted", by, now, {"restorableUntil": f"{now + keep:%Y-%m-%dT%H:%M:%SZ}"})
    metadata.key_revision.bump()
    return project_of(row)


def restore_project(metadata: Metadata, project_id: int, by: Actor, now: datetime) -> Project:
    """Take a project out of the trash, keys and token included.

    Raises NotFound where it is not deleted or past restoring, Conflict where its name was taken meanwhile.
    """
    with metadata.write() as connection:
        old = _locked(connection, project_id, is_deleted=True)
        if old.purge_at <= now:
            raise NotFound("the time to restore this project is over")
        _demand_free(connection, old.account_id, "name", old.name)
        done = projects.update().where(projects.c.id == project_id).values(deleted_at=None, purge_at=None)
        row = connection.execute(done.returning(projects)).one()
        _record(connection, row, "site.restored", by, now)
    metadata.key_revision.bump()
    return project_of(row)


def deleted_projects(metadata: Metadata, account_id: int, now: datetime) -> list[Project]:
    """What the account can still restore, oldest first."""
    restorable = projects.c.deleted_at.is_not(None) & projects.c.purged_at.is_(None) & (projects.c.purge_at > now)
    query = select(projects).where(projects.c.account_id == account_id, restorable).order_by(projects.c.id)
    with metadata.read() as connection:
        return [project_of(row) for row in connection.execute(query)]


def projects_to_purge(metadata: Metadata, now: datetime) -> list[int]:
    """The numbers of projects whose rows must leave the lake now."""
    due = (projects.c.purge_at <= now) & projects.c.purged_at.is_(None)
    with metadata.read() as connection:
        return list(connection.execute(select(projects.c.id).where(due).order_by(projects.c.id)).scalars())


def days_kept(metadata: Metadata) -> dict[int, int]:
    """How many days of events each project keeps that says so, by its number."""
    with metadata.read() as connection:
        rows = connection.execute(select(projects.c.id, projects.c.settings).where(projects.c.purged_at.is_(None)))
        known = {row.id: msgspec.json.decode(row.settings, type=ProjectSettings) for row in rows}
    return {number: kept.retention_days for number, kept in known.items() if kept.retention_days is not None}


def finish_purge(metadata: Metadata, project_id: int, now: datetime) -> None:
    """Forget a project whose rows have left the lake: its names, keys, invitations and all it kept; safe to repeat.

    The row stays, so that its number is never given to another.
    """
    with metadata.write() as connection:
        due = (projects.c.id == project_id) & projects.c.deleted_at.is_not(None) & projects.c.purged_at.is_(None)
        blank = {"purged_at": now, "name": "", "domain": "", "settings": "{}", "public": False}
        row = connection.execute(projects.update().where(due).values(blank).returning(projects)).one_or_none()
        if row is None:
            return
        live = (keys.c.project_id == project_id) & keys.c.revoked_at.is_(None)
        connection.execute(keys.update().where(live).values(revoked_at=now))
        open_ = (invitations.c.project_id == project_id) & invitations.c.accepted_at.is_(None)
        connection.execute(invitations.update().where(open_, invitations.c.ended_at.is_(None)).values(ended_at=now))
        forget(connection, project_id)
        _record(connection, row, "site.purged", COMMAND_LINE, now)
    metadata.key_revision.bump()


def project(metadata: Metadata, project_id: int) -> Project | None:
    """The project of this number, unless it is deleted."""
    return find_project(metadata, "id", project_id)


def find_project(metadata: Metadata, column: ProjectId, value: int | str) -> Project | None:
    """The project of this id, whichever dialect's it is, unless it is deleted."""
    meant = projects.c[column] == value
    with metadata.read() as connection:
        row = connection.execute(select(projects).where(meant, projects.c.deleted_at.is_(None))).one_or_none()
    return project_of(row) if row else None


def project_referred(metadata: Metadata, reference: str) -> Project | None:
    """The project that a number, a site id or a website id names, unless it is deleted."""
    if reference.startswith("site_"):
        return find_project(metadata, "site_id", reference) if _is_text(reference) else None
    if reference.isascii() and reference.isdecimal():
        return find_project(metadata, "id", int(reference)) if len(reference) < 19 else None
    return find_project(metadata, "website_id", reference.lower()) if _is_text(reference) else None


def deleted_project(metadata: Metadata, reference: str) -> Project | None:
    """The project in the trash that a number, a site id or a website id names."""
    same = or_(
        projects.c.site_id == reference,
        projects.c.website_id == reference.lower(),
        *([projects.c.id == int(reference)] if reference.isascii() and reference.isdecimal() else []),
    )
    if len(reference) > 36 or not _is_text(reference) or (reference.isdecimal() and len(reference) > 18):
        return None
    trashed = and_(same, projects.c.deleted_at.is_not(None), projects.c.purged_at.is_(None))
    with metadata.read() as connection:
        row = connection.execute(select(projects).where(trashed)).one_or_none()
    return project_of(row) if row else None


def list_projects(metadata: Metadata, account_id: int | None) -> list[Project]:
    """The account's projects, or everybody's, oldest first; without deleted ones."""
    query = select(projects).where(projects.c.deleted_at.is_(None)).order_by(projects.c.id)
    if account_id is not None:
        query = query.where(projects.c.account_id == account_id)
    with metadata.read() as connection:
        return [project_of(row) for row in connection.execute(query)]


def plan_of(metadata: Metadata, project_id: int) -> tuple[int, str] | None:
    """The account of a project and its plan."""
    query = select(accounts.c.id, accounts.c.plan).join(projects, projects.c.account_id == accounts.c.id)
    with metadata.read() as connection:
        row = connection.execute(query.where(projects.c.id == project_id)).one_or_none()
    return None if row is None else (row.id, row.plan)


def known_project_ids(metadata: Metadata) -> frozenset[int]:
    """The numbers of all projects, those in the trash included, since their events may come back; one index scan."""
    with metadata.read() as connection:
        return frozenset(connection.execute(select(projects.c.id).where(projects.c.purged_at.is_(None))).scalars())


def project_of(row: Row[Any]) -> Project:
    """The project of a row that holds all its columns."""
    return Project(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        domain=row.domain,
        timezone=row.timezone,
        site_id=row.site_id,
        website_id=row.website_id,
        token=row.token,
        public=row.public,
        settings=msgspec.json.decode(row.settings, type=ProjectSettings),
        created_at=row.created_at,
        deleted_at=row.deleted_at,
        purge_at=row.purge_at,
    )


def _lock(connection: Connection, account_id: int) -> None:
    # The account's row is the lock that keeps two processes from making the same project
    # (SQLite has excluded the other by now).
    owner = select(accounts.c.id).where(accounts.c.id == account_id).with_for_update()
    if connection.execute(owner).one_or_none() is None:
        raise NotFound(f"no account {account_id}")


def _locked(connection: Connection, project_id: int, is_deleted: bool = False) -> Row[Any]:
    """The row of a project, with its account's row locked."""
    in_trash = projects.c.deleted_at.is_not(None) & projects.c.purged_at.is_(None)
    state = in_trash if is_deleted else projects.c.deleted_at.is_(None)
    query = select(projects).where(projects.c.id == project_id, state)
    row = connection.execute(query).one_or_none()
    if row is not None:
        _lock(connection, row.account_id)
        row = connection.execute(query).one_or_none()  # as it is now that nobody else may change it
    if row is None:
        raise NotFound(f"no {'deleted ' if is_deleted else ''}project {project_id}")
    return row


def _live(account_id: int) -> ColumnElement[bool]:
    return and_(projects.c.account_id == account_id, projects.c.deleted_at.is_(None))


def _demand_free(connection: Connection, account_id: int, column: Literal["name", "domain"], value: str) -> None:
    same = _live(account_id) & (projects.c[column] == value)
    if connection.execute(select(projects.c.id).where(same).limit(1)).one_or_none() is not None:
        raise Conflict(f"a project with this {column} exists already")


def _insert(connection: Connection, account_id: int, values: dict[str, Any], by: Actor, now: datetime) -> Project:
    row = {
        **values,
        "account_id": account_id,
        "site_id": new_id("site"),
        "website_id": str(uuid.uuid4()),
        "token": str(uuid.uuid4()),
        "created_at": now,
    }
    made = connection.execute(projects.insert().values(row).returning(projects)).one()
    _record(connection, made, "site.created", by, now)
    furnish(connection, made.id, now)
    return project_of(made)


def _values(new: NewProject) -> dict[str, Any]:
    name = _text(new.name, "project name")
    return {
        "name": name,
        "domain": _domain(new.domain, name),
        "timezone": _zone(new.timezone),
        "public": new.public,
        "settings": _settings(new.settings),
    }


def _changed(old: Project, change: ProjectChange) -> dict[str, Any]:
    """The columns that a change gives another value."""
    values: dict[str, Any] = {}
    if change.name is not None and (name := _text(change.name, "project name")) != old.name:
        values["name"] = name
    if change.domain is not None and (domain := _domain(change.domain, old.name)) != old.domain:
        values["domain"] = domain
    if change.timezone is not None and (zone := _zone(change.timezone)) != old.timezone:
        values["timezone"] = zone
    if change.public is not None and change.public != old.public:
        values["public"] = change.public
    if change.settings is not None and change.settings != old.settings:
        values["settings"] = _settings(change.settings)
    return values


def _domain(domain: str | None, name: str) -> str:
    return _text(domain, "domain").lower() if domain and domain.strip() else name


def _zone(timezone: str) -> str:
    if timezone not in zoneinfo.available_timezones():
        raise ValueError(f"{timezone!r} is no IANA time zone; write one like Europe/Berlin")
    return timezone


def _settings(settings: ProjectSettings) -> str:
    if settings.retention_days is not None and not 1 <= settings.retention_days <= 36_500:
        raise ValueError("retentionDays is a number from 1 to 36500")
    for listed in (settings.exclude_paths, settings.ignore_params, settings.allowed_origins):
        if len(listed) > 100 or not all(text.isprintable() and 0 < len(text) <= 255 for text in listed):
            raise ValueError("a list in the settings has at most 100 texts of 1 to 255 printable characters")
    return msgspec.json.encode(settings).decode()


def _text(value: str, what: str) -> str:
    value = value.strip()
    if not value or len(value) > 255 or not value.isprintable():
        raise ValueError(f"the {what} needs 1 to 255 printable characters")
    return value


def _is_text(value: str) -> bool:
    """Whether a database takes it; NUL and halves of characters are refused by some."""
    return value.isprintable() and len(value) <= 64


def _record(
    connection: Connection, row: Row[Any], action: str, by: Actor, now: datetime, metadata: dict[str, Any] | None = None
) -> None:
    activity = Activity(row.account_id, action, "site", row.site_id, row.name, row.id, metadata or {})
    record(connection, activity, by, now)
