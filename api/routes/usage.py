"""`GET /api/v1/usage`: what an account sent this calendar month."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from api.analytics.totals import month_of, together
from api.auth.acting import blocking
from api.routes.desk import Desk, answer, instant, now, shows
from schemas.projects import Scope
from schemas.quotas import EVENTS
from schemas.series import Metric
from storage.meta.projects import list_projects

_USAGE = {
    "period": {"start": "2026-02-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"},
    "events": {"used": 45230, "limit": None},
    "pageviews": 30100,
    "projects": 2,
}


def create_router(desk: Desk) -> APIRouter:
    """The route; its path is below the prefix of the surface."""
    router = APIRouter(tags=["account"])

    @router.get("/usage", responses=shows(_USAGE))
    async def get_usage(request: Request) -> Response:
        """Events and pageviews of all projects of the account since the first of the month, in UTC."""
        key = await desk.caller(request, Scope.READ)
        found = await blocking(list_projects, desk.metadata, key.account_id)
        if key.project_id is not None:
            found = [project for project in found if project.id == key.project_id]
        month = month_of(now())
        numbers = [project.id for project in found]
        events, pageviews = await asyncio.gather(
            together(desk.held.analytics, numbers, Metric.EVENTS_COUNT, month),
            together(desk.held.analytics, numbers, Metric.PAGEVIEWS, month),
        )
        body: dict[str, Any] = {
            "period": {"start": instant(month.start), "end": instant(month.end)},
            "events": {"used": events, "limit": desk.metadata.quotas.get(key.plan, {}).get(EVENTS)},
            "pageviews": pageviews,
            "projects": len(found),
        }
        return answer(body)

    return router
