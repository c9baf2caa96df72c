"""Teams: the people who work on an account's projects, their roles, and the invitations to join them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, distinct, func, or_, select

from schemas.projects import Project, Role
from storage.errors import Conflict, NotFound, Refused
from storage.meta.accounts import Account, ProfileChange, account_of, check_new_password, ensure_account, normalised
from storage.meta.activities import Activity, Actor, record
from storage.meta.engine import Metadata
from storage.meta.models import accounts, invitations, logins, members, projects
from storage.meta.projects import project_of, project_referred
from storage.meta.quotas import demand_room
from storage.meta.secrets import key_digest, new_id, new_token

INVITATION_LIFETIME: Final = timedelta(days=7)

_LONGEST_MESSAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a team. Without a project the role holds for all of the account's projects."""

    person: Account
    role: Role
    project_id: int | None
    joined_at: datetime
    last_active_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation; open until it is accepted, has ended (declined, withdrawn) or expired."""

    id: str
    account_id: int
    project_id: int | None
    email: str
    role: Role
    message: str
    inviter_id: int | None
    invited_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    ended_at: datetime | None

    def is_open(self, now: datetime) -> bool:
        return self.accepted_at is None and self.ended_at is None and self.expires_at > now


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation just made, and the only sight of its secret."""

    invitation: Invitation
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Invited:
    """Whom to invite to what."""

    account_id: int
    email: str
    role: Role
    project_id: int | None = None
    message: str = ""


def role_on(metadata: Metadata, person_id: int, project: Project) -> Role | None:
    """What a person may do in a project; None if nothing."""
    if project.account_id == person_id:
        return Role.OWNER
    theirs = _rows_for(project.account_id, person_id, project.id)
    with metadata.read() as connection:
        return _highest(connection.execute(select(members.c.role).where(theirs)).scalars().all())


def role_in(metadata: Metadata, person_id: int, account_id: int) -> Role | None:
    """What a person may do in all projects of an account and in its team; None if nothing."""
    if account_id == person_id:
        return Role.OWNER
    theirs = and_(members.c.account_id == account_id, members.c.person_id == person_id, members.c.project_id.is_(None))
    with metadata.read() as connection:
        return _highest(connection.execute(select(members.c.role).where(theirs)).scalars().all())


def find_reachable(metadata: Metadata, reference: str, person_id: int) -> tuple[Project, Role | None] | None:
    """The project that a number, a site id or a website id names, and the person's role there, if any."""
    found = project_referred(metadata, reference)
    return None if found is None else (found, role_on(metadata, person_id, found))


def reachable_projects(metadata: Metadata, person_id: int) -> list[tuple[Project, Role]]:
    """All projects a person may see, their own first, each with the role there; by number."""
    shared = (
        (members.c.account_id == projects.c.account_id)
        & (members.c.person_id == person_id)
        & or_(members.c.project_id.is_(None), members.c.project_id == projects.c.id)
    )
    query = (
        select(projects, members.c.role)
        .select_from(projects.outerjoin(members, shared))
        .where(projects.c.deleted_at.is_(None))
        .where(or_(projects.c.account_id == person_id, members.c.id.is_not(None)))
        .order_by(projects.c.account_id != person_id, projects.c.id)
    )
    found: dict[int, tuple[Project, Role]] = {}
    with metadata.read() as connection:
        for row in connection.execute(query):
            role = Role.OWNER if row.account_id == person_id else Role(row.role)
            if row.id not in found or role.includes(found[row.id][1]):
                found[row.id] = (project_of(row), role)
    return list(found.values())


def list_members(metadata: Metadata, account_id: int, project_id: int | None = None) -> list[Member]:
    """The owner, then everybody with a role in the account, or in the one project."""
    seen = select(func.max(logins.c.last_active_at)).where(logins.c.account_id == accounts.c.id).scalar_subquery()
    owner = select(accounts, seen.label("seen")).where(accounts.c.id == account_id)
    joined = (members.c.role, members.c.project_id, members.c.joined_at)
    query = (
        select(accounts, seen.label("seen"), *joined)
        .join(members, members.c.person_id == accounts.c.id)
        .where(members.c.account_id == account_id)
        .order_by(members.c.id)
    )
    if project_id is not None:
        query = query.where(or_(members.c.project_id.is_(None), members.c.project_id == project_id))
    with metadata.read() as connection:
        first = connection.execute(owner).one()
        rows = connection.execute(query).all()
    found = [Member(account_of(first), Role.OWNER, None, first.created_at, first.seen)]
    return found + [Member(account_of(row), Role(row.role), row.project_id, row.joined_at, row.seen) for row in rows]


def set_role(
    metadata: Metadata, account_id: int, user_id: str, project_id: int | None, role: Role, by: Actor, now: datetime
) -> Member:
    """Give a member another role; raises NotFound, Refused for the owner or the role of one."""
    _demand_no_owner(role)
    with metadata.write() as connection:
        person = _person(connection, account_id, user_id, "the owner's role cannot be changed")
        mine = _exactly(account_id, person.id, project_id)
        row = connection.execute(members.update().where(mine).values(role=role.value).returning(members)).one_or_none()
        if row is None:
            raise NotFound("no member has this id")
        told = {"role": role.value}
        record(connection, _of_team(account_id, "role_changed", person, project_id, told), by, now)
    return Member(person, role, project_id, row.joined_at)


def remove_member(
    metadata: Metadata, account_id: int, user_id: str, project_id: int | None, by: Actor, now: datetime
) -> None:
    """Take a role away: the one for the project, or the one for all; raises NotFound, Refused for the owner."""
    with metadata.write() as connection:
        person = _person(connection, account_id, user_id, "the owner cannot be removed")
        if connection.execute(members.delete().where(_exactly(account_id, person.id, project_id))).rowcount == 0:
            raise NotFound("no member has this id")
        record(connection, _of_team(account_id, "removed", person, project_id), by, now)


def invite(metadata: Metadata, invited: Invited, by: Actor, now: datetime) -> NewInvitation:
    """Invite an address; an open invitation of the same kind is replaced.

    Raises Conflict where they are in the team already, Refused for the role of an owner, ValueError for an impossible
    address or message.
    """
    email = normalised(invited.email)
    _demand_no_owner(invited.role)
    if len(invited.message) > _LONGEST_MESSAGE or "\0" in invited.message:
        raise ValueError(f"the message has at most {_LONGEST_MESSAGE} characters")
    secret = new_token()
    row = {
        "id": new_id("invite"),
        "digest": key_digest(secret),
        "account_id": invited.account_id,
        "project_id": invited.project_id,
        "email": email,
        "role": invited.role.value,
        "message": invited.message,
        "inviter_id": by.account_id,
        "invited_at": now,
        "expires_at": now + INVITATION_LIFETIME,
    }
    with metadata.write() as connection:
        _demand_outsider(connection, invited, email)
        same = _pending(now) & (invitations.c.account_id == invited.account_id) & (invitations.c.email == email)
        same &= _same_project(invitations.c.project_id, invited.project_id)
        connection.execute(invitations.update().where(same).values(ended_at=now))
        asked = select(func.count()).select_from(invitations)
        there = select(func.count(distinct(members.c.person_id))).where(members.c.account_id == invited.account_id)
        asked = asked.where(_pending(now) & (invitations.c.account_id == invited.account_id))
        # The owner is one of the team.
        held = select(1 + there.scalar_subquery() + asked.scalar_subquery())
        demand_room(connection, metadata.quotas, invited.account_id, "team", held)
        made = _invitation(connection.execute(invitations.insert().values(row).returning(invitations)).one())
        _record_invitation(connection, made, "invited", by, now)
    return NewInvitation(made, secret)


def list_invitations(
    metadata: Metadata, account_id: int, now: datetime, project_id: int | None = None
) -> list[Invitation]:
    """The open invitations to an account, or to one project of it, oldest first."""
    query = select(invitations).where(_pending(now), invitations.c.account_id == account_id)
    if project_id is not None:
        query = query.where(or_(invitations.c.project_id.is_(None), invitations.c.project_id == project_id))
    with metadata.read() as connection:
        return [_invitation(row) for row in connection.execute(query.order_by(invitations.c.invited_at))]


def find_invitation(metadata: Metadata, secret: str) -> Invitation | None:
    """The invitation of a secret, whatever became of it."""
    query = select(invitations).where(invitations.c.digest == key_digest(secret))
    with metadata.read() as connection:
        row = connection.execute(query).one_or_none()
    return _invitation(row) if row else None


def accept_invitation(metadata: Metadata, secret: str, person: Account, by: Actor, now: datetime) -> Member:
    """Join; a role that the person has there already is replaced.

    Raises NotFound where the invitation is not open, Refused where it is for another address.
    """
    with metadata.write() as connection:
        found = _close(connection, secret, person.email, {"accepted_at": now}, now)
        if found.account_id == person.id:
            raise Refused("the owner needs no invitation")
        connection.execute(members.delete().where(_exactly(found.account_id, person.id, found.project_id)))
        row = {
            "account_id": found.account_id,
            "person_id": person.id,
            "project_id": found.project_id,
            "role": found.role.value,
            "joined_at": now,
        }
        connection.execute(members.insert().values(row))
        unverified = (accounts.c.id == person.id) & accounts.c.email_verified_at.is_(None)
        connection.execute(accounts.update().where(unverified).values(email_verified_at=now))
        _record_invitation(connection, found, "joined", by, now)
    return Member(person, found.role, found.project_id, now)


def decline_invitation(metadata: Metadata, secret: str, email: str, by: Actor, now: datetime) -> None:
    """Say no; raises as `accept_invitation`."""
    with metadata.write() as connection:
        found = _close(connection, secret, email, {"ended_at": now}, now)
        _record_invitation(connection, found, "declined", by, now)


def withdraw_invitation(metadata: Metadata, account_id: int, invitation_id: str, by: Actor, now: datetime) -> None:
    """Take an open invitation of the account back; raises NotFound."""
    with metadata.write() as connection:
        meant = _pending(now) & (invitations.c.account_id == account_id) & (invitations.c.id == invitation_id)
        ended = invitations.update().where(meant).values(ended_at=now).returning(invitations)
        row = connection.execute(ended).one_or_none()
        if row is None:
            raise NotFound("no open invitation has this id")
        _record_invitation(connection, _invitation(row), "invitation_withdrawn", by, now)


def join_with_password(
    metadata: Metadata, secret: str, password: str, profile: ProfileChange, by: Actor, now: datetime
) -> Member:
    """Make the account of an invited address and join with it: who has the secret reads that address's mail.

    Raises as `accept_invitation`, Refused where the address has an account with another password, ValueError.
    """
    found = find_invitation(metadata, secret)
    if found is None or not found.is_open(now):
        raise NotFound("this invitation is unknown, used or too old")
    check_new_password(password)
    person = ensure_account(metadata, found.email, password, now, profile)
    return accept_invitation(metadata, secret, person, Actor(person.id, None, by.masked_address, by.agent), now)


def _close(connection: Connection, secret: str, email: str, values: dict[str, datetime], now: datetime) -> Invitation:
    meant = invitations.c.digest == key_digest(secret)
    row = connection.execute(select(invitations).where(meant, _pending(now)).with_for_update()).one_or_none()
    if row is None:
        raise NotFound("this invitation is unknown, used or too old")
    if row.email != email:
        raise Refused("this invitation is for a different e-mail address")
    return _invitation(
        connection.execute(invitations.update().where(meant).values(values).returning(invitations)).one()
    )


def _demand_no_owner(role: Role) -> None:
    if role is Role.OWNER:
        raise Refused("an account has one owner; choose admin, member or viewer")


def _demand_outsider(connection: Connection, invited: Invited, email: str) -> None:
    person = connection.execute(select(accounts.c.id).where(accounts.c.email == email)).scalar_one_or_none()
    if person is None:
        return
    known = select(members.c.id).where(_exactly(invited.account_id, person, invited.project_id))
    if person == invited.account_id or connection.execute(known.limit(1)).one_or_none() is not None:
        raise Conflict("they are in the team already")


def _person(connection: Connection, account_id: int, user_id: str, refusal: str) -> Account:
    row = connection.execute(select(accounts).where(accounts.c.user_id == user_id)).one_or_none()
    if row is None:
        raise NotFound("no member has this id")
    if row.id == account_id:
        raise Refused(refusal)
    return account_of(row)


def _rows_for(account_id: int, person_id: int, project_id: int) -> ColumnElement[bool]:
    here = or_(members.c.project_id.is_(None), members.c.project_id == project_id)
    return and_(members.c.account_id == account_id, members.c.person_id == person_id, here)


def _exactly(account_id: int, person_id: int, project_id: int | None) -> ColumnElement[bool]:
    same = _same_project(members.c.project_id, project_id)
    return and_(members.c.account_id == account_id, members.c.person_id == person_id, same)


def _same_project(column: ColumnElement[Any], project_id: int | None) -> ColumnElement[bool]:
    return column.is_(None) if project_id is None else column == project_id


def _pending(now: datetime) -> ColumnElement[bool]:
    return and_(invitations.c.accepted_at.is_(None), invitations.c.ended_at.is_(None), invitations.c.expires_at > now)


def _highest(names: Any) -> Role | None:
    roles = [Role(name) for name in names]
    return next((role for role in reversed(Role) if role in roles), None)


def _invitation(row: Row[Any]) -> Invitation:
    return Invitation(
        id=row.id,
        account_id=row.account_id,
        project_id=row.project_id,
        email=row.email,
        role=Role(row.role),
        message=row.message,
        inviter_id=row.inviter_id,
        invited_at=row.invited_at,
        expires_at=row.expires_at,
        accepted_at=row.accepted_at,
        ended_at=row.ended_at,
    )


def _of_team(
    account_id: int, what: str, person: Account, project_id: int | None, metadata: dict[str, Any] | None = None
) -> Activity:
    return Activity(account_id, f"team.{what}", "user", person.user_id, person.email, project_id, metadata or {})


def _record_invitation(connection: Connection, about: Invitation, what: str, by: Actor, now: datetime) -> None:
    told = {"role": about.role.value}
    activity = Activity(about.account_id, f"team.{what}", "invitation", about.id, about.email, about.project_id, told)
    record(connection, activity, by, now)
