"""CRUD of kept things on the native surface, once for all kinds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, ParamSpec, TypeAlias, TypeVar

import msgspec
from fastapi import APIRouter, Path, Request, Response

from api.auth.acting import actor, blocking
from api.auth.keys import demand, project_of
from api.dependencies import Access, Text, json_answer, json_body, parameters
from api.errors import bad_request, conflict, not_found
from api.openapi import ERRORS, OPEN
from api.services import Services
from api.shapes import PAGE, Schema, content, joined, shape, structure
from schemas.instants import format_instant, to_millis
from schemas.keeping import InvalidKept, body_of, changed_body
from schemas.kept import Body, T
from schemas.projects import Key, Role, Scope
from schemas.questions import InvalidQuestion, parse_limit
from storage.errors import Conflict, NotFound
from storage.meta.activities import Actor
from storage.meta.kept import Kept, KeptPage, KeptRepository

P = ParamSpec("P")
R = TypeVar("R")
ThingId: TypeAlias = Annotated[str, Path(alias="id")]
Item: TypeAlias = dict[str, Any]
_MADE = datetime(2026, 2, 22, 10, 30, tzinfo=UTC)
# Of the results of goals and funnels.
_NULLABLE = frozenset({"medianSeconds", "meanSeconds"})


@dataclass(frozen=True, slots=True)
class Resource(Generic[T]):
    """One kind as the surface shows it; callers need the scope, or as people the role, to change it."""

    kind: type[T]
    path: str
    example: Item
    scope: Scope = Scope.WRITE
    role: Role = Role.ADMIN
    show: Callable[[Kept[T]], Item] = field(default_factory=lambda: shown)
    newest_first: bool = False
    parent: type[Body] | None = None

    @property
    def taken(self) -> Schema:
        """What a request may bring; a new thing needs what `required` says."""
        return structure(self.kind, without=self.kind.state) | {"required": list(self.kind.required)}

    def told(self, more: Item | None = None) -> Item:
        """The answer about one of them, for the document: the example as it is shown, and `more`."""
        body, schema = self._sample()
        if more:
            body, schema = body | more, joined(schema, shape(more))
        return content(body, schema)

    def told_inside(self, name: str, rest: Item) -> Item:
        """An answer that has one of them as `name`, beside the rest."""
        body, schema = self._sample()
        whole = joined({"type": "object", "properties": {name: schema}, "required": [name]}, shape(rest, _NULLABLE))
        return {"description": "OK", **content({name: body} | rest, whole)}

    @property
    def told_of_many(self) -> Item:
        """The answer of a list of them."""
        body, schema = self._sample()
        return told_page(body, schema)

    def _sample(self) -> tuple[Item, Schema]:
        body = body_of(self.kind, self.example)
        named = f"{self.kind.prefix}_a8Kx92mNqP3f"
        item = self.show(Kept(named, 1, 1, None, body, 1, "user_a8Kx92mNqP3f", _MADE, _MADE))
        whole, typed = shape(item, {"createdBy"}), structure(self.kind)["properties"]
        fields = {name: typed.get(name, field) for name, field in whole["properties"].items()}
        return item, whole | {"properties": fields}


def told_page(item: Item, schema: Schema) -> Item:
    """The answer of a list, for the document."""
    data: Schema = {"type": "object", "properties": {"data": {"type": "array", "items": schema}}, "required": ["data"]}
    return content({"data": [item], "meta": PAGE}, joined(data, shape({"meta": PAGE}, {"nextCursor"})))


@dataclass(frozen=True, slots=True)
class Change:
    """A request that changes something: where, who, and what came as its body."""

    project: int
    key: Key
    by: Actor
    body: Item
    now: datetime


class Keeping:
    """What all of these routes need of a request; raises Problem."""

    def __init__(self, held: Services, access: Access) -> None:
        self.held = held
        self.access = access

    @property
    def things(self) -> KeptRepository:
        return self.held.things

    async def reading(self, request: Request) -> int:
        """The project of a request that reads."""
        key = await self.access.reader(request)
        return await self.access.project(key, request)

    async def changing(self, request: Request, scope: Scope, role: Role, *, needs_body: bool = True) -> Change:
        """Who changes what; syntax is told before a missing scope is, as everywhere."""
        key = await self.access.caller(request)
        body = await json_body(request) if needs_body else {}
        demand(key, scope)
        project = await project_of(key, request.query_params.get("projectId"), self.held.find_project, role)
        return Change(project, key, actor(self.held, request, key), body, datetime.now(UTC))

    async def get(self, kind: type[T], project: int, thing_id: str, parent_id: str | None = None) -> Kept[T]:
        """A thing that is there, or 404."""
        found = await stored(self.things.get, kind, project, thing_id, parent_id=parent_id)
        if found is None:
            raise not_found()
        return found


class Crud(Generic[T]):
    """The five things that can be done with one kind, below a parent or not."""

    def __init__(self, keeping: Keeping, resource: Resource[T]) -> None:
        self.keeping = keeping
        self.resource = resource

    async def list(
        self, request: Request, limit: str | None, cursor: str | None, parent_id: str | None = None
    ) -> Response:
        """A page of them."""
        project = await self.keeping.reading(request)
        if parent_id is not None and self.resource.parent is not None:
            await self.keeping.get(self.resource.parent, project, parent_id)
        with parameters():
            size = parse_limit(limit)
        found = await stored(
            self.keeping.things.page,
            self.resource.kind,
            project,
            limit=size,
            parent_id=parent_id,
            after=cursor,
            newest_first=self.resource.newest_first,
        )
        return listed(request, [self.resource.show(item) for item in found.items], found, size)

    async def create(self, request: Request, parent_id: str | None = None) -> Response:
        """Keep what the body says."""
        change = await self.change_of(request)
        made = await stored(self._create, change, parent_id)
        return answered(self.resource.show(made), 201)

    async def one(self, request: Request, thing_id: str, parent_id: str | None = None) -> Response:
        """One of them."""
        project = await self.keeping.reading(request)
        found = await self.keeping.get(self.resource.kind, project, thing_id, parent_id)
        return json_answer(request, self.resource.show(found), {})

    async def change(self, request: Request, thing_id: str, parent_id: str | None = None) -> Response:
        """Replace the fields that the body names."""
        change = await self.change_of(request)
        new = await stored(
            self.keeping.things.change,
            self.resource.kind,
            change.project,
            thing_id,
            lambda old: changed_body(old, change.body),
            change.by,
            change.now,
            parent_id=parent_id,
        )
        return answered(self.resource.show(new))

    async def delete(self, request: Request, thing_id: str, parent_id: str | None = None) -> Response:
        """Forget it."""
        change = await self.change_of(request, needs_body=False)
        await stored(
            self.keeping.things.delete,
            self.resource.kind,
            change.project,
            thing_id,
            change.by,
            change.now,
            parent_id=parent_id,
        )
        return Response(status_code=204)

    async def change_of(self, request: Request, *, needs_body: bool = True) -> Change:
        """As `Keeping.changing`, with what this kind needs."""
        return await self.keeping.changing(request, self.resource.scope, self.resource.role, needs_body=needs_body)

    def _create(self, change: Change, parent_id: str | None) -> Kept[T]:
        body = body_of(self.resource.kind, change.body)
        return self.keeping.things.create(change.project, body, change.by, change.now, parent_id=parent_id)


def add_routes(router: APIRouter, crud: Crud[T], *, without: frozenset[str] = frozenset()) -> None:
    """The routes of a kind that stands alone, but for those a module answers in a way of its own."""
    resource = crud.resource
    name, one = resource.kind.kind, f"{resource.path}/{{id}}"

    async def list_things(request: Request, limit: Text = None, cursor: Text = None) -> Response:
        return await crud.list(request, limit, cursor)

    async def create_thing(request: Request) -> Response:
        return await crud.create(request)

    async def get_thing(request: Request, thing_id: ThingId) -> Response:
        return await crud.one(request, thing_id)

    async def change_thing(request: Request, thing_id: ThingId) -> Response:
        return await crud.change(request, thing_id)

    async def delete_thing(request: Request, thing_id: ThingId) -> Response:
        return await crud.delete(request, thing_id)

    plural = resource.path.removeprefix("/")
    told = resource.told()
    routes: tuple[tuple[str, str, Any, str, Item | None], ...] = (
        ("GET", resource.path, list_things, f"The project's {plural}.", resource.told_of_many),
        ("POST", resource.path, create_thing, f"Keep a new {name}.", told),
        ("GET", one, get_thing, f"One {name}.", told),
        ("PATCH", one, change_thing, f"Change the named fields of a {name}.", told),
        ("DELETE", one, delete_thing, f"Delete a {name}.", None),
    )
    for method, path, handler, summary, tells in routes:
        if f"{method} {path}" not in without:
            add_route(router, method, path, handler, summary, resource.example, takes=resource.taken, tells=tells)


def add_route(
    router: APIRouter,
    method: str,
    path: str,
    handler: Callable[..., Any],
    summary: str,
    example: Item | None = None,
    *,
    takes: Schema | None = None,
    tells: Item | None = None,
    status: int | None = None,
    errors: tuple[int, ...] = (),
    is_open: bool = False,
) -> None:
    """One route with the status and the body that its method has here; an open one is asked without a key.

    `takes` is the schema of its body, of which a PATCH needs nothing; `tells` what it answers, `errors` how it refuses
    as not every route does.
    """
    said: Item = {OPEN: True} if is_open else {}
    if method in ("POST", "PATCH") and example is not None:
        schema = takes or {"type": "object"}
        if method == "PATCH":
            schema = schema | {"required": []}
        said |= {"requestBody": {"required": True, **content(example, schema)}}
        if method == "POST":
            errors += (409,)  # one too many
    if errors:
        said[ERRORS] = errors
    answered_with = status or {"POST": 201, "DELETE": 204}.get(method, 200)
    router.add_api_route(
        path,
        handler,
        methods=[method],
        summary=summary,
        status_code=answered_with,
        responses=None if tells is None else {answered_with: {"description": "OK", **tells}},
        openapi_extra=said or None,
    )


async def stored(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """The result of work on what is kept, off the event loop, its errors in the native form."""
    try:
        return await blocking(work, *args, **kwargs)
    except (InvalidKept, InvalidQuestion) as error:
        raise bad_request(str(error)) from error
    except NotFound as error:
        raise not_found() from error
    except Conflict as error:
        raise conflict(str(error)) from error


def shown(thing: Kept[Any]) -> Item:
    """A thing as the surface shows it."""
    fields = fields_of(thing.body)
    return {"id": thing.id, **fields, "createdAt": instant(thing.created_at), "updatedAt": instant(thing.updated_at)}


def fields_of(body: msgspec.Struct) -> Item:
    """All fields by their JSON names, instants as text."""
    found = msgspec.to_builtins(body, builtin_types=(datetime,))
    return {name: instant(value) if isinstance(value, datetime) else value for name, value in found.items()}


def instant(value: datetime) -> str:
    """ISO 8601 in UTC, milliseconds only where they are not zero."""
    return format_instant(to_millis(value))


def listed(request: Request, items: list[Item], page: KeptPage[Any], limit: int) -> Response:
    """A page in the form of all native lists."""
    meta = {"total": page.total, "limit": limit, "hasMore": page.next is not None, "nextCursor": page.next}
    return json_answer(request, {"data": items, "meta": meta}, {})


def answered(body: Mapping[str, Any], status: int = 200) -> Response:
    """A body that nobody may store."""
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")
