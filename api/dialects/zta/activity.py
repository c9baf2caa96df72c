"""The log of what was changed, by whom and from where."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.requests import now
from api.dialects.surface import Failure
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.dialects.zta.parameters import instant, read_period
from schemas.projects import Key, Scope
from storage.meta.activities import ActivityFilter, Recorded, list_activities

_TYPES = ("auth", "site", "team", "api_key", "goal", "funnel", "alert", "webhook", "export", "settings")
_PERIODS = ("24h", "7d", "30d", "90d")
_MOST_LINES = 100
_MOST_EXPORTED = 100_000
_HEADER = (
    "Timestamp",
    "Type",
    "Action",
    "Actor Email",
    "Actor Name",
    "Target Type",
    "Target ID",
    "IP Address",
    "User Agent",
)


class ActivityLog:
    """The routes below `/api/activity-log`, for owners."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/activity-log", self._list, methods=["GET"]),
            Route("/api/activity-log/export", self._export, methods=["GET"]),
        ]

    async def _list(self, request: Request) -> Response:
        key, wanted = await self._wanted(request)
        query = request.query_params
        limit = _number(query.get("limit"), 50, "Limit must be between 1 and 100")
        if not 1 <= limit <= _MOST_LINES:
            raise bad("Limit must be between 1 and 100")
        offset = _number(query.get("offset"), 0, "Offset must not be negative")
        page = await blocking(list_activities, self._held.database, key.account_id, wanted, limit=limit, offset=offset)
        return named(
            {
                "activities": [_described(line) for line in page.items],
                "pagination": {
                    "total": page.total,
                    "limit": limit,
                    "offset": offset,
                    "hasMore": offset + len(page.items) < page.total,
                },
            }
        )

    async def _export(self, request: Request) -> Response:
        key, wanted = await self._wanted(request)
        if request.query_params.get("format", "csv") != "csv":
            raise bad("Invalid format. Must be: csv")
        if request.query_params.get("download") != "true":
            url = request.url.include_query_params(download="true")
            return named({"downloadUrl": str(url)})
        page = await blocking(list_activities, self._held.database, key.account_id, wanted, limit=_MOST_EXPORTED)
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows(_cells(line) for line in page.items)
        name = f"zta-activity-{datetime.now(UTC).date().isoformat()}.csv"
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text.getvalue(), media_type="text/csv", headers=disposition)

    async def _wanted(self, request: Request) -> tuple[Key, ActivityFilter]:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.ADMIN)
        query = request.query_params
        wanted = ActivityFilter()
        if query.get("siteId"):
            project = await self._access.site(key, query["siteId"])
            if project.account_id != key.account_id:
                raise Failure(403, "Access denied. Only account owners can view the activity log.")
            wanted = replace(wanted, project_id=project.id)
        elif key.project_id is not None:
            wanted = replace(wanted, project_id=key.project_id)
        kind = query.get("type")
        if kind and kind not in _TYPES:
            raise bad("Invalid activity type")
        period = read_period(query, "UTC", now(), "7d", _PERIODS)
        return key, replace(
            wanted,
            type=kind or None,
            action=query.get("action") or None,
            user_id=query.get("userId") or None,
            start=period.span.start,
            end=period.span.end,
        )


def _number(text: str | None, default: int, refusal: str) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise bad(refusal)
    return int(text)


def _described(line: Recorded) -> dict[str, Any]:
    actor = line.actor
    target = line.activity
    return {
        "id": line.id,
        "timestamp": instant(line.at),
        "type": line.type,
        "action": target.action,
        "actor": None if actor is None else {"id": actor.user_id, "email": actor.email, "name": actor.name},
        "target": {"type": target.target_type, "id": target.target_id, "name": target.target_name},
        "metadata": dict(target.metadata),
        "ipAddress": line.masked_address,
        "userAgent": line.agent,
    }


def _cells(line: Recorded) -> list[str]:
    email, name = ("", "") if line.actor is None else (line.actor.email, line.actor.name)
    target = line.activity
    return [
        instant(line.at),
        line.type,
        target.action,
        email,
        name,
        target.target_type,
        target.target_id,
        line.masked_address,
        line.agent,
    ]
