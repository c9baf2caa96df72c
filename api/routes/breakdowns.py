"""`GET /api/v1/breakdowns`: the figures of a project by the values of a dimension."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.dependencies import META_EXAMPLE, Access, Text, answer, parameters, told
from schemas.figures import BreakdownQuestion, parse_dimension, parse_sort
from schemas.questions import parse_flag, parse_limit, parse_offset

_ROW = {
    "value": "/pricing",
    "visitors": 31,
    "pageviews": 52,
    "events": 52,
    "sessions": 35,
    "bounceRate": 42.9,
    "avgSessionDuration": 96,
}
# With a goal.
_CONVERSION = {
    "value": "/pricing",
    "visitors": 31,
    "completions": 5,
    "uniqueCompletions": 4,
    "conversionRate": 16.1,
    "uniqueConversionRate": 12.9,
}
_META = META_EXAMPLE | {"total": 18, "limit": 1, "hasMore": True}


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The route; its path is below the prefix of the surface."""
    router = APIRouter(tags=["analytics"])

    @router.get("/breakdowns", responses=told(data=[_ROW, _CONVERSION], meta=_META))
    async def get_breakdown(
        request: Request,
        asked: Annotated[Asked, Depends(access.reading())],
        dimension: Text = None,
        sort: Text = None,
        limit: Text = None,
        offset: Text = None,
        other: Text = None,
        goal_id: Annotated[str | None, Query(alias="goalId", description="The conversion of a goal instead.")] = None,
    ) -> Response:
        """The values of a dimension, most first; with `other=true` a last row for all that are not listed."""
        if goal_id is not None:
            return await conversions(request, asked, goal_id, dimension, limit)
        with parameters():
            question = BreakdownQuestion(
                asked.selection,
                parse_dimension(dimension),
                parse_sort(sort),
                size := parse_limit(limit),
                begin := parse_offset(offset),
                parse_flag(other, "other"),
            )
        answered = await analytics.ask(question, asked.common.at)
        found = answered.answer
        more = {"total": found.total, "limit": size, "hasMore": begin + len(found.rows) < found.total}
        body: dict[str, object] = {"data": found.rows}
        if found.other is not None:
            body["other"] = found.other
        return answer(request, asked, answered, body, found.accuracy, bots=found.bots, more=more)

    async def conversions(
        request: Request, asked: Asked, goal_id: str, dimension: str | None, limit: str | None
    ) -> Response:
        with parameters():
            wanted, size = parse_dimension(dimension), parse_limit(limit)
        answered = await analytics.ask(await access.goal(asked, goal_id, (), wanted, size), asked.common.at)
        rows = [{"value": row.name, "visitors": row.visitors} | row.figures() for row in answered.answer.values]
        found = answered.answer
        more = {"total": found.number, "limit": size, "hasMore": len(rows) < found.number}
        return answer(request, asked, answered, {"data": rows}, bots=found.bots, more=more)

    return router
