"""`/webhooks` of the native surface: addresses that are told, and what became of the messages."""

import secrets

from fastapi import APIRouter, Request, Response

from api.dependencies import Text, parameters
from api.routes.kept import (
    Change,
    Crud,
    Item,
    Keeping,
    Resource,
    ThingId,
    add_route,
    add_routes,
    answered,
    fields_of,
    instant,
    listed,
    shown,
    stored,
)
from schemas.keeping import body_of, changed_body, check_address
from schemas.kept import Delivery, Webhook
from schemas.projects import Scope
from schemas.questions import parse_limit
from storage.meta.kept import Kept

PATH = "/webhooks"


def new_webhook_secret() -> str:
    """What signs the messages to one webhook; shown once."""
    return f"whsec_{secrets.token_urlsafe(32)}"


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["webhooks"])
    example = {"url": "https://hooks.example.org/gauge", "events": ["goal", "alert"]}
    crud = Crud(keeping, Resource(Webhook, PATH, example, scope=Scope.ADMIN))
    add_routes(router, crud, without=frozenset({f"POST {PATH}", f"PATCH {PATH}/{{id}}"}))
    allows_private = keeping.held.settings.webhook_allow_private

    async def create(request: Request) -> Response:
        made, secret = await stored(_create, keeping, await crud.change_of(request), allows_private)
        return answered(shown(made) | {"secret": secret}, 201)

    async def change(request: Request, thing_id: ThingId) -> Response:
        asked = await crud.change_of(request)

        def changed(old: Webhook) -> Webhook:
            new = changed_body(old, asked.body)
            check_address(new.url, allows_private=allows_private)
            return new

        new = await stored(keeping.things.change, Webhook, asked.project, thing_id, changed, asked.by, asked.now)
        return answered(shown(new))

    async def deliveries(request: Request, thing_id: ThingId, limit: Text = None, cursor: Text = None) -> Response:
        project = await keeping.reading(request)
        webhook = await keeping.get(Webhook, project, thing_id)
        with parameters():
            size = parse_limit(limit)
        page = await stored(
            keeping.things.page, Delivery, project, limit=size, parent_id=webhook.id, after=cursor, newest_first=True
        )
        return listed(request, [_delivery(item) for item in page.items], page, size)

    add_route(router, "POST", PATH, create, "Keep a new webhook; its secret is shown this once.", example)
    add_route(router, "PATCH", f"{PATH}/{{id}}", change, "Change the named fields of a webhook.", example)
    add_route(router, "GET", f"{PATH}/{{id}}/deliveries", deliveries, "The last messages, newest first.")
    return router


def _create(keeping: Keeping, change: Change, allows_private: bool) -> tuple[Kept[Webhook], str]:
    body = body_of(Webhook, change.body)
    check_address(body.url, allows_private=allows_private)
    secret = new_webhook_secret()
    made = keeping.things.create(change.project, body, change.by, change.now, secret=secret.encode())
    return made, secret


def _delivery(thing: Kept[Delivery]) -> Item:
    return {"id": thing.id, "createdAt": instant(thing.created_at), **fields_of(thing.body)}
