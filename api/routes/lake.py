"""`GET /api/v1/lake/files` and `/dead-letters`: what the lake is made of, and what did not get into it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.analytics.answering import Analytics
from api.dependencies import Access, Text, json_answer, parameters, told
from api.errors import forbidden
from schemas.letters import LettersQuestion
from schemas.projects import Key
from schemas.questions import parse_limit, parse_number, parse_offset
from schemas.windows import parse_range, whole_second_after, zone_named

_LETTERS_RANGE = timedelta(days=30)

_FILES = told(
    data=[{"path": "event_date=2026-02-22/part-0.parquet", "rows": 84, "bytes": 10240}],
    meta={"total": 1, "table": "events", "version": 41},
    nullable={"rows"},
)
_LETTER = {
    "reason": "no JSON",
    "detail": None,
    "partition": 0,
    "offset": 17,
    "index": 0,
    "raw": "{",
    "receivedAt": "2026-02-22T10:30:00.142Z",
}
_LETTERS = told(data=[_LETTER], meta={"total": 1284, "limit": 100, "hasMore": True}, nullable={"detail"})


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["analysts"])
    reader = Annotated[Key, Depends(access.reader)]

    @router.get("/lake/files", responses=_FILES)
    async def files(request: Request, key: reader, table: Text = None, version: Text = None) -> Response:
        """The files of a table at a version; for keys of a whole account, since files mix projects."""
        if key.project_id is not None:
            raise forbidden("Files hold rows of several projects: take this project's from GET /api/v1/events/export")
        with parameters():
            wanted = parse_number(version, "version")
        found = await analytics.files(table, wanted)
        meta = {"total": len(found.files), "table": table or "events", "version": found.version}
        return json_answer(request, {"data": found.files, "meta": meta}, {})

    @router.get("/dead-letters", responses=_LETTERS)
    async def dead_letters(
        request: Request,
        key: reader,
        reason: Text = None,
        from_: Annotated[str | None, Query(alias="from")] = None,
        to: Text = None,
        timezone: str = "UTC",
        limit: Text = None,
        offset: Text = None,
    ) -> Response:
        """What could not become an event of the project, newest first by when it came."""
        project = await access.project(key, request)
        with parameters():
            span = parse_range(from_, to, zone_named(timezone), whole_second_after(datetime.now(UTC)), _LETTERS_RANGE)
            size, begin = parse_limit(limit), parse_offset(offset)
            question = LettersQuestion(project, span, reason, size, begin)
        found = await analytics.dead_letters(question)
        meta = {"total": found.total, "limit": size, "hasMore": begin + len(found.letters) < found.total}
        return json_answer(request, {"data": found.letters, "meta": meta}, {})

    return router
