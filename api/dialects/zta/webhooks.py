"""Webhooks of a site: addresses that are told what happens."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.dialects.zta.parameters import instant
from api.dialects.zta.things import Things
from api.routes.webhooks import new_webhook_secret
from schemas.keeping import InvalidKept, check_address
from schemas.kept import WEBHOOK_EVENTS, Webhook
from schemas.projects import Role, Scope
from storage.meta.kept import Kept

_MOST_WEBHOOKS = 10
_MOST_EVENTS = 5
_MASK = "whsec_..."


class Webhooks:
    """The routes of `/api/webhooks`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held
        self._things: Things[Webhook] = Things(access, Webhook, "Webhook", {"events": "Invalid event type: {value}"})

    def routes(self) -> list[Route]:
        return [
            Route("/api/webhooks", self._list, methods=["GET"]),
            Route("/api/webhooks", self._create, methods=["POST"]),
            Route("/api/webhooks", self._delete, methods=["DELETE"]),
        ]

    async def _list(self, request: Request) -> Response:
        _, project = await self._access.read(request)
        return named({"webhooks": [_described(webhook, _MASK) for webhook in await self._things.all(project)]})

    async def _create(self, request: Request) -> Response:
        key, body = await self._access.change(request, Scope.ADMIN)
        project = await self._access.site(key, body.get("siteId"), Role.ADMIN)
        url, events = body.get("url"), body.get("events")
        try:
            check_address(url if isinstance(url, str) else "", allows_private=self._held.settings.webhook_allow_private)
        except InvalidKept as error:
            is_https = isinstance(url, str) and url.lower().startswith("https://")
            raise bad("URL must lead to a public host" if is_https else "URL must use HTTPS") from error
        if not isinstance(events, list) or not 0 < len(events) <= _MOST_EVENTS:
            raise bad(f"Between 1 and {_MOST_EVENTS} event types are required")
        for event in events:
            if event not in WEBHOOK_EVENTS["zta"]:
                raise bad(f"Invalid event type: {event}")
        if len(await self._things.all(project)) >= _MOST_WEBHOOKS:
            raise bad("Webhook limit reached")
        secret = new_webhook_secret()
        values = {"url": url, "events": events, "format": "zta", "description": body.get("description") or ""}
        made = await self._things.create(request, key, project, values, secret.encode())
        return named({"webhook": _described(made, secret)}, 201)

    async def _delete(self, request: Request) -> Response:
        return await self._things.delete(request, Scope.ADMIN)


def _described(webhook: Kept[Webhook], secret: str) -> dict[str, Any]:
    body = webhook.body
    return {
        "id": webhook.id,
        "url": body.url,
        "events": list(body.events),
        "secret": secret,
        "active": body.active,
        "createdAt": instant(webhook.created_at),
        "lastTriggered": None if body.last_triggered_at is None else instant(body.last_triggered_at),
    }
