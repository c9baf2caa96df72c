"""`/api/sites/{id}/verify`: whoever rules a site's domain can say so in a TXT record."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.dialects.surface import Failure
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.dialects.zta.sites import is_domain
from api.lookup import LookupFailed, text_records
from schemas.projects import Project, Role, Scope

_NAME: Final = "_zta-verify"


class Verification:
    """What the record must be, and whether it is there now. Nothing is kept of it: the record itself may go."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/sites/{id}/verify", self._show, methods=["GET"]),
            Route("/api/sites/{id}/verify", self._check, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        return named(_wanted(await self._access.site(key, request.path_params["id"])))

    async def _check(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.ADMIN)
        project = await self._access.site(key, request.path_params["id"], Role.ADMIN)
        host = project.domain.lower().partition(":")[0]
        if "." not in host or not is_domain(host):
            raise bad("Invalid domain format")
        try:
            found = await text_records(f"{_NAME}.{host}", self._held.settings.dns_server)
        except LookupFailed as error:
            raise Failure(503, "The domain cannot be looked up now. Try again later.") from error
        return named(_wanted(project) | {"verified": _value(project) in found})


def _wanted(project: Project) -> dict[str, Any]:
    return {"verification": {"type": "TXT", "name": _NAME, "value": _value(project)}}


def _value(project: Project) -> str:
    """No secret, everybody can read the record: it says which one of all sites of a domain its owner means."""
    return f"zta-verify={project.site_id}"
