"""Changes of people on the native surface: their properties, their other ids, and their erasure."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.auth.acting import actor, blocking
from api.auth.keys import demand, project_of
from api.dependencies import json_answer, json_body
from api.erasing import ids_of
from api.errors import bad_request, not_found, too_large
from api.ingest.intake import From, InvalidItem
from api.routes.desk import shows
from api.routes.kept import Keeping, answered, instant, stored
from schemas.erasures import Erasure
from schemas.people import ALIAS, ALIAS_UNDO, PROFILE, ProfileChange
from schemas.projects import Key, Role, Scope

_PROFILE = {"set": {"plan": "pro"}, "setOnce": {"source": "ad"}, "add": {"logins": 1}, "unset": ["trial"]}

_ERASURE = {"id": "job_a8Kx92mNqP3f", "status": "done", "createdAt": "2026-02-22T10:30:00.142Z", "receipts": [{}]}


def create_router(keeping: Keeping) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["people"])
    profiles = _Profiles(keeping)
    user = "/users/{user_id:path}"
    alias = _body({"alias": "anonymous-7"})
    kept = {"status": "ok", "eventId": "evt_a8Kx92mNqP3f"}
    changed = shows(kept, 202)
    takes = _body(_PROFILE)
    router.add_api_route(
        user, profiles.change, methods=["PATCH"], status_code=202, openapi_extra=takes, responses=changed
    )
    joined = shows(kept, 201)
    router.add_api_route(
        f"{user}/aliases", profiles.add_alias, methods=["POST"], status_code=201, openapi_extra=alias, responses=joined
    )
    router.add_api_route(
        f"{user}/aliases/{{alias:path}}", profiles.undo_alias, methods=["DELETE"], status_code=202, responses=changed
    )
    begun = shows({"jobId": "job_a8Kx92mNqP3f"}, 202)
    router.add_api_route(user, profiles.erase, methods=["DELETE"], status_code=202, responses=begun)
    router.add_api_route("/erasures/{job_id}", profiles.erasure, methods=["GET"], responses=shows(_ERASURE))
    return router


class _Profiles:
    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._held = keeping.held

    async def change(self, request: Request, user_id: str) -> Response:
        """Change somebody's properties; 202, since it shows once the workers have stored it."""
        body = await json_body(request)
        _, project = await self._caller(request, Scope.WRITE, Role.MEMBER)
        try:
            change = msgspec.convert(body, ProfileChange)
        except msgspec.ValidationError as error:
            raise bad_request(f"Invalid field: {_field(error)}") from error
        if change == ProfileChange():
            raise bad_request("Missing required field: set")
        event_id = await self._accept(project, PROFILE, user_id, msgspec.to_builtins(change))
        return answered({"status": "ok", "eventId": event_id}, 202)

    async def add_alias(self, request: Request, user_id: str) -> Response:
        """Say that another id is the same person."""
        body = await json_body(request)
        _, project = await self._caller(request, Scope.WRITE, Role.MEMBER)
        alias = body.get("alias")
        if alias in (None, ""):
            raise bad_request("Missing required field: alias")
        if not isinstance(alias, str):
            raise bad_request("Invalid field: alias")
        event_id = await self._accept(project, ALIAS, user_id, {"alias": alias})
        return answered({"status": "ok", "eventId": event_id}, 201)

    async def undo_alias(self, request: Request, user_id: str, alias: str) -> Response:
        """Take back that another id is the same person; 202, since it shows once the workers have stored it."""
        _, project = await self._caller(request, Scope.WRITE, Role.MEMBER)
        if not alias:
            raise not_found()
        event_id = await self._accept(project, ALIAS_UNDO, user_id, {"alias": alias})
        return answered({"status": "ok", "eventId": event_id}, 202)

    async def erase(self, request: Request, user_id: str) -> Response:
        """Erase somebody under all their ids; 202 with a job, whose receipt tells when it is done.

        A slash within an id is sent as %2F, so that nobody is erased by a path that is another route's.
        """
        if b"/" in request.scope["raw_path"].partition(b"/users/")[2]:
            raise not_found()
        key, project = await self._caller(request, Scope.ADMIN, Role.ADMIN)
        wanted = Erasure(ids=await ids_of(self._held.analytics, project, user_id))
        by = actor(self._held, request, key)
        job = await stored(self._keeping.things.create, project, wanted, by, datetime.now(UTC))
        return answered({"jobId": job.id}, 202)

    async def erasure(self, request: Request, job_id: str) -> Response:
        """How an erasure stands, and its receipt."""
        _, project = await self._caller(request, Scope.ADMIN, Role.ADMIN)
        job = await blocking(self._keeping.things.get, Erasure, project, job_id)
        if job is None:
            raise not_found()
        body = {
            "id": job.id,
            "status": job.body.status,
            "createdAt": instant(job.created_at),
            "receipts": list(job.body.receipts),
        }
        return json_answer(request, body, {})

    async def _caller(self, request: Request, scope: Scope, role: Role) -> tuple[Key, int]:
        key = await self._keeping.access.caller(request)
        demand(key, scope)
        return key, await project_of(key, request.query_params.get("projectId"), self._held.find_project, role)

    async def _accept(self, project: int, name: str, user_id: str, properties: dict[str, Any]) -> str:
        event = {"event": name, "userId": user_id, "properties": properties}
        try:
            [event_id] = await self._held.intake.accept(project, From("api"), [event])
        except InvalidItem as error:
            raise (too_large if error.code == "payload_too_large" else bad_request)(error.message) from error
        return event_id


def _field(error: msgspec.ValidationError) -> str:
    path = str(error).partition("`$.")[2].partition("`")[0]
    return path.partition(".")[0].partition("[")[0] or "body"


def _body(example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}
