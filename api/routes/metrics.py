"""`GET /api/v1/metrics`: one number of a project over time."""

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.dependencies import Access, Text, json_answer, made, parameters, told
from schemas.answers import EXACT
from schemas.filters import both, equals
from schemas.questions import InvalidQuestion, parse_interval
from schemas.series import SeriesQuestion, parse_measure
from schemas.windows import buckets

_EXAMPLE = told(metric="unique_users", interval="day", data=[{"date": "2026-02-15", "value": 84.0}], nullable={"value"})


# People who reached a goal in percent of all.
CONVERSION = "conversion"


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The route; its path is below the prefix of the surface."""
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", responses=_EXAMPLE)
    async def get_metric(
        request: Request,
        asked: Annotated[Asked, Depends(access.reading(compares=True))],
        metric: Text = None,
        interval: Text = None,
        event: Text = None,
        goal_id: Annotated[str | None, Query(alias="goalId", description="Of the metric `conversion`.")] = None,
    ) -> Response:
        """A metric by hour, day, week or month, zero where nothing happened."""
        if metric == CONVERSION:
            return await conversion(request, asked, goal_id, interval)
        common, selection = asked.common, asked.selection
        with parameters():
            measure, width = parse_measure(metric), parse_interval(interval)
            if common.comparison is not None:  # its body has no place for a second series
                raise InvalidQuestion("Invalid parameter: compare, ask for the earlier time")
            # Thousands of hours take a while to count out.
            points = tuple(await asyncio.to_thread(buckets, asked.span, width, common.zone))
            if event:
                selection = replace(selection, filters=both(equals("event", event), selection.filters))
            question = SeriesQuestion(selection, measure, points, is_exact=common.is_exact)
        answered = await analytics.ask(question, common.at)
        [series] = answered.answer.series
        data = [{"date": point.label, "value": value} for point, value in zip(points, series.data, strict=True)]
        return json_answer(
            request,
            {"metric": str(measure), "interval": width, "data": data},
            made(str(answered.answer.accuracy), common.timezone, answered.watermark),
        )

    async def conversion(request: Request, asked: Asked, goal_id: str | None, interval: str | None) -> Response:
        with parameters():
            if goal_id is None:
                raise InvalidQuestion("Missing required parameter: goalId")
            if asked.common.comparison is not None:
                raise InvalidQuestion("Invalid parameter: compare, ask for the earlier time")
            width = parse_interval(interval)
            points = tuple(await asyncio.to_thread(buckets, asked.span, width, asked.common.zone))
        answered = await analytics.ask(await access.goal(asked, goal_id, points), asked.common.at)
        data = [{"date": point.name, "value": point.people_rate} for point in answered.answer.series]
        headers = made(str(EXACT), asked.common.timezone, answered.watermark)
        return json_answer(request, {"metric": CONVERSION, "interval": width, "data": data}, headers)

    return router
