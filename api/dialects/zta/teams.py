"""Who works on a site: members, invitations, and accepting one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.requests import bearer
from api.dialects.surface import Failure
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named, unknown
from api.dialects.zta.parameters import instant
from api.errors import limited
from api.limits.limiter import Quota
from schemas.projects import Key, Project, Role, Scope
from storage.errors import Conflict, NotFound, Refused
from storage.meta.accounts import Account, account
from storage.meta.activities import full_name
from storage.meta.projects import find_project
from storage.meta.team import (
    Invitation,
    Invited,
    Member,
    accept_invitation,
    decline_invitation,
    find_invitation,
    invite,
    list_invitations,
    list_members,
    reachable_projects,
    remove_member,
    role_on,
    set_role,
    withdraw_invitation,
)

_ROLES = {role.value: role for role in (Role.ADMIN, Role.MEMBER, Role.VIEWER)}
_INVALID_ROLE = "Invalid role. Must be: admin, member, or viewer"
# Invitations are mails to strangers.
_LIMIT_OF_USER = "10/3600"
_LIMIT_OF_SITE = "50/86400"


class Teams:
    """The routes of `/api/teams` and `/api/invite`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/teams", self._list, methods=["GET"]),
            Route("/api/teams", self._invite, methods=["POST"]),
            Route("/api/teams", self._change, methods=["PATCH"]),
            Route("/api/teams", self._remove, methods=["DELETE"]),
            Route("/api/invite", self._show, methods=["GET"]),
            Route("/api/invite", self._answer, methods=["POST"]),
        ]

    async def _list(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        reference = request.query_params.get("siteId")
        if not reference:
            return await self._sites(key)
        project = await self._access.site(key, reference)
        members = await blocking(list_members, self._held.database, project.account_id, project.id)
        invitations = await blocking(
            list_invitations, self._held.database, project.account_id, datetime.now(UTC), project.id
        )
        people = [_member(member) for member in members]
        pending = [await self._pending(invitation) for invitation in invitations]
        return named({"members": [*people, *pending]})

    async def _sites(self, key: Key) -> Response:
        sites = []
        for project, role in await blocking(reachable_projects, self._held.database, key.account_id):
            if key.project_id in (None, project.id):
                members = await blocking(list_members, self._held.database, project.account_id, project.id)
                sites.append(
                    {
                        "siteId": project.site_id,
                        "siteName": project.name,
                        "role": role.value,
                        "memberCount": len(members),
                    }
                )
        return named({"sites": sites})

    async def _invite(self, request: Request) -> Response:
        key, body = await self._access.change(request)
        email, message = body.get("email"), body.get("message") or ""
        if not isinstance(email, str) or not email:
            raise bad("Email address is required")
        role = _role(body)
        project = await self._runs(key, body, "Only owners and admins can invite team members")
        self._count(f"invitations of {key.account_id}", _LIMIT_OF_USER)
        self._count(f"invitations to {project.id}", _LIMIT_OF_SITE)
        wanted = Invited(project.account_id, email, role, project.id, message if isinstance(message, str) else "")
        at = datetime.now(UTC)
        try:
            made = await blocking(invite, self._held.database, wanted, self._access.by(request, key), at)
        except Conflict as error:
            raise bad("User is already a team member") from error
        except ValueError as error:
            raise bad("Invalid email address") from error
        found = made.invitation
        url = f"{self._held.settings.link('/invite')}?token={made.secret}"
        await blocking(
            self._held.mailer.send, found.email, f"An invitation to {project.name}", f"{wanted.message}\n\n{url}\n"
        )
        invitation = {
            "id": found.id,
            "email": found.email,
            "role": found.role.value,
            "status": "pending",
            "invitedAt": instant(found.invited_at),
            "expiresAt": instant(found.expires_at),
            "inviteUrl": url,
        }
        return named({"invitation": invitation}, 201)

    async def _change(self, request: Request) -> Response:
        key, body = await self._access.change(request)
        role = _role(body)
        project = await self._access.site(key, body.get("siteId"), Role.OWNER)
        at = datetime.now(UTC)
        try:
            member = await blocking(
                set_role,
                self._held.database,
                project.account_id,
                str(body.get("userId")),
                project.id,
                role,
                self._access.by(request, key),
                at,
            )
        except Refused as error:
            raise Failure(403, "Cannot change the owner's role") from error
        except NotFound as error:
            raise unknown("Team member") from error
        shown = {"id": member.person.user_id, "email": member.person.email, "role": member.role.value}
        return named({"member": shown | {"updatedAt": instant(at)}})

    async def _remove(self, request: Request) -> Response:
        key, _ = await self._access.change(request)
        query = request.query_params
        project = await self._access.site(key, query.get("siteId"), Role.ADMIN)
        wanted, by, at = query.get("userId") or "", self._access.by(request, key), datetime.now(UTC)
        database, owner = self._held.database, project.account_id
        try:
            if wanted.startswith("invite_"):
                await blocking(withdraw_invitation, database, owner, wanted, by, at)
            else:
                await blocking(remove_member, database, owner, wanted, project.id, by, at)
        except Refused as error:
            raise Failure(403, "Cannot remove the site owner") from error
        except NotFound as error:
            raise unknown("Team member") from error
        return named({"success": True, "message": "Team member removed successfully"})

    async def _show(self, request: Request) -> Response:
        invitation = await self._invitation(request.query_params.get("token"))
        invited = {
            "email": invitation.email,
            "role": invitation.role.value,
            "expiresAt": instant(invitation.expires_at),
        }
        return named({"invite": invited, "team": {"name": (await self._team(invitation))["name"]}})

    async def _answer(self, request: Request) -> Response:
        if bearer(request) is None:
            raise Failure(401, "Invalid or expired token")
        key, body = await self._access.change(request, Scope.READ)
        token = body.get("token")
        invitation = await self._invitation(token)
        person = await blocking(account, self._held.database, key.account_id)
        if person is None or person.email != invitation.email:
            raise bad("This invitation is for a different email address")
        assert isinstance(token, str)
        by, at = self._access.by(request, key), datetime.now(UTC)
        if body.get("action") == "decline":
            await blocking(decline_invitation, self._held.database, token, person.email, by, at)
            return named({"success": True, "message": "Invite declined"})
        joined = await blocking(accept_invitation, self._held.database, token, person, by, at)
        team = await self._team(invitation)
        return named({"success": True, "message": "Invite accepted", "team": team | {"role": joined.role.value}})

    async def _invitation(self, token: Any) -> Invitation:
        if not isinstance(token, str) or not token:
            raise bad("Token required")
        found = await blocking(find_invitation, self._held.database, token)
        if found is None or found.ended_at is not None:
            raise Failure(404, "Invalid or expired invite")
        if found.accepted_at is not None:
            raise bad("Invitation has already been accepted")
        if not found.is_open(datetime.now(UTC)):
            raise bad("Invitation has expired")
        return found

    async def _team(self, invitation: Invitation) -> dict[str, Any]:
        if invitation.project_id is not None:
            project = await blocking(find_project, self._held.database, "id", invitation.project_id)
            if project is not None:
                return {"id": project.site_id, "name": project.name, "siteCount": 1}
        owner = await blocking(account, self._held.database, invitation.account_id)
        sites = await blocking(reachable_projects, self._held.database, invitation.account_id)
        count = sum(project.account_id == invitation.account_id for project, _ in sites)
        return {"id": f"team_{invitation.account_id}", "name": _name(owner), "siteCount": count}

    async def _pending(self, invitation: Invitation) -> dict[str, Any]:
        inviter = None
        if invitation.inviter_id is not None:
            inviter = await blocking(account, self._held.database, invitation.inviter_id)
        return {
            "id": invitation.id,
            "email": invitation.email,
            "role": invitation.role.value,
            "status": "pending",
            "invitedAt": instant(invitation.invited_at),
            "invitedBy": None if inviter is None else inviter.email,
        }

    async def _runs(self, key: Key, body: Mapping[str, Any], text: str) -> Project:
        project = await self._access.site(key, body.get("siteId"))
        role = await blocking(role_on, self._held.database, key.account_id, project)
        if role is None or not role.includes(Role.ADMIN):
            raise Failure(403, text)
        return project

    def _count(self, subject: str, most: str) -> None:
        standing = self._held.limiter.take(Quota.ZTA, subject, most)
        if standing is not None and not standing.is_admitted:
            raise limited(standing.retry_after, standing.headers)


def _role(body: Mapping[str, Any]) -> Role:
    wanted = body.get("role")
    if not isinstance(wanted, str) or wanted not in _ROLES:
        raise bad(_INVALID_ROLE)
    return _ROLES[wanted]


def _name(person: Account | None) -> str:
    return "" if person is None else full_name(person.first_name, person.last_name) or person.email


def _member(member: Member) -> dict[str, Any]:
    person = member.person
    return {
        "id": person.user_id,
        "email": person.email,
        "name": _name(person),
        "role": member.role.value,
        "avatar": person.picture,
        "joinedAt": instant(member.joined_at),
        "lastActive": None if member.last_active_at is None else instant(member.last_active_at),
    }
