"""`/api/v1/members` and `/api/v1/invites`: who works on an account's projects, and who is asked to."""

from typing import Any

from fastapi import APIRouter, Request, Response

from api.auth.acting import blocking, change
from api.auth.keys import credential, session
from api.dependencies import json_body
from api.errors import Problem, forbidden, not_found
from api.openapi import ERRORS
from api.routes.desk import (
    CONFLICTING,
    OPENED,
    Desk,
    Fields,
    answer,
    example,
    fields,
    instant,
    listed,
    nothing,
    now,
    shows,
    shows_page,
)
from schemas.projects import Key, Role, Scope
from storage.meta.accounts import Account, ProfileChange, account
from storage.meta.team import (
    Invitation,
    Invited,
    Member,
    accept_invitation,
    decline_invitation,
    invite,
    join_with_password,
    list_invitations,
    list_members,
    remove_member,
    set_role,
    withdraw_invitation,
)

_MEMBER = {
    "id": "user_a8Kx92mNqP3f",
    "email": "ada@example.org",
    "name": "Ada Lovelace",
    "picture": None,
    "role": "admin",
    "projectId": 1,
    "joinedAt": "2026-02-22T10:30:00Z",
    "lastActiveAt": None,
}
_INVITE = {
    "id": "invite_a8Kx92mNqP3f",
    "email": "eve@example.org",
    "role": "viewer",
    "projectId": 1,
    "status": "pending",
    "message": "",
    "invitedAt": "2026-02-22T10:30:00Z",
    "expiresAt": "2026-03-01T10:30:00Z",
}
_NULLABLE = frozenset({"picture", "projectId", "lastActiveAt"})


class _RoleChange(Fields, frozen=True):
    role: Role
    project_id: int | str | None = None


class _New(Fields, frozen=True):
    email: str
    role: Role
    project_id: int | str | None = None
    message: str = ""


class _Reply(Fields, frozen=True):
    token: str
    password: str | None = None
    first_name: str | None = None
    last_name: str | None = None


def create_router(desk: Desk) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["team"])

    @router.get("/members", responses=shows_page(_MEMBER, nullable=_NULLABLE))
    async def members(request: Request, projectId: str | None = None) -> Response:  # noqa: N803  # as callers write it
        """The owner and everybody with a role in the account, or in one project."""
        key = await desk.caller(request, Scope.READ)
        account_id, project_id = await desk.account_of(key, projectId, Role.VIEWER)
        return listed(request, await blocking(list_members, desk.metadata, account_id, project_id), _member)

    @router.patch(
        "/members/{user_id}",
        openapi_extra=example({"role": "viewer"}, _RoleChange),
        responses=shows(_MEMBER, nullable=_NULLABLE),
    )
    async def change_role(request: Request, user_id: str) -> Response:
        """Give a member another role; the owner's stays."""
        key, sent = await desk.with_fields(request, Scope.ADMIN, _RoleChange)
        account_id, project_id = await _account(desk, key, sent.project_id, Role.OWNER)
        by = desk.actor(request, key)
        person = _printable(user_id)
        changed = await change(set_role, desk.metadata, account_id, person, project_id, sent.role, by, now())
        return answer(_member(changed))

    @router.delete("/members/{user_id}", status_code=204)
    async def remove(request: Request, user_id: str, projectId: str | None = None) -> Response:  # noqa: N803
        """Take a role away: the one for the project, or without one the role for all."""
        key = await desk.caller(request, Scope.ADMIN)
        account_id, project_id = await desk.account_of(key, projectId, Role.ADMIN)
        by = desk.actor(request, key)
        await change(remove_member, desk.metadata, account_id, _printable(user_id), project_id, by, now())
        return nothing()

    @router.get("/invites", responses=shows_page(_INVITE, nullable=_NULLABLE))
    async def invites(request: Request, projectId: str | None = None) -> Response:  # noqa: N803
        """Invitations that nobody answered yet."""
        key = await desk.caller(request, Scope.ADMIN)
        account_id, project_id = await desk.account_of(key, projectId, Role.ADMIN)
        return listed(request, await blocking(list_invitations, desk.metadata, account_id, now(), project_id), _invite)

    @router.post(
        "/invites",
        status_code=201,
        openapi_extra=CONFLICTING | example({"email": "eve@example.org", "role": "viewer", "projectId": 1}, _New),
        responses=shows(_INVITE | {"url": "https://gauge.example.org/invite?token=3q2-7w..."}, 201, nullable=_NULLABLE),
    )
    async def create_invite(request: Request) -> Response:
        """Invite an address by mail, for seven days; the link is shown this once, for where no mail is sent."""
        key, sent = await desk.with_fields(request, Scope.ADMIN, _New)
        account_id, project_id = await _account(desk, key, sent.project_id, Role.ADMIN)
        what = Invited(account_id, sent.email, sent.role, project_id, sent.message)
        made = await change(invite, desk.metadata, what, desk.actor(request, key), now())
        url = f"{desk.held.settings.link('/invite')}?token={made.secret}"
        text = (
            f"You are invited to work with event analytics at Streamgauge as {sent.role}.\n\n{url}\n\n{sent.message}\n"
        )
        await blocking(desk.held.mailer.send, made.invitation.email, "You are invited", text)
        return answer(_invite(made.invitation) | {"url": url}, 201)

    @router.delete("/invites/{invite_id}", status_code=204)
    async def withdraw(request: Request, invite_id: str, projectId: str | None = None) -> Response:  # noqa: N803
        """Take an invitation back."""
        key = await desk.caller(request, Scope.ADMIN)
        account_id, _ = await desk.account_of(key, projectId, Role.ADMIN)
        by = desk.actor(request, key)
        await change(withdraw_invitation, desk.metadata, account_id, _printable(invite_id), by, now())
        return nothing()

    @router.post(
        "/invites/accept",
        openapi_extra=OPENED | {ERRORS: [403, 404, 409]} | example({"token": "3q2-7w..."}, _Reply),
        responses=shows(_MEMBER, nullable=_NULLABLE),
    )
    async def accept(request: Request) -> Response:
        """Join, logged in as the invited address; or with a `password`, which makes the account of that address."""
        person, sent = await _invited(desk, request)
        by = desk.actor(request)
        if person is None:
            if sent.password is None:
                raise Problem(401, "Log in as the invited address, or choose a password to join with")
            profile = ProfileChange(sent.first_name, sent.last_name)
            joined = await change(join_with_password, desk.metadata, sent.token, sent.password, profile, by, now())
        else:
            joined = await change(accept_invitation, desk.metadata, sent.token, person, by, now())
        return answer(_member(joined))

    @router.post("/invites/decline", status_code=204, openapi_extra=example({"token": "3q2-7w..."}, _Reply))
    async def decline(request: Request) -> Response:
        """Say no, logged in as the invited address."""
        person = await _person(desk, request)
        sent = fields(await json_body(request), _Reply)
        await change(decline_invitation, desk.metadata, sent.token, person.email, desk.actor(request), now())
        return nothing()

    return router


async def _account(desk: Desk, key: Key, project: int | str | None, role: Role) -> tuple[int, int | None]:
    return await desk.account_of(key, None if project is None else str(project), role)


async def _invited(desk: Desk, request: Request) -> tuple[Account | None, _Reply]:
    """Who answers an invitation, None where nobody is logged in, and what they say."""
    headers = dict(request.scope["headers"])
    person = None
    if credential(headers) or session(headers):
        person = await _person(desk, request)
    else:
        desk.count_stranger(request)
    return person, fields(await json_body(request), _Reply)


async def _person(desk: Desk, request: Request) -> Account:
    key = await desk.access.caller(request)
    if key.kind != "login":
        raise forbidden("An invitation is answered by a person who is logged in, not by a key")
    person = await blocking(account, desk.metadata, key.account_id)
    if person is None:
        raise not_found()
    return person


def _printable(reference: str) -> str:
    if not reference.isprintable() or len(reference) > 64:
        raise not_found()
    return reference


def _member(member: Member) -> dict[str, Any]:
    return {
        "id": member.person.user_id,
        "email": member.person.email,
        "name": member.person.name,
        "picture": member.person.picture,
        "role": member.role,
        "projectId": member.project_id,
        "joinedAt": instant(member.joined_at),
        "lastActiveAt": instant(member.last_active_at),
    }


def _invite(of: Invitation) -> dict[str, Any]:
    return {
        "id": of.id,
        "email": of.email,
        "role": of.role,
        "projectId": of.project_id,
        "status": "pending",
        "message": of.message,
        "invitedAt": instant(of.invited_at),
        "expiresAt": instant(of.expires_at),
    }
