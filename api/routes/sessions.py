"""`GET /api/v1/sessions`: a page of sessions, and one with its events."""

from dataclasses import replace
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.dependencies import Access, Text, answer, json_answer, page, parameters
from api.errors import not_found
from schemas.instants import from_millis
from schemas.projects import Key
from schemas.questions import parse_flag, parse_limit
from schemas.sessions import SessionCursor, SessionPlace, SessionsQuestion
from schemas.windows import TimeRange


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(prefix="/sessions", tags=["analytics"])

    @router.get("")
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

    @router.get("/{session_id}")
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
