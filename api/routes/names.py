"""`GET /api/v1/events/names` and `/events/properties…`: what a project's events are called and what they hold."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.analytics.bodies import with_event
from api.dependencies import META_OF_ROWS, Access, Text, answer, parameters, told
from schemas.instants import format_instant
from schemas.names import NamesQuestion
from schemas.questions import parse_limit

_SEEN = {"firstSeen": "2026-02-15T08:00:00Z", "lastSeen": "2026-02-22T10:30:00Z"}
_NAMES = told(data=[{"name": "signup", "count": 84, **_SEEN}], meta=META_OF_ROWS)
_PROPERTIES = told(data=[{"key": "plan", "types": ["string"], "count": 84}], meta=META_OF_ROWS)
_VALUES = told(data=[{"value": value, "count": 41} for value in ("pro", 7, 2.5, True, None)], meta=META_OF_ROWS)


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The routes, to be included before `/events/{eventId}`."""
    router = APIRouter(prefix="/events", tags=["events"])
    reading = Annotated[Asked, Depends(access.reading())]

    @router.get("/names", responses=_NAMES)
    async def names(request: Request, asked: reading, search: Text = None, limit: Text = None) -> Response:
        """Names of events, most frequent first, with when each came first and last in the range."""
        answered = await analytics.names(_question(asked, None, search, limit), asked.common.at)
        data = [
            {
                "name": name.name,
                "count": name.count,
                "firstSeen": format_instant(name.first_seen),
                "lastSeen": format_instant(name.last_seen),
            }
            for name in answered.answer
        ]
        return answer(request, asked, answered, {"data": data})

    @router.get("/properties", responses=_PROPERTIES)
    async def properties(
        request: Request, asked: reading, event: Text = None, search: Text = None, limit: Text = None
    ) -> Response:
        """Keys of properties with the types of their values, most frequent first."""
        answered = await analytics.properties(_question(asked, event, search, limit), asked.common.at)
        return answer(request, asked, answered, {"data": answered.answer})

    @router.get("/properties/{key:path}/values", responses=_VALUES)
    async def values(
        request: Request, asked: reading, key: str, event: Text = None, search: Text = None, limit: Text = None
    ) -> Response:
        """Values of one property, most frequent first."""
        answered = await analytics.values(_question(asked, event, search, limit), key, asked.common.at)
        return answer(request, asked, answered, {"data": answered.answer})

    return router


def _question(asked: Asked, event: str | None, search: str | None, limit: str | None) -> NamesQuestion:
    with parameters():
        return NamesQuestion(with_event(asked, event), search or "", parse_limit(limit))
