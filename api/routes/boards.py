"""`GET /dashboards/{id}/data`: every widget of a dashboard answered, all at one version of the lake."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from api.analytics.asking import Asked, meta, read_common
from api.analytics.drawing import Drawn, draw
from api.dependencies import META_OF_ROWS, json_answer, made, told
from api.errors import Problem
from api.routes.kept import Item, Keeping, ThingId, shown, stored
from schemas.conversions import filter_kept
from schemas.filters import both
from schemas.instants import format_instant
from schemas.kept import Dashboard, Funnel, Goal, Widget
from schemas.questions import InvalidQuestion
from schemas.selection import Selection
from schemas.windows import InvalidWindow, whole_second_after
from storage.meta.kept import Kept, KeptRepository

# What a request says of these holds for all widgets, whatever they say themselves.
_SHARED: Final = ("from", "to", "timezone", "includeBots", "compare", "exact")
_OWN: Final = (*_SHARED, "filters", "segmentId")
# More at once would leave no thread for anybody else's question.
_AT_ONCE: Final = 4
_ITEM: Final = {"id": "wid_a8Kx92mNqP3f", "title": "Visitors", "type": "number", "position": {"x": 0, "y": 0}}
_ITEMS: Final = [
    _ITEM | {"data": {"metric": "visitors", "value": 84.0, "timeseries": []}, "meta": META_OF_ROWS},
    _ITEM | {"data": {"dimension": "path", "rows": [], "total": 0}, "meta": META_OF_ROWS},
    _ITEM | {"error": "Invalid parameter: segmentId"},
]
_EXAMPLE: Final = told(
    id="dash_a8Kx92mNqP3f",
    name="Overview",
    items=_ITEMS,
    meta={"version": 41, "watermark": "2026-02-22T10:30:00.142Z"},
)


@dataclass(frozen=True, slots=True)
class ProjectShelf:
    """What a project keeps, as widgets look for it."""

    things: KeptRepository
    project: int

    def goal(self, goal_id: str) -> Goal | None:
        return self.things.get_many(Goal, self.project, [goal_id]).get(goal_id)

    def funnel(self, funnel_id: str) -> tuple[Funnel, Mapping[str, Goal]] | None:
        found = self.things.get(Funnel, self.project, funnel_id)
        if found is None:
            return None
        return found.body, self.things.get_many(Goal, self.project, found.body.goal_ids)


def create_router(keeping: Keeping) -> APIRouter:
    """The route; its path is below the prefix of the surface."""
    router = APIRouter(tags=["dashboards"])
    read = keeping.access.reading(compares=True)

    @router.get("/dashboards/{id}/data", responses=_EXAMPLE)
    async def dashboard_data(request: Request, asked: Annotated[Asked, Depends(read)], thing_id: ThingId) -> Response:
        """The answers of all widgets; what the request says goes before what they say, and filters are joined."""
        board = await keeping.get(Dashboard, asked.project, thing_id)
        widgets = await stored(keeping.things.all, Widget, asked.project, parent_id=board.id)
        said = {name: request.query_params[name] for name in _SHARED if name in request.query_params}
        items, drawn = await _Board(keeping, asked, said).draw(widgets)
        watermark = min((one.answered.watermark for one in drawn), default=0)
        version = max((one.answered.version for one in drawn), default=0)
        body = {
            "id": board.id,
            "name": board.body.name,
            "items": items,
            "meta": {"version": version, "watermark": format_instant(watermark)},
        }
        accuracy = next((str(one.accuracy) for one in drawn if one.accuracy.error is not None), "exact")
        return json_answer(request, body, made(accuracy, asked.common.timezone, watermark))

    return router


class _Board:
    """One request for a dashboard."""

    def __init__(self, keeping: Keeping, asked: Asked, said: Mapping[str, str]) -> None:
        self._analytics = keeping.held.analytics
        self._things = keeping.things
        self._shelf = ProjectShelf(keeping.things, asked.project)
        self._asked = asked
        self._said = said
        self._at = asked.common.at
        self._now = whole_second_after(datetime.now(UTC))
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def draw(self, widgets: list[Kept[Widget]]) -> tuple[list[Item], list[Drawn]]:
        """Each widget with its data or what is wrong with it; raises Problem where nothing can be answered."""
        found: list[Drawn | str] = []
        for widget in widgets:  # until one of them has a version, which is that of all others
            if self._at is not None:
                break
            found.append(one := await self._one(widget.body))
            self._at = None if isinstance(one, str) else one.answered.version
        rest = widgets[len(found) :]
        found += await asyncio.gather(*(self._one(widget.body) for widget in rest))
        items = [_item(widget, one) for widget, one in zip(widgets, found, strict=True)]
        return items, [one for one in found if not isinstance(one, str)]

    async def _one(self, widget: Widget) -> Drawn | str:
        async with self._room:
            try:
                asked = await stored(self._asked_by, widget)
                return await draw(self._analytics, asked, widget, self._shelf, self._at)
            except (InvalidQuestion, InvalidWindow) as error:
                return str(error)
            except Problem as problem:
                if problem.status != 400:
                    raise
                return problem.message

    def _asked_by(self, widget: Widget) -> Asked:
        own: dict[str, Any] = {name: widget.query[name] for name in _OWN if name in widget.query}
        if not own:
            return self._asked
        segment_id = own.pop("segmentId", None)
        filters = both(self._asked.common.filters, filter_kept(own.pop("filters", None)))
        if segment_id is not None:
            segment = self._things.segment_filter(self._asked.project, str(segment_id))
            if segment is None:
                raise InvalidQuestion("Invalid parameter: segmentId")
            filters = both(filters, segment)
        common = replace(read_common({**own, **self._said}, self._now), filters=filters)
        return Asked(Selection(self._asked.project, common.span, filters, common.includes_bots), common)


def _item(widget: Kept[Widget], found: Drawn | str) -> Item:
    item = shown(widget)
    kept = {name: item[name] for name in ("id", "title", "type", "position")}
    if isinstance(found, str):
        return kept | {"error": found}
    return kept | {"data": found.data, "meta": meta(found.asked, found.answered, found.accuracy)}
