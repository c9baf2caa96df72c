"""`GET /api/v1/events`: a page of events, and one event with the place it is at."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.dependencies import EVENT_EXAMPLE, Access, Text, json_answer, made, page, parameters, told
from api.errors import not_found
from api.shapes import PAGE
from schemas.answers import EXACT
from schemas.instants import from_millis
from schemas.listing import EventCursor, EventsQuestion
from schemas.projects import Key
from schemas.questions import parse_limit
from schemas.windows import TimeRange

_DEFAULT_RANGE = timedelta(days=30)
# Paths of other routes and surfaces below /events, which are no event ids.
_RESERVED = frozenset({"batch", "stream", "pageview", "custom", "event"})

_MANY = told(data=[EVENT_EXAMPLE], meta=PAGE, nullable={"userId", "source", "nextCursor"})
_ONE = told(
    **EVENT_EXAMPLE,
    sessionId="s-1",
    context={"path": "/pricing"},
    receivedAt="2026-02-22T10:30:00.142Z",
    state="in_lake",
    partition=0,
    offset=17,
    index=0,
    lakeVersion=41,
    nullable={"userId", "source", "sessionId", "context", "lakeVersion"},
)


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["events"])
    reader = Annotated[Key, Depends(access.reader)]

    @router.get("/events", responses=_MANY)
    async def list_events(
        request: Request,
        asked: Annotated[Asked, Depends(access.reading(_DEFAULT_RANGE))],
        event: Text = None,
        limit: Text = None,
        cursor: Text = None,
        user_id: Annotated[str | None, Query(alias="userId")] = None,
        session_id: Annotated[str | None, Query(alias="sessionId")] = None,
        source: Text = None,
    ) -> Response:
        """Events of the project, newest first, with the number of all that match."""
        with parameters():
            after = None if cursor is None else EventCursor.decode(cursor)
            size = parse_limit(limit)
        # Pages that follow stay in the range of the first.
        span = asked.span if after is None else TimeRange(from_millis(after.start), from_millis(after.end))
        chosen = asked.selection
        question = EventsQuestion(
            asked.project,
            span,
            size,
            after,
            event,
            user_id,
            session_id,
            source,
            chosen.includes_bots,
            chosen.filters,
        )
        answered = await analytics.ask(question, asked.common.at)
        found = answered.answer
        headers = made(str(EXACT), asked.common.timezone, answered.watermark)
        return json_answer(request, {"data": found.items, "meta": page(found.total, size, found.next)}, headers)

    @router.get("/events/{event_id:path}", responses=_ONE)
    async def get_event(request: Request, key: reader, event_id: str) -> Response:
        """One event: `in_log` from the moment it is accepted, `in_lake` once queries see it."""
        project = await access.project(key, request)
        found = None if event_id in _RESERVED else await analytics.event(project, event_id)
        if found is None:
            raise not_found()
        return json_answer(request, found, {})

    return router
