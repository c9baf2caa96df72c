"""`/exports` of the native surface: downloads of a range, made while they are fetched."""

from datetime import UTC, timedelta
from typing import Final

from fastapi import APIRouter, Request, Response
from msgspec.structs import replace

from api.dependencies import parameters
from api.routes.kept import Change, Crud, Item, Keeping, Resource, add_route, add_routes, answered, shown, stored
from schemas.keeping import InvalidKept, body_of
from schemas.kept import Export
from schemas.projects import Role, Scope
from schemas.windows import parse_range, whole_second_after, zone_named
from storage.meta.kept import Kept

PATH = "/exports"
DEFAULT_RANGE: Final = timedelta(days=30)
KEPT: Final = timedelta(days=7)


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["exports"])
    example = {"type": "events", "format": "csv", "from": "2026-02-01", "to": "2026-02-28"}
    resource = Resource(Export, PATH, example, scope=Scope.READ, role=Role.MEMBER, show=_shown, newest_first=True)
    crud = Crud(keeping, resource)
    add_routes(router, crud, without=frozenset({f"POST {PATH}", f"PATCH {PATH}/{{id}}"}))

    async def create(request: Request) -> Response:
        change = await crud.change_of(request)
        with parameters():
            made = await stored(_create, keeping, change)
        return answered(_shown(made), 201)

    add_route(router, "POST", PATH, create, "Describe a download.", example)
    return router


def _create(keeping: Keeping, change: Change) -> Kept[Export]:
    texts: Item = {}
    for name in ("from", "to"):
        text = change.body.get(name)
        if text is not None and not isinstance(text, str):
            raise InvalidKept(name)
        texts[name] = text
    span = parse_range(texts["from"], texts["to"], zone_named("UTC"), whole_second_after(change.now), DEFAULT_RANGE)
    body = body_of(Export, {name: value for name, value in change.body.items() if name not in texts})
    whole = replace(body, from_=span.start, to=span.end, expires_at=change.now.astimezone(UTC) + KEPT)
    return keeping.things.create(change.project, whole, change.by, change.now)


def _shown(thing: Kept[Export]) -> Item:
    url = f"{PATH}/{thing.id}/download"
    return shown(thing) | {"filters": thing.body.filters or [], "downloadUrl": url}
