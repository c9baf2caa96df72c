"""`GET /api/v1/events/export`: all events of a selection as a file, of any size."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.analytics.answering import Analytics
from api.analytics.asking import Asked
from api.analytics.bodies import with_event
from api.dependencies import EVENT_EXAMPLE, Access, Text, made, parameters
from api.shapes import content
from schemas.answers import EXACT
from schemas.exports import MEDIA_TYPES, ExportCursor, ExportQuestion, parse_format
from schemas.instants import from_millis, to_millis
from schemas.questions import parse_number
from schemas.windows import TimeRange

_DEFAULT_RANGE = timedelta(days=30)
_FORMATS = "csv, json, ndjson, parquet or arrow; else by Accept."

_EXAMPLE: dict[int | str, dict[str, Any]] = {
    200: {"description": "OK", "content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()}}
}
_EXAMPLE[200]["content"] |= content([EVENT_EXAMPLE], {"type": "array"})["content"]


def create_router(analytics: Analytics, access: Access) -> APIRouter:
    """The route, to be included before `/events/{eventId}`."""
    router = APIRouter(tags=["events"])

    @router.get("/events/export", response_class=Response, responses=_EXAMPLE)
    async def export(
        request: Request,
        asked: Annotated[Asked, Depends(access.reading(_DEFAULT_RANGE))],
        event: Text = None,
        form: Annotated[str | None, Query(alias="format", description=_FORMATS)] = None,
        cursor: Annotated[str | None, Query(description="`Streamgauge-Cursor` of the download to go on with.")] = None,
        skip: Annotated[str | None, Query(description="Rows of it that you hold.")] = None,
    ) -> StreamingResponse:
        """Events in the order of the lake's files. Broken off, it goes on with its cursor and the rows to skip."""
        with parameters():
            wanted = parse_format(form, request.headers.get("accept", ""))
            rest = parse_number(skip, "skip") or 0
            begun = None if cursor is None else ExportCursor.decode(cursor)
        selection, at = with_event(asked, event), asked.common.at
        if begun is not None:
            selection = replace(selection, span=TimeRange(from_millis(begun.start), from_millis(begun.end)))
            at = begun.version
        answered = await analytics.export(ExportQuestion(selection, skip=rest), wanted, at)
        span = selection.span
        headers = {
            "Content-Disposition": f'attachment; filename="events.{wanted}"',
            "Streamgauge-Cursor": ExportCursor(answered.version, to_millis(span.start), to_millis(span.end)).encode(),
            "Streamgauge-Version": str(answered.version),
            **made(str(EXACT), asked.common.timezone, answered.watermark),
        }
        return StreamingResponse(answered.answer, media_type=MEDIA_TYPES[wanted], headers=headers)

    return router
