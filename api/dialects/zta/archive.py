"""`/api/sites/{id}/export`: all that is held of a site, as one ZIP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from api.analytics.archive import zipped
from api.auth.acting import blocking
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import named
from api.dialects.zta.parameters import instant
from api.dialects.zta.sites import described
from api.routes.kept import shown
from schemas.exports import ExportQuestion
from schemas.kept import Alert, Body, Funnel, Goal
from schemas.projects import Project, Role, Scope
from schemas.selection import Selection
from schemas.windows import ALWAYS

_KEPT: Final[tuple[tuple[str, type[Body]], ...]] = (
    ("goals.json", Goal),
    ("funnels.json", Funnel),
    ("alerts.json", Alert),
)


class Archive:
    """The one route: the address of the ZIP, and with `download=true` the ZIP itself, to the same callers."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [Route("/api/sites/{id}/export", self._export, methods=["GET"])]

    async def _export(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        project = await self._access.site(key, request.path_params["id"], Role.MEMBER)
        if request.query_params.get("download") != "true":
            path = f"{self._held.settings.root_path}{request.url.path}"
            return named({"downloadUrl": str(request.url.replace(path=path, query="download=true"))})
        at = datetime.now(UTC)
        files = [("site.json", _whole(_site(project)))]
        for name, kind in _KEPT:
            found = await blocking(self._held.things.all, kind, project.id)
            files.append((name, _whole([shown(thing) for thing in found])))
        # Last, so that nothing waits beside a download that has begun.
        events = await self._held.analytics.export(ExportQuestion(Selection(project.id, ALWAYS)), "ndjson")
        name = f"zta-{project.site_id}-{at.date().isoformat()}.zip"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        archive = zipped([*files, ("events.ndjson", events.answer)], at)
        return StreamingResponse(archive, media_type="application/zip", headers=headers)


def _site(project: Project) -> dict[str, Any]:
    settings = msgspec.to_builtins(project.settings)
    return described(project) | {"createdAt": instant(project.created_at), "settings": settings}


async def _whole(content: object) -> AsyncIterator[bytes]:
    yield msgspec.json.format(msgspec.json.encode(content))
