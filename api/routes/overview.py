"""`GET /api/v1/overview`: all figures of a project, over time, and compared with an earlier time."""

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.dependencies import META_EXAMPLE, Access, Text, answer, parameters, told
from schemas.figures import Figures, OverviewQuestion, change_percent
from schemas.questions import parse_interval
from schemas.windows import buckets

FIGURES = {
    "events": 412,
    "pageviews": 301,
    "visitors": 84,
    "sessions": 97,
    "bounces": 41,
    "bounceRate": 42.3,
    "avgSessionDuration": 184,
    "avgTimeOnPage": 61,
    "viewsPerSession": 3.1,
}
_CONVERSION = {"completions": 12, "uniqueCompletions": 11, "conversionRate": 14.3, "uniqueConversionRate": 13.1}
_POINT = {"date": "2026-02-15", **FIGURES}
_EXAMPLE = told(metrics=FIGURES, timeseries=[_POINT, _POINT | {"conversion": _CONVERSION}], meta=META_EXAMPLE)


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The route; its path is below the prefix of the surface."""
    router = APIRouter(tags=["analytics"])

    @router.get("/overview", responses=_EXAMPLE)
    async def get_overview(
        request: Request,
        asked: Annotated[Asked, Depends(access.reading(compares=True))],
        interval: Text = None,
        goal_id: Annotated[
            str | None,
            Query(
                alias="goalId",
                description="Adds `conversion`, how often a goal was reached, beside the metrics and to each point.",
            ),
        ] = None,
    ) -> Response:
        """Events, pageviews, visitors and sessions of the whole range and of each bucket of it."""
        common = asked.common
        with parameters():
            points = tuple(await asyncio.to_thread(buckets, asked.span, parse_interval(interval), common.zone))
            earlier = asked.compared
        answered = await analytics.ask(OverviewQuestion(asked.selection, points), common.at)
        found = answered.answer
        body: dict[str, Any] = {
            "metrics": found.total,
            "timeseries": [
                {"date": point.label} | msgspec.to_builtins(figures)
                for point, figures in zip(points, found.series, strict=True)
            ],
        }
        if earlier is not None:
            before = (await analytics.ask(OverviewQuestion(earlier), common.at)).answer.total
            body["comparison"] = {"metrics": before, "change": _change(before, found.total)}
        if goal_id is not None:
            goal = (await analytics.ask(await access.goal(asked, goal_id, points), found.version)).answer
            body["conversion"] = goal.total.figures()
            for point, conversion in zip(body["timeseries"], goal.series, strict=True):
                point["conversion"] = conversion.figures()
        return answer(request, asked, answered, body, found.accuracy, bots=found.bots)

    return router


def _change(before: Figures, now: Figures) -> dict[str, float | None]:
    """Percent by figure; null from nothing."""
    earlier, later = msgspec.to_builtins(before), msgspec.to_builtins(now)
    return {name: change_percent(earlier[name], later[name]) for name in later}
