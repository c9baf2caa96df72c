"""`POST /api/v1/queries/…`: series, funnels, retention and paths, each a question in a JSON body."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeAlias, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.analytics.bodies import funnel_question, paths_question, retention_question, series_question
from api.dependencies import META_OF_ROWS, Access, answer, json_body, parameters, told
from api.errors import unavailable
from schemas.filters import Filter
from schemas.funnels import FunnelQuestion
from schemas.projects import Key
from schemas.questions import InvalidQuestion
from storage.errors import Unavailable

Q = TypeVar("Q")
# The events that reach a project's goal, None where it has no such goal; may block.
GoalFinder: TypeAlias = Callable[[int, str], Filter | None]

_STEPS = [{"path": "/pricing"}, {"event": "signup"}]
_STEP = {"name": "signup", "count": 12, "fromPrevious": 38.71, "fromStart": 38.71, "dropOff": 19, "medianSeconds": 96.5}
_SERIES = told(buckets=["2026-02-15"], series=[{"name": "DE", "data": [31]}], meta=META_OF_ROWS)
_RUN = {"path": ["/pricing", "signup"], "count": 12, "meanSeconds": 120.4}
_FUNNEL = told(
    steps=[_STEP], paths=[_RUN], meanSeconds=120.4, meta=META_OF_ROWS, nullable={"medianSeconds", "meanSeconds"}
)
_RETENTION = told(cohorts=[{"date": "2026-02-16", "size": 12, "values": [4, 3]}], meta=META_OF_ROWS)
_PATHS = told(paths=[{"path": ["page_view", "signup"], "count": 9}], total=12, meta=META_OF_ROWS)


def no_goals(_project: int, _goal_id: str) -> Filter | None:
    """A GoalFinder where nothing is kept."""
    return None


def create_router(analytics: Analytics, access: Access, find_goal: GoalFinder = no_goals) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(prefix="/queries", tags=["analytics"])
    reader = _Reader(access, find_goal)
    holder = Annotated[Key, Depends(access.reader)]

    @router.post("/series", openapi_extra=_body(metric="unique", breakdown="country"), responses=_SERIES)
    async def series(request: Request, key: holder) -> Response:
        """A metric over time, of the largest values of a dimension if `breakdown` names one."""
        asked, question = await reader.read(request, key, series_question)
        answered = await analytics.ask(question, asked.common.at)
        body = {"buckets": [bucket.label for bucket in question.buckets], "series": answered.answer.series}
        return answer(request, asked, answered, body, answered.answer.accuracy)

    @router.post("/funnel", openapi_extra=_body(steps=_STEPS, windowSeconds=3600), responses=_FUNNEL)
    async def funnel(request: Request, key: holder) -> Response:
        """How many went through steps in their order, within a window counted from the first."""

        asked, question = await reader.read(request, key, reader.funnel, compares=True)
        answered = await analytics.ask(question, asked.common.at)
        found = answered.answer
        body: dict[str, Any] = {"steps": found.steps, "paths": found.paths, "meanSeconds": found.mean_seconds}
        if question.buckets:
            body["timeseries"] = found.series
        if question.dimension is not None:
            body["breakdown"] = [{"value": value, "steps": steps} for value, steps in found.by_value]
        if (earlier := asked.compared) is not None:
            before = await analytics.ask(replace(question, selection=earlier, buckets=()), asked.common.at)
            body["comparison"] = {"steps": before.answer.steps}
        return answer(request, asked, answered, body)

    @router.post("/retention", openapi_extra=_body(bornEvent="signup", interval="week"), responses=_RETENTION)
    async def retention(request: Request, key: holder) -> Response:
        """Of those who began in a day, week or month, how many were back in each later one."""
        asked, question = await reader.read(request, key, retention_question)
        answered = await analytics.ask(question, asked.common.at)
        return answer(request, asked, answered, {"cohorts": answered.answer.cohorts})

    @router.post("/paths", openapi_extra=_body(event="signup", direction="before"), responses=_PATHS)
    async def paths(request: Request, key: holder) -> Response:
        """What came after, or before, an event or a page in the sessions that have it."""
        asked, question = await reader.read(request, key, paths_question)
        answered = await analytics.ask(question, asked.common.at)
        return answer(request, asked, answered, {"paths": answered.answer.paths, "total": answered.answer.total})

    return router


class _Reader:
    """Reads questions out of bodies."""

    def __init__(self, access: Access, find_goal: GoalFinder) -> None:
        self._access = access
        self._find_goal = find_goal

    async def read(
        self, request: Request, key: Key, parse: Callable[[Asked, dict[str, Any]], Q], *, compares: bool = False
    ) -> tuple[Asked, Q]:
        """The common parameters and the question; raises Problem."""
        body = await json_body(request)
        asked = await self._access.asked_in(key, request, body)
        with parameters():
            if asked.common.comparison is not None and not compares:
                raise InvalidQuestion("Invalid parameter: compare, ask for the earlier time")
            # Thousands of buckets take a while to count out, and a goal is read from the database.
            return asked, await asyncio.to_thread(parse, asked, body)

    def funnel(self, asked: Asked, body: dict[str, Any]) -> FunnelQuestion:
        """With the goals that its steps name."""
        return funnel_question(asked, body, partial(self._goal, asked.project))

    def _goal(self, project: int, goal_id: str) -> Filter:
        try:
            found = self._find_goal(project, goal_id)
        except Unavailable as error:
            raise unavailable(f"The goal cannot be read now: {error}") from error
        if found is None:
            raise InvalidQuestion("Invalid field: goalId")
        return found


def _body(**example: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}
