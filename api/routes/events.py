"""`GET /api/v1/events`: a page of events, and one event with the place it is at."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics.answering import Analytics
from api.dependencies import Access, json_answer, made, parameters
from api.errors import not_found
from schemas.answers import EXACT
from schemas.instants import from_millis
from schemas.projects import Key
from schemas.questions import EventCursor, EventsQuestion, parse_flag, parse_limit
from schemas.windows import TimeRange, parse_range, whole_second_after, zone_named

_DEFAULT_RANGE = timedelta(days=30)
# Paths of other routes below /events, which are no event ids.
_RESERVED = frozenset({"names", "properties", "batch", "stream", "pageview", "custom", "event"})
_Text = Annotated[str | None, Query()]


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["events"])
    reader = Annotated[Key, Depends(access.reader)]

    @router.get("/events")
    async def list_events(
        request: Request,
        key: reader,
        from_: Annotated[str | None, Query(alias="from")] = None,
        to: _Text = None,
        event: _Text = None,
        limit: _Text = None,
        cursor: _Text = None,
        user_id: Annotated[str | None, Query(alias="userId")] = None,
        session_id: Annotated[str | None, Query(alias="sessionId")] = None,
        source: _Text = None,
        include_bots: Annotated[str | None, Query(alias="includeBots")] = None,
        timezone: str = "UTC",
    ) -> Response:
        """Events of the project, newest first, with the number of all that match."""
        with parameters(request):
            zone = zone_named(timezone)
            after = None if cursor is None else EventCursor.decode(cursor)
            span = parse_range(from_, to, zone, whole_second_after(datetime.now(UTC)), _DEFAULT_RANGE)
            size, includes_bots = parse_limit(limit), parse_flag(include_bots, "includeBots")
        project = await access.project(key, request)
        if after is not None:
            span = TimeRange(from_millis(after.start), from_millis(after.end))
        answered = await analytics.events(
            EventsQuestion(project, span, size, after, event, user_id, session_id, source, includes_bots)
        )
        page = answered.answer
        meta = {
            "total": page.total,
            "limit": size,
            "hasMore": page.next is not None,
            "nextCursor": None if page.next is None else page.next.encode(),
        }
        headers = made(str(EXACT), timezone, answered.watermark)
        return json_answer(request, {"data": page.items, "meta": meta}, headers)

    @router.get("/events/{event_id:path}")
    async def get_event(request: Request, key: reader, event_id: str) -> Response:
        """One event: `in_log` from the moment it is accepted, `in_lake` once queries see it."""
        project = await access.project(key, request)
        found = None if event_id in _RESERVED else await analytics.event(project, event_id)
        if found is None:
            raise not_found()
        return json_answer(request, found, {})

    return router
