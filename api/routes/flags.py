"""`/flags` of the native surface, and the secret with which servers read them to evaluate them by themselves."""

from fastapi import APIRouter, Request, Response

from api.routes.kept import Change, Crud, Keeping, Resource, ThingId, add_route, add_routes, answered, shown, stored
from api.shapes import content
from schemas.flags import Flag, FlagSecret
from schemas.keeping import InvalidKept, body_of, changed_body
from schemas.projects import Role, Scope
from storage.errors import Conflict
from storage.meta.kept import Kept, account_of
from storage.meta.secrets import new_flag_secret

PATH = "/flags"
_SECRET = f"{PATH}/secret"


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["flags"])
    example = {
        "key": "new-checkout",
        "name": "New checkout",
        "variants": [{"key": "short", "weight": 1}, {"key": "long", "weight": 3, "payload": {"steps": 4}}],
        "rules": [{"filters": [{"key": "plan", "op": "eq", "value": "pro"}], "rollout": 100}, {"rollout": 10}],
    }
    resource = Resource(Flag, PATH, example, role=Role.ADMIN)
    crud = Crud(keeping, resource)
    add_routes(router, crud, without=frozenset({f"POST {PATH}", f"PATCH {PATH}/{{id}}"}))

    async def create(request: Request) -> Response:
        change = await crud.change_of(request)
        return answered(shown(await stored(_create, keeping, change)), 201)

    async def change(request: Request, thing_id: ThingId) -> Response:
        wanted = await crud.change_of(request)

        def changed(old: Flag) -> Flag:
            if wanted.body.get("key", old.key) != old.key:  # under another key it is another flag
                raise InvalidKept("key")
            return changed_body(old, wanted.body)

        new = await stored(keeping.things.change, Flag, wanted.project, thing_id, changed, wanted.by, wanted.now)
        return answered(shown(new))

    async def secret(request: Request) -> Response:
        wanted = await keeping.changing(request, Scope.ADMIN, Role.ADMIN, needs_body=False)
        fresh = new_flag_secret()
        made = await stored(_replace_secret, keeping, wanted, fresh)
        return answered({"id": made.id, "secret": fresh, "createdAt": shown(made)["createdAt"]}, 201)

    takes, tells = resource.taken, resource.told()
    add_route(router, "POST", PATH, create, "Keep a new flag.", example, takes=takes, tells=tells)
    said = "Change the named fields of a flag, but for its key."
    add_route(router, "PATCH", f"{PATH}/{{id}}", change, said, example, takes=takes, tells=tells)
    made = {"id": "fsec_a8Kx92mNqP3f", "secret": "cohf_0123456789ab", "createdAt": "2026-02-22T10:30:00Z"}
    said = "Make the secret of local evaluation anew; the old one ends at once."
    add_route(router, "POST", _SECRET, secret, said, tells=content(made))
    return router


def _create(keeping: Keeping, change: Change) -> Kept[Flag]:
    things, body = keeping.things, body_of(Flag, change.body)
    with things.metadata.write() as connection:
        account_of(connection, change.project)
        if any(flag.body.key == body.key for flag in things.all(Flag, change.project)):
            raise Conflict(f"the project has a flag {body.key} already")
        return things.insert(connection, change.project, body, change.by, change.now)


def _replace_secret(keeping: Keeping, change: Change, secret: str) -> Kept[FlagSecret]:
    things = keeping.things
    with things.metadata.write() as connection:
        account_of(connection, change.project)
        for old in things.all(FlagSecret, change.project):
            things.remove(connection, FlagSecret, change.project, old.id, change.by, change.now)
        return things.insert(connection, change.project, FlagSecret(), change.by, change.now, link=secret)
