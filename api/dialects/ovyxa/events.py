"""Ovyxa's two ways to send an event from a server, on behalf of a visitor."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.dialects.ovyxa.access import authenticated, site_of
from api.dialects.ovyxa.envelope import bare, invalid, missing
from api.dialects.requests import json_of, renamed
from api.dialects.surface import Failure
from api.errors import malformed, too_large
from api.ingest.intake import From, InvalidItem
from api.services import Services
from schemas.projects import Project

_BODY_BYTES = 1024 * 1024
_TEXTS = ("site_id", "url", "referrer", "user_agent", "ip_address", "name", "event_name")

# What the core calls otherwise.
_NAMES = {"event": "name", "context": "url", "eventId": "Idempotency-Key"}


class Events:
    """The routes below `/api/v1/events`."""

    def __init__(self, held: Services) -> None:
        self._held = held

    async def pageview(self, request: Request) -> Response:
        """A page was seen."""
        project, body = await self._read(request, "url")
        return await self._accept(request, project, body, "pageview")

    async def custom(self, request: Request) -> Response:
        """Something else happened."""
        project, body = await self._read(request)
        name = body.get("name") or body.get("event_name")
        if not name:
            raise missing("name", "field")
        return await self._accept(request, project, body, name)

    async def _read(self, request: Request, *required: str) -> tuple[Project, dict[str, Any]]:
        key = await authenticated(self._held, request)
        body = await json_of(request, _BODY_BYTES)
        if not isinstance(body, dict):
            raise malformed("The body must be a JSON object")
        for name in _TEXTS:
            if body.get(name) is not None and not isinstance(body[name], str):
                raise invalid(name, "field")
        for name in ("site_id", *required):
            if not body.get(name):
                raise missing(name, "field")
        return await site_of(self._held, key, body["site_id"]), body

    async def _accept(self, request: Request, project: Project, body: dict[str, Any], name: str) -> Response:
        properties = body.get("properties", body.get("props"))
        if not isinstance(properties, dict | None):
            raise invalid("properties", "field")
        sender = self._held.sender
        # A server speaks for its visitor where it says who that is; else the request is the visitor's own.
        address = body.get("ip_address") or sender.address(request.scope)
        agent = body.get("user_agent") or request.headers.get("user-agent", "")
        event = {"event": name, "properties": properties or {}, "eventId": request.headers.get("idempotency-key")}
        event["context"] = {"url": body.get("url"), "referrer": body.get("referrer"), "userAgent": agent or None}
        origin = From("ovyxa", sender.visitor_of(project.id, address, agent), sender.country_of(address))
        try:
            [event_id] = await self._held.intake.accept(project.id, origin, [event])
        except InvalidItem as error:
            if error.code == "payload_too_large":
                raise too_large(error.message) from error
            raise Failure(400, renamed(error.message, _NAMES)) from error
        return bare({"success": True, "event_id": event_id}, 201)
