"""`/funnels` of the native surface, and how far people came in each."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from msgspec import to_builtins

from api.analytics.asking import Asked
from api.dependencies import META_OF_ROWS, Text, answer, parameters
from api.routes.kept import Crud, Item, Keeping, Resource, ThingId, add_routes, shown, stored
from schemas.conversions import funnel_question
from schemas.kept import Funnel, Goal, Step
from schemas.projects import Role
from schemas.questions import InvalidQuestion, parse_interval
from schemas.windows import buckets
from storage.meta.kept import Kept

_BY_TYPE = {
    "pageview": ("path", "matchType"),
    "event": ("event", "eventCategory", "eventLabel"),
    "goal": ("goalId",),
}

_RESULTS: Item = {
    "steps": [
        {
            "name": "Prices",
            "count": 31,
            "fromPrevious": 100.0,
            "fromStart": 100.0,
            "dropOff": 19,
            "medianSeconds": 96.5,
            "meanSeconds": 120.4,
        }
    ],
    "timeseries": [{"date": "2026-02-15", "entered": 31, "completed": 12}],
    "paths": [{"path": ["Prices", "Signed up"], "count": 12, "meanSeconds": 120.4}],
    "meanSeconds": 120.4,
    "meta": META_OF_ROWS,
}


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["funnels"])
    steps = [
        {"name": "Prices", "type": "pageview", "path": "/pricing"},
        {"name": "Signed up", "type": "event", "event": "signup"},
    ]
    example = {"name": "Sign-up", "steps": steps, "windowSeconds": 3600}
    resource = Resource(Funnel, "/funnels", example, role=Role.MEMBER, show=_shown)
    add_routes(router, Crud(keeping, resource))
    results = resource.told_inside("funnel", _RESULTS)
    read = keeping.access.reading(compares=True)

    @router.get("/funnels/{id}/results", responses={200: results})
    async def funnel_results(
        request: Request, asked: Annotated[Asked, Depends(read)], thing_id: ThingId, interval: Text = None
    ) -> Response:
        """How many took each step in order, and what it took them."""
        funnel = await keeping.get(Funnel, asked.project, thing_id)
        goals = await stored(keeping.things.get_many, Goal, asked.project, funnel.body.goal_ids)
        with parameters():
            if asked.common.comparison is not None:
                raise InvalidQuestion("Invalid parameter: compare, ask for the earlier time")
            points = tuple(await asyncio.to_thread(buckets, asked.span, parse_interval(interval), asked.common.zone))
            question = funnel_question(funnel.body, goals, asked.selection, points)
        answered = await keeping.held.analytics.ask(question, asked.common.at)
        found = answered.answer
        body = {
            "funnel": _shown(funnel),
            "steps": found.steps,
            "timeseries": found.series,
            "paths": found.paths,
            "meanSeconds": found.mean_seconds,
        }
        return answer(request, asked, answered, body)

    return router


def _shown(thing: Kept[Funnel]) -> Item:
    steps = [_step(place, step) for place, step in enumerate(thing.body.steps, 1)]
    return shown(thing) | {"steps": steps}


def _step(place: int, step: Step) -> Item:
    fields = to_builtins(step)
    own = {name: fields[name] for name in _BY_TYPE[step.type] if fields[name] is not None}
    return {"id": f"step_{place}", "name": step.name, "type": step.type, **own, "filters": step.filters or []}
