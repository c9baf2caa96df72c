"""`/exports` of the native surface: downloads of a range, made while they are fetched."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from msgspec import to_builtins
from msgspec.structs import replace

from api.analytics.tables import write_table
from api.auth.keys import demand, project_of
from api.dependencies import EVENT_EXAMPLE, parameters
from api.errors import Problem, gone
from api.middleware import NATIVE_MOUNTS
from api.routes.kept import (
    Change,
    Crud,
    Item,
    Keeping,
    Resource,
    ThingId,
    add_route,
    add_routes,
    answered,
    instant,
    shown,
    stored,
)
from api.shapes import content, joined
from schemas.conversions import filter_kept
from schemas.exports import MEDIA_TYPES, ExportQuestion
from schemas.figures import Figures, OverviewQuestion
from schemas.keeping import InvalidKept, body_of
from schemas.kept import Export
from schemas.listing import EventsQuestion
from schemas.projects import Key, Role, Scope
from schemas.selection import Selection
from schemas.sessions import SessionsQuestion
from schemas.windows import Interval, TimeRange, buckets, parse_range, whole_second_after, zone_named
from storage.errors import NotFound
from storage.meta.activities import ActivityFilter, list_activities
from storage.meta.kept import Kept
from storage.meta.projects import project as find_project

PATH = "/exports"
DEFAULT_RANGE: Final = timedelta(days=30)
KEPT: Final = timedelta(days=7)

_ACTIVITY: Final = (
    "timestamp",
    "type",
    "action",
    "actorEmail",
    "actorName",
    "targetType",
    "targetId",
    "targetName",
    "ipMasked",
    "userAgent",
)
_SUMMARY: Final = ("date", *Figures.__struct_encode_fields__)
_PAGE: Final = 1000


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["exports"])
    example = {"type": "events", "format": "csv", "from": "2026-02-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"}
    resource = Resource(Export, PATH, example, scope=Scope.READ, role=Role.MEMBER, show=_shown, newest_first=True)
    crud = Crud(keeping, resource)
    add_routes(router, crud, without=frozenset({f"POST {PATH}", f"PATCH {PATH}/{{id}}"}))

    async def create(request: Request) -> Response:
        change = await crud.change_of(request)
        if change.body.get("type") == "activity":
            await _demand_admin(keeping, request, change.key)
        with parameters():
            made = await stored(_create, keeping, change)
        return answered(_shown(made), 201)

    async def download(request: Request, thing_id: ThingId) -> Response:
        key = await keeping.access.reader(request)
        project = await project_of(key, request.query_params.get("projectId"), keeping.held.find_project, Role.MEMBER)
        export = await keeping.get(Export, project, thing_id)
        if export.body.type == "activity":
            await _demand_admin(keeping, request, key)
        if export.body.expires_at is not None and export.body.expires_at <= datetime.now(UTC):
            raise gone("The export has expired; make a new one")
        rows, chunks = await _chunks(keeping, export)
        name = f"{export.body.type}-{export.body.from_:%Y-%m-%d}.{export.body.format}"
        return StreamingResponse(
            _counted(keeping, export, rows, chunks),
            media_type=MEDIA_TYPES[export.body.format],
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )

    text = {"type": ["string", "null"], "description": "ISO 8601, or a date."}
    takes = joined(resource.taken, {"properties": {"from": text, "to": text}})
    add_route(router, "POST", PATH, create, "Describe a download.", example, takes=takes, tells=resource.told())
    whole: Item = {"content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()}}
    whole["content"] |= content([EVENT_EXAMPLE], {"type": "array"})["content"]
    said = "The download itself, of any size."
    add_route(router, "GET", f"{PATH}/{{id}}/download", download, said, tells=whole, errors=(409, 410))
    return router


async def _demand_admin(keeping: Keeping, request: Request, key: Key) -> None:
    """The log of changes is for those who may read it as it is."""
    demand(key, Scope.ADMIN)
    await project_of(key, request.query_params.get("projectId"), keeping.held.find_project, Role.ADMIN)


def _create(keeping: Keeping, change: Change) -> Kept[Export]:
    texts: Item = {}
    for name in ("from", "to"):
        text = change.body.get(name)
        if text is not None and not isinstance(text, str):
            raise InvalidKept(name)
        texts[name] = text
    body = body_of(Export, {name: value for name, value in change.body.items() if name not in texts})
    span = parse_range(texts["from"], texts["to"], zone_named("UTC"), whole_second_after(change.now), DEFAULT_RANGE)
    if body.type == "summary":
        buckets(span, Interval.DAY, zone_named("UTC"))  # not more days than can be answered
    whole = replace(body, from_=span.start, to=span.end, expires_at=change.now.astimezone(UTC) + KEPT)
    return keeping.things.create(change.project, whole, change.by, change.now)


async def _chunks(keeping: Keeping, export: Kept[Export]) -> tuple[int, AsyncIterator[bytes]]:
    """The number of rows, and what they are written as; raises Problem before the first chunk."""
    body, analytics = export.body, keeping.held.analytics
    assert body.from_ is not None
    assert body.to is not None
    span = TimeRange(body.from_, body.to)
    selection = Selection(export.project_id, span, filter_kept(body.filters))
    match body.type:
        case "events":
            events = await analytics.ask(EventsQuestion(export.project_id, span, 1, filters=selection.filters))
            found = await analytics.export(ExportQuestion(selection), body.format, events.version)
            return events.answer.total, found.answer
        case "sessions":
            sessions = await analytics.ask(SessionsQuestion(selection, 1))
            found = await analytics.export(ExportQuestion(selection, "sessions"), body.format, sessions.version)
            return sessions.answer.total, found.answer
        case "summary":
            return await _summary(keeping, export, selection)
        case "activity":
            return await stored(_activity, keeping, export, span)


async def _summary(keeping: Keeping, export: Kept[Export], selection: Selection) -> tuple[int, AsyncIterator[bytes]]:
    """The figures of each day of UTC."""
    points = tuple(await asyncio.to_thread(buckets, selection.span, Interval.DAY, zone_named("UTC")))
    found = (await keeping.held.analytics.ask(OverviewQuestion(selection, points))).answer
    rows: list[Item] = [
        {"date": point.label, **to_builtins(figures)} for point, figures in zip(points, found.series, strict=True)
    ]
    assert export.body.format != "parquet"
    return len(rows), _threaded(write_table(_SUMMARY, rows, export.body.format))


def _activity(keeping: Keeping, export: Kept[Export], span: TimeRange) -> tuple[int, AsyncIterator[bytes]]:
    """Lines of the log, newest first. Blocks."""
    metadata = keeping.things.metadata
    tenant = find_project(metadata, export.project_id)
    if tenant is None:
        raise NotFound("no project")
    wanted = ActivityFilter(export.project_id, start=span.start, end=span.end)
    total = list_activities(metadata, tenant.account_id, wanted, limit=1).total

    def lines() -> Iterator[Item]:
        before = None
        while items := list_activities(metadata, tenant.account_id, wanted, limit=_PAGE, before=before).items:
            for item in items:
                what, actor = item.activity, item.actor
                yield {
                    "timestamp": instant(item.at),
                    "type": item.type,
                    "action": what.action,
                    "actorEmail": actor.email if actor else None,
                    "actorName": actor.name if actor else None,
                    "targetType": what.target_type,
                    "targetId": what.target_id,
                    "targetName": what.target_name,
                    "ipMasked": item.masked_address,
                    "userAgent": item.agent,
                }
            before = items[-1].number

    assert export.body.format != "parquet"
    return total, _threaded(write_table(_ACTIVITY, lines(), export.body.format))


async def _threaded(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """What a blocking iterator gives, off the event loop."""
    end = object()
    while (piece := await asyncio.to_thread(next, pieces, end)) is not end:
        yield piece  # type: ignore[misc]  # the end is not a piece


async def _counted(
    keeping: Keeping, export: Kept[Export], rows: int, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The chunks; once all were taken, their size is noted."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        yield chunk

    def note(old: Export) -> Export:
        return replace(old, rows=rows, bytes=size)

    with contextlib.suppress(Problem):  # the download is whole, whatever becomes of the note
        await stored(keeping.things.change, Export, export.project_id, export.id, note, None, export.updated_at)


def _shown(thing: Kept[Export]) -> dict[str, Any]:
    url = f"{NATIVE_MOUNTS[0]}{PATH}/{thing.id}/download"
    return shown(thing) | {"filters": thing.body.filters or [], "downloadUrl": url}
