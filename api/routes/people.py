"""`GET /api/v1/users`: people with their profiles, one of them, and what they did."""

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.dependencies import (
    EVENT_EXAMPLE,
    META_OF_ROWS,
    Access,
    Text,
    answer,
    json_answer,
    made,
    page,
    parameters,
    told,
)
from api.errors import not_found
from api.shapes import PAGE
from schemas.answers import EXACT
from schemas.filters import parse_filters
from schemas.instants import format_instant, from_millis
from schemas.listing import EventCursor, EventsQuestion
from schemas.people import PeopleQuestion, Person
from schemas.projects import Key
from schemas.questions import parse_limit, parse_offset
from schemas.windows import TimeRange

_DEFAULT_RANGE = timedelta(days=30)
_PERSON: dict[str, Any] = {
    "userId": "user-1",
    "properties": {},
    "firstSeen": "2026-02-15T08:00:00Z",
    "lastSeen": "2026-02-22T10:30:00Z",
    "eventCount": 84,
    "aliases": ["anonymous-7"],
}
_UNSEEN = frozenset({"firstSeen", "lastSeen"})
_ONE = told(**_PERSON, nullable=_UNSEEN)
_MANY = told(data=[_PERSON], meta={"total": 1284, "limit": 100, "hasMore": True}, nullable=_UNSEEN)
_EVENTS = told(data=[EVENT_EXAMPLE], meta=META_OF_ROWS | PAGE, nullable={"userId", "source", "nextCursor"})


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(prefix="/users", tags=["people"])
    reader = Annotated[Key, Depends(access.reader)]

    @router.get("", responses=_MANY)
    async def list_users(
        request: Request,
        key: reader,
        search: Text = None,
        filters: Text = None,
        limit: Text = None,
        offset: Text = None,
    ) -> Response:
        """People who have an id of their own or a profile, last seen first; `filters` are of profile properties."""
        with parameters():
            wanted, size, begin = parse_filters(filters), parse_limit(limit), parse_offset(offset)
        project = await access.project(key, request)
        answered = await analytics.ask(PeopleQuestion(project, search or "", wanted, size, begin))
        found = answered.answer
        meta = {"total": found.total, "limit": size, "hasMore": begin + len(found.people) < found.total}
        body = {"data": [_told(person) for person in found.people], "meta": meta}
        return json_answer(request, body, made(str(EXACT), "UTC", answered.watermark))

    @router.get("/{user_id:path}/events", responses=_EVENTS)
    async def list_events(
        request: Request,
        user_id: str,
        asked: Annotated[Asked, Depends(access.reading(_DEFAULT_RANGE))],
        limit: Text = None,
        cursor: Text = None,
    ) -> Response:
        """What somebody did under all their ids, newest first."""
        with parameters():
            after = None if cursor is None else EventCursor.decode(cursor)
            size = parse_limit(limit)
        span = asked.span if after is None else TimeRange(from_millis(after.start), from_millis(after.end))
        question = EventsQuestion(
            asked.project,
            span,
            size,
            after,
            includes_bots=asked.selection.includes_bots,
            filters=asked.selection.filters,
            person=user_id,
        )
        answered = await analytics.ask(question, asked.common.at)
        found = answered.answer
        return answer(request, asked, answered, {"data": found.items}, more=page(found.total, size, found.next))

    @router.get("/{user_id:path}", responses=_ONE)
    async def get_user(request: Request, key: reader, user_id: str) -> Response:
        """Somebody by any of their ids."""
        project = await access.project(key, request)
        answered = await analytics.person(project, user_id)
        if answered.answer is None:
            raise not_found()
        return json_answer(request, _told(answered.answer), {})

    return router


def _told(person: Person) -> dict[str, Any]:
    """With its instants as texts."""
    seen = {"firstSeen": person.first_seen, "lastSeen": person.last_seen}
    texts = {name: None if millis is None else format_instant(millis) for name, millis in seen.items()}
    told: dict[str, Any] = msgspec.to_builtins(person)
    return told | texts
