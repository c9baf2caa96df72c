"""`/webhooks` of the native surface: addresses that are told, and what became of the messages."""

import secrets
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from api.dependencies import Text, parameters
from api.errors import conflict, not_found
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
    told_page,
)
from api.shapes import content, shape
from api.webhooks.messages import message
from schemas.keeping import body_of, changed_body, check_address
from schemas.kept import Delivery, Webhook
from schemas.projects import Role, Scope
from schemas.questions import parse_limit
from storage.errors import SecretUnreadable
from storage.meta.kept import Kept
from storage.meta.projects import project
from storage.meta.secrets import new_id

PATH = "/webhooks"
_DELIVERY: Item = {
    "id": "delivery_a8Kx92mNqP3f",
    "createdAt": "2026-02-22T10:30:00.142Z",
    "event": "goal",
    "payload": '{"id":"delivery_b3Lm45nRsT7g","event":"goal"}',
    "messageId": "delivery_b3Lm45nRsT7g",
    "attempts": 1,
    "state": "failed",
    "responseStatus": 500,
    "error": "HTTP 500",
    "finishedAt": None,
}
_DELIVERY_SHAPE = shape(_DELIVERY, {"responseStatus", "error", "finishedAt"})


def new_webhook_secret() -> str:
    """What signs the messages to one webhook; shown once."""
    return f"whsec_{secrets.token_urlsafe(32)}"


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["webhooks"])
    example = {"url": "https://hooks.example.org/gauge", "events": ["goal", "alert"]}
    resource = Resource(Webhook, PATH, example, scope=Scope.ADMIN)
    crud = Crud(keeping, resource)
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
            return new.switched_on(asked.now) if new.active and not old.active else new

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

    async def test(request: Request, thing_id: ThingId) -> Response:
        asked = await keeping.changing(request, Scope.ADMIN, Role.ADMIN, needs_body=False)
        webhook = await keeping.get(Webhook, asked.project, thing_id)
        return answered(_delivery(await _try(keeping, webhook, asked.now)))

    one, taken = f"{PATH}/{{id}}", resource.taken
    made = resource.told({"secret": "whsec_3q2-7wAbCdEf"})
    said = "Keep a new webhook; its secret is shown this once."
    add_route(router, "POST", PATH, create, said, example, takes=taken, tells=made)
    said = "Change the named fields of a webhook."
    add_route(router, "PATCH", one, change, said, example, takes=taken, tells=resource.told())
    said = "The last messages, newest first."
    add_route(router, "GET", f"{one}/deliveries", deliveries, said, tells=told_page(_DELIVERY, _DELIVERY_SHAPE))
    said = "Send a message `test`, once, and say what became of it."
    tells = content(_DELIVERY, _DELIVERY_SHAPE)
    add_route(router, "POST", f"{one}/test", test, said, tells=tells, status=200, errors=(409,))
    return router


async def _try(keeping: Keeping, webhook: Kept[Webhook], now: datetime) -> Kept[Delivery]:
    things = keeping.things
    try:
        secret = await stored(things.secret, Webhook, webhook.project_id, webhook.id)
    except SecretUnreadable as error:
        raise conflict("The webhook's secret cannot be read any more; make a new webhook") from error
    tenant = await stored(project, things.metadata, webhook.project_id)
    if secret is None or tenant is None:
        raise not_found()
    named = new_id(Delivery.prefix)
    data = {"message": "This is a test of the webhook"}
    made = message(webhook.body.format, webhook.id, secret, tenant, "test", data, now, named)
    outcome = await keeping.held.courier.post(webhook.body.url, made.body, made.headers)
    done = Delivery(
        event="test",
        message_id=named,
        payload=made.body.decode(),
        attempts=1,
        state_="delivered" if outcome.is_delivered else "failed",
        response_status=outcome.status,
        error=outcome.error,
        finished_at=datetime.now(UTC),
    )
    return await stored(things.create, webhook.project_id, done, None, now, parent_id=webhook.id)


def _create(keeping: Keeping, change: Change, allows_private: bool) -> tuple[Kept[Webhook], str]:
    body = body_of(Webhook, change.body)
    check_address(body.url, allows_private=allows_private)
    secret = new_webhook_secret()
    made = keeping.things.create(change.project, body, change.by, change.now, secret=secret.encode())
    return made, secret


def _delivery(thing: Kept[Delivery]) -> Item:
    return {"id": thing.id, "createdAt": instant(thing.created_at), **fields_of(thing.body)}
