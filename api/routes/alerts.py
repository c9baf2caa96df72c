"""`/alerts` of the native surface, when they went off, and that somebody has seen it."""

from fastapi import APIRouter, Request, Response
from msgspec.structs import replace

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
    told_page,
)
from api.shapes import content, shape
from schemas.kept import Alert, Trigger
from schemas.projects import Role, Scope
from schemas.questions import parse_limit
from storage.meta.accounts import account
from storage.meta.kept import Kept

_TRIGGER: Item = {
    "id": "trigger_a8Kx92mNqP3f",
    "triggeredAt": "2026-02-22T10:30:00.142Z",
    "metric": "pageviews",
    "value": 1204.0,
    "threshold": 1000.0,
    "condition": "pageviews > 1000",
    "notificationsSent": ["webhook"],
    "acknowledged": False,
    "acknowledgedBy": None,
    "acknowledgedAt": None,
}
_TRIGGER_SHAPE = shape(_TRIGGER, {"threshold", "acknowledgedBy", "acknowledgedAt"})


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["alerts"])
    example = {
        "name": "Busy",
        "type": "threshold",
        "metric": "pageviews",
        "operator": ">",
        "threshold": 1000,
        "period": "1h",
        "channels": ["webhook"],
    }
    add_routes(router, Crud(keeping, Resource(Alert, "/alerts", example, scope=Scope.ADMIN, show=_shown)))

    async def history(request: Request, thing_id: ThingId, limit: Text = None, cursor: Text = None) -> Response:
        project = await keeping.reading(request)
        alert = await keeping.get(Alert, project, thing_id)
        with parameters():
            size = parse_limit(limit)
        page = await stored(
            keeping.things.page, Trigger, project, limit=size, parent_id=alert.id, after=cursor, newest_first=True
        )
        return listed(request, [_trigger(item) for item in page.items], page, size)

    async def acknowledge(request: Request, thing_id: ThingId) -> Response:
        change = await keeping.changing(request, Scope.WRITE, Role.MEMBER, needs_body=False)
        alert = await keeping.get(Alert, change.project, thing_id)
        number = await stored(_acknowledge, keeping, alert, change)
        return answered({"id": alert.id, "acknowledged": number})

    said = "When an alert went off, newest first."
    add_route(router, "GET", "/alerts/{id}/history", history, said, tells=told_page(_TRIGGER, _TRIGGER_SHAPE))
    said, tells = "Say that somebody saw all of it.", content({"id": "alert_a8Kx92mNqP3f", "acknowledged": 2})
    add_route(router, "POST", "/alerts/{id}/acknowledge", acknowledge, said, tells=tells, status=200)
    return router


def _acknowledge(keeping: Keeping, alert: Kept[Alert], change: Change) -> int:
    """Mark what nobody had seen; how much that was."""
    known = None if change.by.account_id is None else account(keeping.things.metadata, change.by.account_id)
    who = None if known is None else known.user_id
    fresh = [
        trigger
        for trigger in keeping.things.all(Trigger, alert.project_id, parent_id=alert.id)
        if not trigger.body.acknowledged
    ]
    for trigger in fresh:
        keeping.things.change(
            Trigger,
            alert.project_id,
            trigger.id,
            lambda old: replace(old, acknowledged=True, acknowledged_by=who, acknowledged_at=change.now),
            None,
            change.now,
        )
    return len(fresh)


def _shown(thing: Kept[Alert]) -> Item:
    return shown(thing) | {"condition": thing.body.condition, "cooldownSeconds": thing.body.cooldown}


def _trigger(thing: Kept[Trigger]) -> Item:
    return {"id": thing.id, "triggeredAt": instant(thing.created_at), **fields_of(thing.body)}
