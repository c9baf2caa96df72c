"""Erasure of a person, asked for with the account key."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import actor, blocking
from api.dialects.cohorly.access import account_key, project_of
from api.dialects.cohorly.envelope import bare
from api.erasing import ids_of
from api.services import Services
from schemas.erasures import Erasure
from schemas.projects import Scope


class Privacy:
    """The route below `/api/privacy`."""

    def __init__(self, held: Services) -> None:
        self._held = held

    def routes(self) -> list[Route]:
        return [Route("/api/privacy/subjects/{id:path}", self._erase, methods=["DELETE"])]

    async def _erase(self, request: Request) -> Response:
        key = await account_key(self._held, request, Scope.ADMIN)
        project = await project_of(self._held, key, request.query_params.get("projectId"))
        known = await ids_of(self._held.analytics, project.id, request.path_params["id"])
        by = actor(self._held, request, key)
        await blocking(self._held.things.create, project.id, Erasure(ids=known), by, datetime.now(UTC))
        return bare({"ok": True})
