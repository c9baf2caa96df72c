"""Sites: made, changed, put into the trash or deleted, and seen with their statistics."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.surface import Failure
from api.dialects.telling import told
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, deleted, named, unknown
from api.dialects.zta.parameters import instant
from schemas.figures import OverviewQuestion
from schemas.filters import equals
from schemas.instants import format_millis
from schemas.kept import Alert, Funnel, Goal
from schemas.projects import Key, Project, ProjectSettings, Role, Scope
from schemas.selection import Selection
from schemas.table import TableQuestion
from schemas.windows import ALWAYS, InvalidWindow, zone_named
from storage.errors import Conflict, NotFound
from storage.meta.accounts import account
from storage.meta.projects import (
    NewProject,
    ProjectChange,
    create_project,
    delete_project,
    deleted_project,
    deleted_projects,
    restore_project,
    update_project,
)
from storage.meta.team import list_members, reachable_projects, role_on

_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*(:\d{{1,5}})?")
_TRASH_DAYS: Final = {"free": 3, "starter": 7, "growth": 14}
_MOST_TRASH_DAYS: Final = 30
_LONGEST_NAME: Final = 100


class Sites:
    """The routes below `/api/sites`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/sites", self._list, methods=["GET"]),
            Route("/api/sites", self._create, methods=["POST"]),
            Route("/api/sites", self._change, methods=["PATCH"]),
            Route("/api/sites", self._purge, methods=["DELETE"]),
            Route("/api/sites/delete", self._delete, methods=["POST"]),
            Route("/api/sites/deleted", self._deleted, methods=["GET"]),
            Route("/api/sites/restore", self._restore, methods=["POST"]),
            Route("/api/sites/{id}", self._one, methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        reachable = await blocking(reachable_projects, self._held.database, key.account_id)
        sites = [
            {
                **described(project),
                "createdAt": instant(project.created_at),
                "stats": await self._brief(project),
                "teamMembers": len(await blocking(list_members, self._held.database, project.account_id, project.id)),
            }
            for project, _ in reachable
            if key.project_id in (None, project.id)
        ]
        return named({"sites": sites})

    async def _create(self, request: Request) -> Response:
        key, body = await self._access.change(request)
        if not (domain := body.get("domain")):
            raise bad("Domain is required")
        if not isinstance(domain, str) or not is_domain(domain.lower()):
            raise bad("Invalid domain format")
        name = _name(body.get("name"), domain)
        zone = _zone(body.get("timezone", "UTC"))
        new = NewProject(name, domain.lower(), zone, body.get("public") is True)
        by, at = self._access.by(request, key), datetime.now(UTC)
        try:
            made = await blocking(create_project, self._held.database, key.account_id, new, by, at, unique=("domain",))
        except Conflict as error:
            raise Failure(409, "A site with this domain already exists") from error
        site = described(made) | {
            "createdAt": instant(made.created_at),
            "trackingCode": self._tracking_code(request, made),
        }
        return named({"site": site}, 201)

    async def _change(self, request: Request) -> Response:
        key, body = await self._access.change(request)
        project = await self._access.site(key, body.get("id"), Role.ADMIN)
        public = body.get("public")
        if public is not None and not isinstance(public, bool):
            raise bad("Invalid public")
        change = ProjectChange(
            name=None if body.get("name") is None else _name(body["name"], ""),
            timezone=None if body.get("timezone") is None else _zone(body["timezone"]),
            public=public,
            settings=_settings(project, body.get("settings")),
        )
        at = datetime.now(UTC)
        try:
            changed = await blocking(
                update_project, self._held.database, project.id, change, self._access.by(request, key), at
            )
        except Conflict as error:
            raise Failure(409, "A site with this name already exists") from error
        except ValueError as error:
            raise bad("Invalid settings") from error
        return named({"site": described(changed) | {"updatedAt": instant(at)}})

    async def _purge(self, request: Request) -> Response:
        key, _ = await self._access.change(request)
        project = await self._owned(key, request.query_params.get("id"))
        await self._remove(request, key, project, timedelta())
        return deleted("Site")

    async def _delete(self, request: Request) -> Response:
        key, body = await self._access.change(request)
        project = await self._owned(key, body.get("siteId"))
        days = _TRASH_DAYS.get(key.plan, _MOST_TRASH_DAYS)
        gone = await self._remove(request, key, project, timedelta(days=days))
        assert gone.purge_at is not None
        return named(
            {
                "success": True,
                "softDeleted": True,
                "expiresAt": instant(gone.purge_at),
                "retentionDays": days,
                "message": f"Site moved to trash. You can restore it within {days} days.",
            }
        )

    async def _deleted(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        at = datetime.now(UTC)
        found = await blocking(deleted_projects, self._held.database, key.account_id, at)
        sites = [
            {
                **described(project),
                "deletedAt": instant(project.deleted_at),
                "expiresAt": instant(project.purge_at),
                "daysRemaining": -((at - project.purge_at) // timedelta(days=1)),
            }
            for project in found
            if project.deleted_at is not None and project.purge_at is not None
        ]
        return named({"sites": sites, "count": len(sites)})

    async def _restore(self, request: Request) -> Response:
        key, body = await self._access.change(request)
        reference = body.get("siteId")
        if not isinstance(reference, str) or not reference:
            raise bad("Site ID required")
        found = await blocking(deleted_project, self._held.database, reference)
        if found is None or found.account_id != key.account_id:
            raise Failure(404, "Site not found or not deleted")
        try:
            restored = await blocking(
                restore_project, self._held.database, found.id, self._access.by(request, key), datetime.now(UTC)
            )
        except NotFound as error:
            raise bad("Site recovery period has expired") from error
        except Conflict as error:
            raise Failure(409, "A site with this name already exists") from error
        return named({"success": True, "restored": True, "site": described(restored)})

    async def _one(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        project = await self._access.site(key, request.path_params["id"])
        owner = await blocking(account, self._held.database, project.account_id)
        members = await blocking(list_members, self._held.database, project.account_id, project.id)
        total = told(await self._held.analytics.ask(OverviewQuestion(Selection(project.id, ALWAYS)))).total
        counts = {
            name: await blocking(self._held.things.count, kind, project.id)
            for name, kind in (("goals", Goal), ("funnels", Funnel), ("alerts", Alert))
        }
        site = described(project) | {
            "createdAt": instant(project.created_at),
            "owner": None
            if owner is None
            else {"id": owner.user_id, "email": owner.email, "name": f"{owner.first_name} {owner.last_name}".strip()},
            "stats": {
                **await self._brief(project),
                "sessions": total.sessions,
                "bounceRate": total.bounce_rate,
                "avgSessionDuration": total.avg_session_duration,
            },
            "team": [
                {"id": member.person.user_id, "email": member.person.email, "role": member.role.value}
                for member in members
            ],
            **counts,
        }
        return named({"site": site})

    async def _owned(self, key: Key, reference: Any) -> Project:
        project = await self._access.site(key, reference, Role.VIEWER)
        role = await blocking(role_on, self._held.database, key.account_id, project)
        if role is not Role.OWNER:
            raise Failure(403, "Only the site owner can delete this site")
        return project

    async def _remove(self, request: Request, key: Key, project: Project, keep: timedelta) -> Project:
        by = self._access.by(request, key)
        try:
            return await blocking(delete_project, self._held.database, project.id, by, datetime.now(UTC), keep=keep)
        except NotFound as error:
            raise unknown("Site") from error
        except Conflict as error:
            raise Failure(409, "The last site cannot be deleted") from error

    async def _brief(self, project: Project) -> dict[str, Any]:
        views = Selection(project.id, ALWAYS, equals("isPageview", True))
        total = told(await self._held.analytics.ask(OverviewQuestion(Selection(project.id, ALWAYS)))).total
        last = told(await self._held.analytics.ask(TableQuestion(views, ("timestamp",), 1))).rows
        return {
            "pageviews": total.pageviews,
            "visitors": total.visitors,
            "lastPageview": format_millis(last[0][0]) if last else None,
        }

    def _tracking_code(self, request: Request, project: Project) -> str:
        address = f"{request.url.scheme}://{request.url.netloc}/api/track"
        body = f"{{type:'pageview',siteId:'{project.site_id}',path:location.pathname,referrer:document.referrer}}"
        return f"<script>navigator.sendBeacon('{address}',JSON.stringify({body}))</script>"


def is_domain(text: str) -> bool:
    """Whether this is a host in lower case, maybe with a port."""
    return _DOMAIN.fullmatch(text) is not None


def described(project: Project) -> dict[str, Any]:
    """A site as every answer has it."""
    return {
        "id": project.site_id,
        "domain": project.domain,
        "name": project.name,
        "timezone": project.timezone,
        "public": project.public,
    }


def _name(value: Any, default: str) -> str:
    if value in (None, ""):
        if default:
            return default
        raise bad("Site name is required")
    if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_NAME or not value.isprintable():
        raise bad("Invalid site name")
    return value


def _zone(value: Any) -> str:
    try:
        return zone_named(value if isinstance(value, str) else "").key
    except InvalidWindow as error:
        raise bad("Invalid timezone") from error


def _settings(project: Project, value: Any) -> ProjectSettings | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise bad("Invalid settings")
    named_settings = {"retentionDays" if name == "dataRetention" else name: item for name, item in value.items()}
    try:
        return msgspec.convert({**msgspec.to_builtins(project.settings), **named_settings}, ProjectSettings)
    except msgspec.ValidationError as error:
        raise bad("Invalid settings") from error
