"""Notes on days of a site's charts."""

from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.surface import Failure
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.dialects.zta.parameters import instant
from api.dialects.zta.things import Things
from schemas.keeping import changed_body
from schemas.kept import Annotation
from schemas.projects import Key, Project, Role, Scope
from storage.meta.kept import Kept
from storage.meta.team import role_on

_FIELDS = ("date", "title", "description", "color", "icon")
_TEXTS = {"date": "Invalid date format. Use YYYY-MM-DD"}


class Annotations:
    """The routes of `/api/annotations`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held
        self._things: Things[Annotation] = Things(access, Annotation, "Annotation", _TEXTS)

    def routes(self) -> list[Route]:
        return [
            Route("/api/annotations", self._list, methods=["GET"]),
            Route("/api/annotations", self._create, methods=["POST"]),
            Route("/api/annotations", self._change, methods=["PATCH"]),
            Route("/api/annotations", self._delete, methods=["DELETE"]),
        ]

    async def _list(self, request: Request) -> Response:
        _, project = await self._access.read(request)
        first = _day(request.query_params.get("startDate")) or "0000"
        last = _day(request.query_params.get("endDate")) or "9999"
        found = [_described(project, one) for one in await self._things.all(project) if first <= one.body.date <= last]
        return named({"annotations": sorted(found, key=lambda one: (one["date"], one["createdAt"]))})

    async def _create(self, request: Request) -> Response:
        key, body = await self._access.change(request, Scope.WRITE)
        if not body.get("siteId") or not body.get("date"):
            raise bad("Site ID and date required")
        project = await self._access.site(key, body["siteId"], Role.MEMBER)
        _day(body["date"])
        values = {name: body[name] for name in _FIELDS if body.get(name) is not None}
        made = await self._things.create(request, key, project, values)
        return named({"annotation": _described(project, made)}, 201)

    async def _change(self, request: Request) -> Response:
        key, body = await self._access.change(request, Scope.WRITE)
        project, old = await self._own(key, body.get("annotationId"))
        if body.get("date") is not None:
            _day(body["date"])
        values = {name: body[name] for name in _FIELDS if body.get(name) is not None}
        new = await self._things.change(request, key, project, old.id, lambda held: changed_body(held, values))
        return named({"annotation": _described(project, new)})

    async def _delete(self, request: Request) -> Response:
        key, _ = await self._access.change(request, Scope.WRITE)
        thing_id = request.query_params.get("annotationId")
        project, old = await self._own(key, thing_id)
        await self._things.remove(request, key, project, old.id)
        return named({"success": True})

    async def _own(self, key: Key, thing_id: Any) -> tuple[Project, Kept[Annotation]]:
        """An annotation of the caller's own, or of a site that they run."""
        project, found = await self._things.find(key, thing_id)
        role = await blocking(role_on, self._held.database, key.account_id, project)
        if found.created_by != key.account_id and (role is None or not role.includes(Role.ADMIN)):
            raise Failure(403, "Access denied")
        return project, found


def _day(text: Any) -> str | None:
    if text is None:
        return None
    try:
        if date.fromisoformat(text).isoformat() == text:
            return str(text)
    except (TypeError, ValueError):
        pass
    raise bad("Invalid date format. Use YYYY-MM-DD")


def _described(project: Project, thing: Kept[Annotation]) -> dict[str, Any]:
    body = thing.body
    return {
        "id": thing.id,
        "siteId": project.site_id,
        "date": body.date,
        "title": body.title,
        "description": body.description,
        "color": body.color,
        "icon": body.icon,
        "createdBy": thing.creator,
        "createdAt": instant(thing.created_at),
        "updatedAt": instant(thing.updated_at),
    }
