"""`/api/v1/projects`: made, changed, put into the trash and taken out of it."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.analytics.totals import ALL_TIME, total
from api.auth.acting import blocking, change
from api.dependencies import parameters
from api.errors import Problem, bad_request, forbidden, not_found
from api.routes.desk import (
    CONFLICTING,
    Desk,
    Fields,
    account_wide,
    answer,
    example,
    instant,
    listed,
    nothing,
    now,
    shows,
    shows_page,
)
from schemas.projects import NO_SETTINGS, Key, Project, ProjectSettings, Role, Scope
from schemas.questions import parse_flag
from schemas.series import Metric
from storage.meta.projects import (
    TRASH,
    NewProject,
    ProjectChange,
    create_project,
    delete_project,
    deleted_project,
    deleted_projects,
    restore_project,
    rotate_token,
    update_project,
)
from storage.meta.team import reachable_projects

_SETTINGS = {"excludePaths": ["/admin"], "ignoreParams": ["ref"], "retentionDays": 365, "allowedOrigins": []}
_PROJECT = {
    "id": 1,
    "name": "Shop",
    "domain": "shop.example.org",
    "timezone": "Europe/Berlin",
    "public": False,
    "siteId": "site_a8Kx92mNqP3f",
    "websiteId": "6f0c5f2e-6f0a-4b8e-9d57-3d1f6b8f2a10",
    "token": "0b1f3c52-9c1e-4a9e-8c55-5f4f0e1d2c3b",
    "settings": _SETTINGS,
    "eventCount": 336776,
    "createdAt": "2026-02-22T10:30:00Z",
}
_TRASHED = _PROJECT | {"deletedAt": "2026-02-22T10:30:00Z", "expiresAt": "2026-03-24T10:30:00Z"}
_NULLABLE = frozenset({"domain", "token", "retentionDays", "eventCount"})


class _New(Fields, frozen=True):
    name: str
    domain: str | None = None
    timezone: str = "UTC"
    public: bool = False
    settings: ProjectSettings = NO_SETTINGS


class _Change(Fields, frozen=True):
    name: str | None = None
    domain: str | None = None
    timezone: str | None = None
    public: bool | None = None
    settings: dict[str, Any] | None = None


def create_router(desk: Desk) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(prefix="/projects", tags=["projects"])

    @router.get("", responses=shows_page(_PROJECT, nullable=_NULLABLE))
    async def list_all(request: Request) -> Response:
        """The projects the caller may see: their own and those of their teams."""
        key = await desk.caller(request, Scope.READ)
        found = [project for project, _ in await blocking(reachable_projects, desk.metadata, key.account_id)]
        if key.project_id is not None:
            found = [project for project in found if project.id == key.project_id]
        counts = await event_counts(desk, found)
        return listed(request, found, lambda project: shape(project, counts[project.id], key))

    @router.post(
        "",
        status_code=201,
        openapi_extra=CONFLICTING
        | example({"name": "Shop", "domain": "shop.example.org", "timezone": "Europe/Berlin"}, _New),
        responses=shows(_PROJECT, 201, nullable=_NULLABLE),
    )
    async def create(request: Request) -> Response:
        """Make a project of the caller's account; 409 where it has one of this name or domain."""
        key, sent = await desk.with_fields(request, Scope.ADMIN, _New)
        account_wide(key)
        if not sent.name.strip():
            raise bad_request("Missing required field: name")
        new = NewProject(sent.name, sent.domain, sent.timezone, sent.public, sent.settings)
        by = desk.actor(request, key)
        made = await change(create_project, desk.metadata, key.account_id, new, by, now(), ("name", "domain"))
        return answer(shape(made, 0, key), 201)

    _add_trash(router, desk)

    @router.get("/{project_id}", responses=shows(_PROJECT, nullable=_NULLABLE))
    async def get_one(request: Request, project_id: str) -> Response:
        """One project, by its number, its site id or its website id."""
        key = await desk.caller(request, Scope.READ)
        return await _shown(desk, key, await desk.access.reach(key, project_id, Role.VIEWER))

    @router.patch(
        "/{project_id}",
        openapi_extra=CONFLICTING | example({"name": "Shop", "settings": {"retentionDays": 365}}, _Change),
        responses=shows(_PROJECT, nullable=_NULLABLE),
    )
    async def change_one(request: Request, project_id: str) -> Response:
        """Change names, zone and settings; a setting that is not named stays."""
        key, sent = await desk.with_fields(request, Scope.ADMIN, _Change)
        found = await desk.access.reach(key, project_id, Role.ADMIN)
        settings = None if sent.settings is None else _merged(found.settings, sent.settings)
        what = ProjectChange(sent.name, sent.domain, sent.timezone, sent.public, settings)
        by = desk.actor(request, key)
        return await _shown(desk, key, await change(update_project, desk.metadata, found.id, what, by, now()))

    @router.delete("/{project_id}", status_code=204, openapi_extra=CONFLICTING)
    async def delete_one(request: Request, project_id: str, purge: str | None = None) -> Response:
        """Into the trash, from where it can be restored for 30 days; with `purge=true` it is lost at once."""
        key = await desk.caller(request, Scope.ADMIN)
        with parameters():
            keep = timedelta(0) if parse_flag(purge, "purge") else TRASH
        found = await desk.access.reach(key, project_id, Role.OWNER)
        await change(delete_project, desk.metadata, found.id, desk.actor(request, key), now(), keep)
        return nothing()

    @router.post("/{project_id}/token", responses=shows(_PROJECT, nullable=_NULLABLE))
    async def new_token(request: Request, project_id: str) -> Response:
        """Give the project a new ingestion token; the old one is refused at once."""
        key = await desk.caller(request, Scope.ADMIN)
        found = await desk.access.reach(key, project_id, Role.ADMIN)
        changed = await change(rotate_token, desk.metadata, found.id, desk.actor(request, key), now())
        return await _shown(desk, key, changed)

    return router


def _add_trash(router: APIRouter, desk: Desk) -> None:
    @router.get("/deleted", responses=shows_page(_TRASHED, nullable=_NULLABLE))
    async def list_deleted(request: Request) -> Response:
        """What can still be restored, and until when."""
        key = await desk.caller(request, Scope.ADMIN)
        account_wide(key)
        found = await blocking(deleted_projects, desk.metadata, key.account_id, now())
        return listed(request, found, lambda project: _trashed(project, key))

    @router.post("/{project_id}/restore", openapi_extra=CONFLICTING, responses=shows(_PROJECT, nullable=_NULLABLE))
    async def restore(request: Request, project_id: str) -> Response:
        """Take a project out of the trash, with its keys and its token."""
        key = await desk.caller(request, Scope.ADMIN)
        account_wide(key)
        found = await blocking(deleted_project, desk.metadata, project_id)
        if found is None:
            raise not_found()
        if found.account_id != key.account_id:
            raise forbidden("The API key belongs to another account")
        restored = await change(restore_project, desk.metadata, found.id, desk.actor(request, key), now())
        return await _shown(desk, key, restored)


async def event_counts(desk: Desk, projects: Sequence[Project]) -> dict[int, int | None]:
    """The events of each project; null while the lake cannot be asked."""

    async def count(project: Project) -> int | None:
        try:
            return await total(desk.held.analytics, project.id, Metric.EVENTS_COUNT, ALL_TIME)
        except Problem:
            return None

    return dict(zip([one.id for one in projects], await asyncio.gather(*map(count, projects)), strict=True))


def shape(project: Project, event_count: int | None, key: Key) -> dict[str, Any]:
    """A project as the surface shows it; who may only read sees no token to send with."""
    settings = project.settings
    return {
        "id": project.id,
        "name": project.name,
        "domain": project.domain,
        "timezone": project.timezone,
        "public": project.public,
        "siteId": project.site_id,
        "websiteId": project.website_id,
        "token": project.token if key.scope.allows(Scope.INGEST) else None,
        "settings": {
            "excludePaths": settings.exclude_paths,
            "ignoreParams": settings.ignore_params,
            "retentionDays": settings.retention_days,
            "allowedOrigins": settings.allowed_origins,
        },
        "eventCount": event_count,
        "createdAt": instant(project.created_at),
    }


async def _shown(desk: Desk, key: Key, project: Project) -> Response:
    counts = await event_counts(desk, [project])
    return answer(shape(project, counts[project.id], key))


def _trashed(project: Project, key: Key) -> dict[str, Any]:
    times = {"deletedAt": instant(project.deleted_at), "expiresAt": instant(project.purge_at)}
    return shape(project, None, key) | times


def _merged(old: ProjectSettings, sent: dict[str, Any]) -> ProjectSettings:
    held = msgspec.to_builtins(old)
    try:
        return msgspec.convert(held | sent, ProjectSettings)
    except msgspec.ValidationError as error:
        raise bad_request("Invalid field: settings") from error
