"""Alerts of a site, and when they went off."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.requests import clamped
from api.dialects.surface import Failure
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.dialects.zta.parameters import instant
from api.dialects.zta.things import Things, chosen, name_of
from schemas.keeping import changed_body
from schemas.kept import Alert, Trigger, alert_target
from schemas.projects import Role, Scope
from storage.meta.kept import Kept

_KINDS = ("threshold", "comparison", "anomaly")
_CHANNELS = ("email", "slack", "webhook", "sms")
_FIELDS = ("type", "metric", "operator", "threshold", "period", "compareWith", "sensitivity", "enabled")
_TEXTS = {
    "metric": "Invalid metric: {value}",
    "operator": "Invalid operator",
    "threshold": "Threshold is required for threshold alerts",
    "period": "Invalid period. Must be: 1h, 24h, or 7d",
    "compareWith": "Invalid compareWith. Must be: previous_period, previous_week, or previous_month",
    "sensitivity": "Invalid sensitivity. Must be: low, medium, or high",
}


class Alerts:
    """The routes below `/api/alerts`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held
        self._things: Things[Alert] = Things(access, Alert, "Alert", _TEXTS)

    def routes(self) -> list[Route]:
        return [
            Route("/api/alerts", self._list, methods=["GET"]),
            Route("/api/alerts", self._create, methods=["POST"]),
            Route("/api/alerts", self._change, methods=["PATCH"]),
            Route("/api/alerts", self._delete, methods=["DELETE"]),
            Route("/api/alerts/{id}/history", self._history, methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        _, project = await self._access.read(request)
        return named({"alerts": [_described(alert) for alert in await self._things.all(project)]})

    async def _create(self, request: Request) -> Response:
        key, body = await self._access.change(request, Scope.ADMIN)
        project = await self._access.site(key, body.get("siteId"), Role.ADMIN)
        values = _values(body)
        made = await self._things.create(request, key, project, values)
        return named({"alert": _described(made)}, 201)

    async def _change(self, request: Request) -> Response:
        key, body = await self._access.change(request, Scope.ADMIN)
        project, old = await self._things.find(key, body.get("id"), Role.ADMIN)
        values = {name: body[name] for name in (*_FIELDS, "name") if name in body}
        if "notifications" in body:
            values["channels"] = _channels(body["notifications"])
        new = await self._things.change(request, key, project, old.id, lambda held: changed_body(held, values))
        updated = {"updatedAt": instant(new.updated_at)}
        return named({"alert": _described(new) | updated})

    async def _delete(self, request: Request) -> Response:
        return await self._things.delete(request, Scope.ADMIN)

    async def _history(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        project, alert = await self._things.find(key, request.path_params["id"])
        limit = clamped(request.query_params.get("limit"), 50, 100)
        offset = clamped(request.query_params.get("offset"), 0, 1_000_000, 0)
        page = await blocking(
            self._held.things.page,
            Trigger,
            project.id,
            limit=limit,
            offset=offset,
            parent_id=alert.id,
            newest_first=True,
        )
        return named(
            {
                "alert": {"id": alert.id, "name": alert.body.name},
                "history": [_triggered(trigger) for trigger in page.items],
                "pagination": {"total": page.total, "limit": limit, "offset": offset},
            }
        )


def _values(body: Mapping[str, Any]) -> dict[str, Any]:
    name = name_of(body, "Alert")
    kind = chosen(body, "type", _KINDS, "Invalid alert type. Must be: threshold, comparison, or anomaly")
    metric = body.get("metric")
    try:
        if not isinstance(metric, str):
            raise ValueError(metric)
        alert_target(metric)
    except ValueError as error:
        raise bad(f"Invalid metric: {metric}") from error
    if kind == "threshold" and body.get("threshold") is None:
        raise bad("Threshold is required for threshold alerts")
    values = {field: body[field] for field in _FIELDS if body.get(field) is not None}
    return values | {"name": name, "channels": _channels(body.get("notifications"))}


def _channels(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or any(channel not in _CHANNELS for channel in value):
        raise bad("Invalid notifications. Must be: email, slack, webhook, or sms")
    if "sms" in value:
        raise Failure(403, "SMS notifications require Enterprise plan")
    return value


def _described(alert: Kept[Alert]) -> dict[str, Any]:
    body = alert.body
    shown = {
        "id": alert.id,
        "name": body.name,
        "type": body.type,
        "condition": body.condition,
        "metric": body.metric,
        "operator": body.operator,
        "threshold": body.threshold,
        "period": body.period,
    }
    if body.type == "comparison":
        shown["compareWith"] = body.compare_with
    if body.type == "anomaly":
        shown["sensitivity"] = body.sensitivity
    return shown | {
        "enabled": body.enabled,
        "notifications": list(body.channels),
        "lastTriggered": None if body.last_triggered_at is None else instant(body.last_triggered_at),
        "triggerCount": body.trigger_count,
        "createdAt": instant(alert.created_at),
    }


def _triggered(trigger: Kept[Trigger]) -> dict[str, Any]:
    body = trigger.body
    shown = {
        "id": trigger.id,
        "triggeredAt": instant(trigger.created_at),
        "metric": body.metric,
        "value": body.value,
        "threshold": body.threshold,
        "condition": body.condition,
        "notificationsSent": list(body.notifications_sent),
        "acknowledged": body.acknowledged,
    }
    if body.acknowledged and body.acknowledged_at is not None:
        shown |= {"acknowledgedBy": body.acknowledged_by, "acknowledgedAt": instant(body.acknowledged_at)}
    return shown
