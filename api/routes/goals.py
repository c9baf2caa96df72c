"""`/goals` of the native surface, and how often each was reached."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from api.analytics.asking import Asked
from api.dependencies import META_OF_ROWS, Text, answer, parameters
from api.routes.kept import Crud, Item, Keeping, Resource, ThingId, add_routes, shown
from schemas.conversions import goal_question
from schemas.goals import Conversion
from schemas.kept import Goal
from schemas.projects import Role
from schemas.questions import InvalidQuestion, parse_interval
from schemas.windows import buckets
from storage.meta.kept import Kept

_CONVERSION = {"completions": 12, "conversionRate": 14.3}
_RESULTS: Item = {
    "results": {
        **_CONVERSION,
        "uniqueCompletions": 11,
        "uniqueConversionRate": 13.1,
        "totalValue": 60.0,
        "avgValue": 5.0,
    },
    "timeseries": [{"date": "2026-02-15", **_CONVERSION}],
    "topSources": [{"source": "example.org", **_CONVERSION}],
    "topPages": [{"path": "/pricing", **_CONVERSION}],
    "meta": META_OF_ROWS,
}


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["goals"])
    example = {"name": "Signed up", "type": "event", "event": "signup", "value": 5}
    resource = Resource(Goal, "/goals", example, role=Role.MEMBER, show=_shown)
    add_routes(router, Crud(keeping, resource))
    results = resource.told_inside("goal", _RESULTS)
    read = keeping.access.reading(compares=True)

    @router.get("/goals/{id}/results", responses={200: results})
    async def goal_results(
        request: Request, asked: Annotated[Asked, Depends(read)], thing_id: ThingId, interval: Text = None
    ) -> Response:
        """Completions, the people behind them, their worth, and where they came from."""
        goal = await keeping.get(Goal, asked.project, thing_id)
        with parameters():
            if asked.common.comparison is not None:
                raise InvalidQuestion("Invalid parameter: compare, ask for the earlier time")
            points = tuple(await asyncio.to_thread(buckets, asked.span, parse_interval(interval), asked.common.zone))
            question = goal_question(goal.body, asked.selection, points)
        answered = await keeping.held.analytics.ask(question, asked.common.at)
        found = answered.answer
        body: Item = {
            "goal": _shown(goal),
            "results": {
                "completions": found.total.completions,
                "uniqueCompletions": found.total.people,
                "conversionRate": found.total.rate,
                "uniqueConversionRate": found.total.people_rate,
                "totalValue": found.value,
                "avgValue": round(found.value / found.total.completions, 2) if found.total.completions else 0,
            },
            "timeseries": [_conversion("date", point) for point in found.series],
            "topSources": [_conversion("source", source) for source in found.sources],
            "topPages": [_conversion("path", page) for page in found.pages],
        }
        return answer(request, asked, answered, body)

    return router


def _shown(thing: Kept[Goal]) -> dict[str, Any]:
    return shown(thing) | {"filters": thing.body.filters or []}


def _conversion(name: str, found: Conversion) -> Item:
    return {name: found.name, "completions": found.completions, "conversionRate": found.rate}
