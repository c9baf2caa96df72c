"""`/dashboards` of the native surface, and the widgets below each."""

from typing import Annotated, TypeAlias

from fastapi import APIRouter, Path, Request, Response

from api.dependencies import Text, json_answer, parameters
from api.routes.kept import (
    Crud,
    Item,
    Keeping,
    Resource,
    ThingId,
    add_route,
    answered,
    listed,
    shown,
    stored,
)
from schemas.keeping import body_of, changed_body
from schemas.kept import Dashboard, Widget
from schemas.projects import Role
from schemas.questions import parse_limit
from storage.meta.kept import Kept

PATH = "/dashboards"
WidgetId: TypeAlias = Annotated[str, Path(alias="widget_id")]
_WIDGET: Item = {
    "title": "Top pages",
    "type": "table",
    "query": {"dimension": "path"},
    "position": {"x": 0, "y": 0, "w": 6, "h": 4},
}
_MADE: Item = {"createdAt": "2026-02-22T10:30:00Z", "updatedAt": "2026-02-22T10:30:00Z"}
_WIDGET_SHOWN: Item = {"id": "wid_a8Kx92mNqP3f", **_WIDGET, "query": {}, **_MADE}


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["dashboards"])
    _dashboards(router, keeping)
    _widgets(router, keeping)
    return router


def _dashboards(router: APIRouter, keeping: Keeping) -> None:
    example: Item = {"name": "Growth"}
    resource = Resource(Dashboard, PATH, example, role=Role.MEMBER, show=lambda thing: _counted(thing, 8))
    crud = Crud(keeping, resource)
    one = f"{PATH}/{{id}}"

    async def list_dashboards(request: Request, limit: Text = None, cursor: Text = None) -> Response:
        project = await keeping.reading(request)
        with parameters():
            size = parse_limit(limit)
        page = await stored(keeping.things.page, Dashboard, project, limit=size, after=cursor)
        widgets = await stored(keeping.things.counts_below, Widget, project)
        return listed(request, [_counted(item, widgets.get(item.id, 0)) for item in page.items], page, size)

    async def create(request: Request) -> Response:
        change = await crud.change_of(request)
        made = await stored(
            lambda: keeping.things.create(change.project, body_of(Dashboard, change.body), change.by, change.now)
        )
        return answered(_counted(made, 0), 201)

    async def get(request: Request, thing_id: ThingId) -> Response:
        project = await keeping.reading(request)
        found = await keeping.get(Dashboard, project, thing_id)
        items = await stored(keeping.things.all, Widget, project, parent_id=found.id)
        return json_answer(request, _counted(found, len(items)) | {"items": [shown(item) for item in items]}, {})

    async def change(request: Request, thing_id: ThingId) -> Response:
        asked = await crud.change_of(request)
        new = await stored(
            keeping.things.change,
            Dashboard,
            asked.project,
            thing_id,
            lambda old: changed_body(old, asked.body),
            asked.by,
            asked.now,
        )
        number = await stored(keeping.things.count, Widget, asked.project, parent_id=new.id)
        return answered(_counted(new, number))

    async def delete(request: Request, thing_id: ThingId) -> Response:
        return await crud.delete(request, thing_id)

    told, taken = resource.told(), resource.taken
    said = "The project's dashboards and how many widgets each has."
    add_route(router, "GET", PATH, list_dashboards, said, tells=resource.told_of_many)
    add_route(router, "POST", PATH, create, "Keep a new dashboard.", example, takes=taken, tells=told)
    whole = resource.told({"items": [_WIDGET_SHOWN]})
    add_route(router, "GET", one, get, "One dashboard with its widgets as `items`.", tells=whole)
    add_route(router, "PATCH", one, change, "Change the name of a dashboard.", example, takes=taken, tells=told)
    add_route(router, "DELETE", one, delete, "Delete a dashboard and its widgets.")


def _widgets(router: APIRouter, keeping: Keeping) -> None:
    path = f"{PATH}/{{id}}/widgets"
    one = f"{path}/{{widget_id}}"
    resource = Resource(Widget, path, _WIDGET, role=Role.MEMBER, parent=Dashboard)
    crud = Crud(keeping, resource)

    async def list_widgets(request: Request, thing_id: ThingId, limit: Text = None, cursor: Text = None) -> Response:
        return await crud.list(request, limit, cursor, thing_id)

    async def create_widget(request: Request, thing_id: ThingId) -> Response:
        return await crud.create(request, thing_id)

    async def get_widget(request: Request, thing_id: ThingId, widget_id: WidgetId) -> Response:
        return await crud.one(request, widget_id, thing_id)

    async def change_widget(request: Request, thing_id: ThingId, widget_id: WidgetId) -> Response:
        return await crud.change(request, widget_id, thing_id)

    async def delete_widget(request: Request, thing_id: ThingId, widget_id: WidgetId) -> Response:
        return await crud.delete(request, widget_id, thing_id)

    told, taken = resource.told(), resource.taken
    add_route(router, "GET", path, list_widgets, "The widgets of a dashboard.", tells=resource.told_of_many)
    add_route(router, "POST", path, create_widget, "Put a new widget on a dashboard.", _WIDGET, takes=taken, tells=told)
    add_route(router, "GET", one, get_widget, "One widget.", tells=told)
    said = "Change the named fields of a widget."
    add_route(router, "PATCH", one, change_widget, said, _WIDGET, takes=taken, tells=told)
    add_route(router, "DELETE", one, delete_widget, "Take a widget off its dashboard.")


def _counted(thing: Kept[Dashboard], widgets: int) -> Item:
    fields = shown(thing)
    return {"id": fields.pop("id"), "name": fields.pop("name"), "widgets": widgets, **fields}
