"""The log of changes: who did what to which thing, and from where; written in the transaction of the change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, func, select

from schemas.notices import Notice, notice_id
from storage.meta.engine import Metadata
from storage.meta.models import accounts, activities
from storage.meta.posting import put_notices, waiting_hooks
from storage.meta.secrets import new_id

LONGEST_AGENT: Final = 255
EVENT: Final = "activity"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something: a person, or a key for its account; neither is the command line."""

    account_id: int | None = None
    key_id: str | None = None
    masked_address: str = ""
    agent: str = ""


COMMAND_LINE: Final = Actor()


@dataclass(frozen=True, slots=True)
class Activity:
    """One change; the part of `action` before its dot is its type: `site.created` is of type `site`."""

    account_id: int
    action: str
    target_type: str
    target_id: str
    target_name: str = ""
    project_id: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the log names them."""

    user_id: str
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of the log. `number` orders the lines, and pages are asked for by it."""

    id: str
    number: int
    at: datetime
    activity: Activity
    actor: Person | None
    key_id: str | None
    masked_address: str
    agent: str

    @property
    def type(self) -> str:
        return self.activity.action.partition(".")[0]


@dataclass(frozen=True, slots=True)
class ActivityFilter:
    """Which lines are meant; `type` is the part of the action before its dot, `user_id` the actor's."""

    project_id: int | None = None
    type: str | None = None
    action: str | None = None
    user_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """Lines, newest first, the number of all that match the filter, and that of the oldest of them."""

    items: list[Recorded]
    total: int
    oldest: int | None


def record(connection: Connection, activity: Activity, by: Actor, now: datetime) -> None:
    """Add a line; call it in the transaction of the change, so that neither is kept without the other."""
    named = new_id("activity")
    row = {
        "id": named,
        "account_id": activity.account_id,
        "project_id": activity.project_id,
        "at": now,
        "action": activity.action,
        "actor_id": by.account_id,
        "key_id": by.key_id,
        "target_type": activity.target_type,
        "target_id": activity.target_id,
        "target_name": activity.target_name,
        "metadata": msgspec.json.encode(activity.metadata).decode(),
        "masked_address": by.masked_address,
        "agent": by.agent[:LONGEST_AGENT],
    }
    connection.execute(activities.insert().values(row))
    if activity.project_id is not None:
        _tell(connection, named, activity, activity.project_id, now)


def _tell(connection: Connection, activity_id: str, activity: Activity, project_id: int, now: datetime) -> None:
    """The project's webhooks; who did it stands in the log, which not everybody may read who keeps a webhook."""
    data = {
        "activityId": activity_id,
        "type": activity.action.partition(".")[0],
        "action": activity.action,
        "target": {"type": activity.target_type, "id": activity.target_id, "name": activity.target_name},
    }
    hooks = waiting_hooks(connection, project_id, EVENT)
    notices = [Notice(notice_id(activity_id, hook), hook, project_id, EVENT, now, data) for hook in hooks]
    put_notices(connection, notices)


def list_activities(
    metadata: Metadata,
    account_id: int,
    wanted: ActivityFilter,
    *,
    limit: int,
    offset: int = 0,
    before: int | None = None,
) -> ActivityPage:
    """A page of the account's log, newest first: the lines after `offset`, or those older than number `before`."""
    matching = _conditions(account_id, wanted)
    source = activities.outerjoin(accounts, accounts.c.id == activities.c.actor_id)
    people = (accounts.c.user_id, accounts.c.email, accounts.c.first_name, accounts.c.last_name)
    page = select(activities, *people).select_from(source).where(*matching).order_by(activities.c.number.desc())
    if before is not None:
        page = page.where(activities.c.number < before)
    with metadata.read() as connection:
        counted = select(func.count(), func.min(activities.c.number)).select_from(source).where(*matching)
        total, oldest = connection.execute(counted).one()
        rows = connection.execute(page.limit(limit).offset(offset)).all()
    return ActivityPage([_recorded(row) for row in rows], total, oldest)


def mask_address(address: str | None) -> str:
    """What is kept of an address: its first half, enough to tell home from work and not to find anybody."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return ""
    if parsed.version == 4:
        return ".".join(str(parsed).split(".")[:2]) + ".*.*"
    return ":".join(part.lstrip("0") or "0" for part in parsed.exploded.split(":")[:2]) + ":*"


def full_name(first: str, last: str) -> str:
    """Both names as one text."""
    return f"{first} {last}".strip()


def _conditions(account_id: int, wanted: ActivityFilter) -> list[ColumnElement[bool]]:
    found = [activities.c.account_id == account_id]
    if wanted.project_id is not None:
        found.append(activities.c.project_id == wanted.project_id)
    if wanted.type is not None:
        found.append(activities.c.action.startswith(f"{wanted.type}.", autoescape=True))
    if wanted.action is not None:
        found.append(activities.c.action == wanted.action)
    if wanted.user_id is not None:
        found.append(accounts.c.user_id == wanted.user_id)
    if wanted.start is not None:
        found.append(activities.c.at >= wanted.start)
    if wanted.end is not None:
        found.append(activities.c.at < wanted.end)
    return found


def _recorded(row: Row[Any]) -> Recorded:
    return Recorded(
        id=row.id,
        number=row.number,
        at=row.at,
        activity=Activity(
            account_id=row.account_id,
            action=row.action,
            target_type=row.target_type,
            target_id=row.target_id,
            target_name=row.target_name,
            project_id=row.project_id,
            metadata=msgspec.json.decode(row.metadata),
        ),
        actor=Person(row.user_id, row.email, full_name(row.first_name, row.last_name)) if row.user_id else None,
        key_id=row.key_id,
        masked_address=row.masked_address,
        agent=row.agent,
    )
