"""`GET /api/v1/sessions`: a page of sessions, and one with its events."""

from dataclasses import replace
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.dependencies import EVENT_EXAMPLE, META_OF_ROWS, Access, Text, answer, json_answer, page, parameters, told
from api.errors import not_found
from api.shapes import PAGE
from schemas.instants import from_millis
from schemas.projects import Key
from schemas.questions import parse_flag, parse_limit
from schemas.sessions import SessionCursor, SessionPlace, SessionsQuestion
from schemas.windows import TimeRange

_SESSION = {
    "id": "sess_kqNzczHPAAABnITKqQA",
    "sessionId": "s-1",
    "userId": "user-1",
    "startedAt": "2026-02-22T10:30:00Z",
    "endedAt": "2026-02-22T10:31:00Z",
    "durationSeconds": 60,
    "pageviews": 1,
    "events": 2,
    "entryPath": "/pricing",
    "exitPath": "/pricing",
    "referrer": "example.org",
    "country": "DE",
    "device": "desktop",
    "bounced": True,
}
_NULLABLE = frozenset(
    {"sessionId", "userId", "entryPath", "exitPath", "referrer", "country", "device", "source", "nextCursor"}
)
_MANY = told(data=[_SESSION], meta=META_OF_ROWS | PAGE, nullable=_NULLABLE)
_ONE = told(**_SESSION, items=[EVENT_EXAMPLE], nullable=_NULLABLE)


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(prefix="/sessions", tags=["analytics"])

    @router.get("", responses=_MANY)
    async def list_sessions(
        request: Request,
        asked: Annotated[Asked, Depends(access.reading())],
        user_id: Annotated[str | None, Query(alias="userId")] = None,
        limit: Text = None,
        cursor: Text = None,
    ) -> Response:
        """Sessions that began in the range and hold an event that passes the filters, newest first."""
        with parameters():
            after = None if cursor is None else SessionCursor.decode(cursor)
            size = parse_limit(limit)
        selection = asked.selection
        if after is not None:  # pages that follow stay in the range of the first
            selection = replace(selection, span=TimeRange(from_millis(after.start), from_millis(after.end)))
        answered = await analytics.ask(SessionsQuestion(selection, size, after, user_id or None), asked.common.at)
        found = answered.answer
        return answer(request, asked, answered, {"data": found.items}, more=page(found.total, size, found.next))

    @router.get("/{session_id}", responses=_ONE)
    async def get_session(
        request: Request,
        key: Annotated[Key, Depends(access.reader)],
        session_id: str,
        include_bots: Annotated[str | None, Query(alias="includeBots")] = None,
    ) -> Response:
        """One session with its events, the first thousand of them."""
        with parameters():
            includes_bots = parse_flag(include_bots, "includeBots")
        project = await access.project(key, request)
        place = SessionPlace.of(session_id)
        found = None
        if place is not None:
            found = (await analytics.session(project, place, includes_bots=includes_bots)).answer
        if found is None:
            raise not_found()
        body: dict[str, Any] = msgspec.to_builtins(found.session)
        return json_answer(request, body | {"items": found.events}, {})

    return router
