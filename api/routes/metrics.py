"""`GET /api/v1/metrics`: one number of a project over time."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics.answering import Analytics
from api.dependencies import Access, json_answer, made, parameters
from api.errors import bad_request
from schemas.projects import Key
from schemas.questions import MetricQuestion, parse_flag, parse_interval, parse_metric
from schemas.windows import buckets, parse_range, whole_second_after, zone_named

_DEFAULT_RANGE = timedelta(days=7)
_Text = Annotated[str | None, Query()]


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The route; its path is below the prefix of the surface."""
    router = APIRouter(tags=["metrics"])
    reader = Annotated[Key, Depends(access.reader)]

    @router.get("/metrics")
    async def get_metric(
        request: Request,
        key: reader,
        metric: _Text = None,
        from_: Annotated[str | None, Query(alias="from")] = None,
        to: _Text = None,
        interval: _Text = None,
        timezone: str = "UTC",
        event: _Text = None,
        exact: _Text = None,
        include_bots: Annotated[str | None, Query(alias="includeBots")] = None,
    ) -> Response:
        """A metric by hour, day, week or month, zero where nothing happened."""
        for name in ("filters", "segmentId", "compare", "asOf"):
            if name in request.query_params:
                raise bad_request(f"Invalid parameter: {name} is not supported yet")
        with parameters():
            kind, width, zone = parse_metric(metric), parse_interval(interval), zone_named(timezone)
            span = parse_range(from_, to, zone, whole_second_after(datetime.now(UTC)), _DEFAULT_RANGE)
            is_exact, includes_bots = parse_flag(exact, "exact"), parse_flag(include_bots, "includeBots")
            # Thousands of hours take a while to count out.
            points = tuple(await asyncio.to_thread(buckets, span, width, zone))
        project = await access.project(key, request)
        with parameters():
            question = MetricQuestion(project, kind, width, timezone, points, is_exact, includes_bots, event or None)
        answered = await analytics.metric(question)
        answer = answered.answer
        return json_answer(
            request,
            {"metric": kind, "interval": width, "data": answer.points},
            made(str(answer.accuracy), timezone, answered.watermark),
        )

    return router
