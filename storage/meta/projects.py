"""Projects: one row a tenant, with a name for every dialect."""

import uuid
import zoneinfo
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from schemas.projects import Project
from storage.errors import NotFound
from storage.meta.engine import Metadata
from storage.meta.models import accounts, projects
from storage.meta.secrets import new_id


def ensure_project(
    metadata: Metadata, account_id: int, name: str, domain: str | None, now: datetime, timezone: str = "UTC"
) -> Project:
    """The account's project of this name, the oldest if several, made if there is none.

    A found one keeps its domain and zone. Without a domain the name stands for it.

    Raises NotFound for an unknown account, ValueError for an impossible value.
    """
    name = _text(name, "project name")
    domain = _text(domain, "domain").lower() if domain and domain.strip() else name
    if timezone not in zoneinfo.available_timezones():
        raise ValueError(f"{timezone!r} is no IANA time zone; write one like Europe/Berlin")
    with metadata.write() as connection:
        # The account's row is the lock that keeps two processes from making the same project
        # (SQLite has excluded the other by now).
        owner = select(accounts.c.id).where(accounts.c.id == account_id).with_for_update()
        if connection.execute(owner).one_or_none() is None:
            raise NotFound(f"no account {account_id}")
        same = (projects.c.account_id == account_id) & (projects.c.name == name)
        found = connection.execute(select(projects).where(same).order_by(projects.c.id).limit(1)).one_or_none()
        if found is None:
            row = {
                "account_id": account_id,
                "name": name,
                "domain": domain,
                "timezone": timezone,
                "public": False,
                "site_id": new_id("site"),
                "website_id": str(uuid.uuid4()),
                "token": str(uuid.uuid4()),
                "created_at": now,
            }
            found = connection.execute(projects.insert().values(row).returning(projects)).one()
    return _project(found)


def project(metadata: Metadata, project_id: int) -> Project | None:
    """The project of this number."""
    with metadata.read() as connection:
        row = connection.execute(select(projects).where(projects.c.id == project_id)).one_or_none()
    return _project(row) if row else None


def list_projects(metadata: Metadata, account_id: int | None) -> list[Project]:
    """The account's projects, or everybody's, oldest first."""
    query = select(projects).order_by(projects.c.id)
    if account_id is not None:
        query = query.where(projects.c.account_id == account_id)
    with metadata.read() as connection:
        return [_project(row) for row in connection.execute(query)]


def known_project_ids(metadata: Metadata) -> frozenset[int]:
    """The numbers of all projects; one index scan."""
    with metadata.read() as connection:
        return frozenset(connection.execute(select(projects.c.id)).scalars())


def _text(value: str, what: str) -> str:
    value = value.strip()
    if not value or len(value) > 255 or not value.isprintable():
        raise ValueError(f"the {what} needs 1 to 255 printable characters")
    return value


def _project(row: Row[Any]) -> Project:
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
    )
