"""`/sources` of the native surface (J-3, J-4): where a project's events come from, each with a key of its own.

A source whose provider keeps events is pulled from the first `POST /sources/{id}/sync` on.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Query, Request, Response
from msgspec.structs import replace

from api.connectors.connector import NotPullable
from api.dependencies import Text, json_answer, parameters
from api.errors import bad_request, conflict
from api.routes.kept import (
    Change,
    Crud,
    Item,
    Keeping,
    Resource,
    ThingId,
    add_route,
    answered,
    fields_of,
    instant,
    listed,
    stored,
    told_page,
)
from api.shapes import Schema, content, joined, shape
from schemas.keeping import body_of, changed_body, check_credentials
from schemas.kept import Source, SourceActivity
from schemas.projects import Scope
from schemas.questions import InvalidQuestion, parse_limit
from storage.errors import SecretUnreadable
from storage.meta.kept import Kept
from storage.meta.keys import NewKey
from storage.meta.sources import create_source, delete_source, request_sync

PATH = "/sources"
# Before any of the providers: a typing error, and centuries of windows.
_EARLIEST: Final = datetime(2005, 1, 1, tzinfo=UTC)
_NAMED: Final = {"id": "src_a8Kx92mNqP3f", "provider": "google_analytics", "name": "GA4 — Staging"}
_MADE: Final = _NAMED | {"status": "provisioning", "createdAt": "2026-02-22T10:30:00Z", "writeKey": "sg_0123456789ab"}
_SOURCE: Final = _NAMED | {"status": "active", "lastSync": "2026-02-22T10:30:00Z", "eventsToday": 1204}
_WHOLE: Final = _SOURCE | {
    "statusMessage": None,
    "keyId": "key_a8Kx92mNqP3f",
    "sync": {
        "cursor": "2026-02-22T00:00:00Z",
        "next": "2026-02-22T11:30:00Z",
        "failures": 0,
        "accepted": 1204,
        "refused": 0,
    },
    "createdAt": "2026-02-22T10:30:00Z",
    "updatedAt": "2026-02-22T10:30:00Z",
}
_NULLABLE: Final = frozenset({"lastSync", "statusMessage", "keyId", "sync"})

Since: TypeAlias = Annotated[str | None, Query(alias="from", description="YYYY-MM-DD, in UTC", examples=["2026-01-01"])]


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["sources"])
    example = {
        "provider": "google_analytics",
        "name": "GA4 — Staging",
        "credentials": {"measurementId": "G-XXXXXXXXXX", "apiSecret": "xxxxxxxxxxxxxxxx"},
    }
    resource = Resource(Source, PATH, example, scope=Scope.ADMIN)
    crud = Crud(keeping, resource)
    credentials: Schema = {"properties": {"credentials": {"type": "object"}}}
    takes = joined(resource.taken, credentials)
    one = f"{PATH}/{{id}}"

    async def list_sources(request: Request, limit: Text = None, cursor: Text = None) -> Response:
        project = await keeping.reading(request)
        with parameters():
            size = parse_limit(limit)
        page = await stored(keeping.things.page, Source, project, limit=size, after=cursor)
        seen = await _activity(keeping, project, page.items)
        return listed(request, [_shown(item, seen.get(item.id)) for item in page.items], page, size)

    async def create(request: Request) -> Response:
        made, key = await stored(_create, keeping, await crud.change_of(request))
        body = {
            "id": made.id,
            "provider": made.body.provider,
            "name": made.body.name,
            "status": made.body.status,
            "createdAt": instant(made.created_at),
            "writeKey": key.secret,
        }
        return answered(body, 201)

    async def get(request: Request, thing_id: ThingId) -> Response:
        project = await keeping.reading(request)
        found = await keeping.get(Source, project, thing_id)
        seen = await _activity(keeping, project, [found])
        return json_answer(request, _shown_whole(found, seen.get(found.id)), {})

    async def change(request: Request, thing_id: ThingId) -> Response:
        asked = await crud.change_of(request)
        new = await stored(_change, keeping, asked, thing_id)
        seen = await _activity(keeping, asked.project, [new])
        return answered(_shown_whole(new, seen.get(new.id)))

    async def sync(request: Request, thing_id: ThingId, since: Since = None) -> Response:
        asked = await crud.change_of(request, needs_body=False)
        with parameters():
            start = _start(since, asked.now)
        await _check_pullable(keeping, asked.project, thing_id)
        made = await stored(request_sync, keeping.things, asked.project, thing_id, start, asked.by, asked.now)
        seen = await _activity(keeping, asked.project, [made])
        return answered(_shown_whole(made, seen.get(made.id)), 202)

    async def delete(request: Request, thing_id: ThingId) -> Response:
        asked = await crud.change_of(request, needs_body=False)
        await stored(delete_source, keeping.things, asked.project, thing_id, asked.by, asked.now)
        return Response(status_code=204)

    whole, made = content(_WHOLE, nullable=_NULLABLE), content(_MADE)
    said = "The project's sources, and what came from each today."
    add_route(router, "GET", PATH, list_sources, said, tells=told_page(_SOURCE, shape(_SOURCE, _NULLABLE)))
    said = "Connect a source; its write key is shown this once."
    add_route(router, "POST", PATH, create, said, example, takes=takes, tells=made)
    add_route(router, "GET", one, get, "One source.", tells=whole)
    said = "Change the name or the credentials of a source."
    add_route(router, "PATCH", one, change, said, {"name": "GA4"}, takes=takes, tells=whole)
    pulls = "Pull a source now, and from now on by itself; `from` is a day to begin at."
    add_route(router, "POST", f"{one}/sync", sync, pulls, tells=whole, status=202, errors=(409,))
    add_route(router, "DELETE", one, delete, "Disconnect a source; its write key is refused from then on.")
    return router


def _create(keeping: Keeping, change: Change) -> tuple[Kept[Source], NewKey]:
    body = body_of(Source, change.body)
    credentials = check_credentials(body.provider, change.body["credentials"])
    return create_source(keeping.things, change.project, body, credentials, change.by, change.now)


def _change(keeping: Keeping, change: Change, source_id: str) -> Kept[Source]:
    old = keeping.things.get(Source, change.project, source_id)
    secret = None
    if old is not None:
        provider = change.body.get("provider", old.body.provider)
        if "credentials" in change.body or provider != old.body.provider:
            secret = check_credentials(provider, change.body.get("credentials"))

    def changed(body: Source) -> Source:
        new = changed_body(body, change.body)
        if body.sync is None or secret is None:
            return new
        # Another provider's cursor says nothing; other credentials are tried at once.
        sync = replace(body.sync, next=change.now, failures=0) if new.provider == body.provider else None
        return replace(new, sync=sync)

    return keeping.things.change(Source, change.project, source_id, changed, change.by, change.now, secret=secret)


async def _check_pullable(keeping: Keeping, project: int, source_id: str) -> None:
    """Raises Problem for a source that is not there, or that nobody can read with the credentials it has."""
    found = await keeping.get(Source, project, source_id)
    try:
        secret = await stored(keeping.things.secret, Source, project, source_id)
        keeping.held.catalogue.connector(found.body.provider, secret)
    except NotPullable as error:
        raise bad_request(str(error)) from error
    except SecretUnreadable as error:
        raise conflict("The credentials cannot be read any more; set them again") from error


def _start(text: str | None, now: datetime) -> datetime | None:
    """The day to begin at, which windows of days and of hours both can. Raises InvalidQuestion."""
    if text is None:
        return None
    try:
        start = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidQuestion("Invalid parameter: from") from error
    if not _EARLIEST <= start <= now:
        raise InvalidQuestion("Invalid parameter: from")
    return start


async def _activity(keeping: Keeping, project: int, items: Sequence[Kept[Source]]) -> Mapping[str, SourceActivity]:
    """What the lake knows of the sources; the first event of one is remembered, so that it stays active."""
    if not items:
        return {}
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found = (await keeping.held.analytics.sources(project, tuple(item.id for item in items), today)).answer
    for item in items:
        seen = found.get(item.id)
        if seen is not None and item.body.status == "provisioning":
            await stored(_activate, keeping, item, seen)
    return found


def _activate(keeping: Keeping, item: Kept[Source], seen: SourceActivity) -> None:
    keeping.things.change(
        Source,
        item.project_id,
        item.id,
        lambda old: replace(old, status="active", last_sync=seen.last) if old.status == "provisioning" else old,
        None,
        seen.last,
    )


def _shown(thing: Kept[Source], seen: SourceActivity | None) -> Item:
    """The six fields of the seed."""
    body = thing.body
    # Of a source that is pulled, when it was asked last; of one that sends, when it sent last.
    last = body.last_sync if body.sync is not None or seen is None else seen.last
    return {
        "id": thing.id,
        "provider": body.provider,
        "name": body.name,
        "status": "active" if seen is not None and body.status == "provisioning" else body.status,
        "lastSync": None if last is None else instant(last),
        "eventsToday": 0 if seen is None else seen.today,
    }


def _shown_whole(thing: Kept[Source], seen: SourceActivity | None) -> Item:
    return _shown(thing, seen) | {
        "statusMessage": thing.body.status_message,
        "keyId": thing.body.key_id,
        "sync": None if (sync := thing.body.sync) is None else fields_of(sync),
        "createdAt": instant(thing.created_at),
        "updatedAt": instant(thing.updated_at),
    }
