"""Cohorly's feature flags: evaluated here for a person, or read by servers that evaluate them by themselves."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from msgspec import to_builtins
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.cohorly.access import project_of_token
from api.dialects.cohorly.envelope import bare
from api.dialects.cohorly.translation import token_of
from api.dialects.requests import bearer, json_of
from api.dialects.surface import Failure
from api.dialects.telling import told
from api.errors import unauthorized
from api.services import Services
from schemas.flags import Flag, FlagSecret, evaluate

_BODY_BYTES = 256 * 1024
_LONGEST_ID = 1024
_LONGEST_SECRET = 128


class Flags:
    """The routes below `/flags`."""

    def __init__(self, held: Services) -> None:
        self._held = held

    def routes(self) -> list[Route]:
        return [
            Route("/flags/evaluate", self._evaluate, methods=["POST"]),
            Route("/flags/local-evaluation", self._read, methods=["GET"]),
        ]

    async def _evaluate(self, request: Request) -> Response:
        body = await json_of(request, _BODY_BYTES)
        project = await project_of_token(self._held, token_of(body, request.headers.get("x-cohorly-token")))
        if not isinstance(body, dict):
            raise Failure(400, "invalid request")
        person, keys = body.get("distinct_id"), body.get("flag_keys")
        if not isinstance(person, str) or not 0 < len(person) <= _LONGEST_ID:
            raise Failure(400, "missing distinct_id")
        if keys is not None and not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
            raise Failure(400, "invalid flag_keys")
        flags = [flag for flag in await self._flags(project) if keys is None or flag.key in keys]
        properties: Mapping[str, Any] = {}
        if any(flag.needs_properties for flag in flags):
            found = told(await self._held.analytics.person(project, person))
            properties = {} if found is None else found.properties
        return bare({"flags": {flag.key: asdict(evaluate(flag, person, properties)) for flag in flags}})

    async def _read(self, request: Request) -> Response:
        secret = bearer(request)
        if not secret or len(secret) > _LONGEST_SECRET or not secret.isascii():
            raise unauthorized()
        found = await blocking(self._held.things.find_linked, FlagSecret, secret.decode())
        if found is None:
            raise unauthorized()
        return bare({"flags": [_described(flag) for flag in await self._flags(found.project_id)]})

    async def _flags(self, project: int) -> list[Flag]:
        return [flag.body for flag in await blocking(self._held.things.all, Flag, project)]


def _described(flag: Flag) -> dict[str, Any]:
    described: dict[str, Any] = to_builtins(flag)
    described["rules"] = [rule | {"filters": rule["filters"] or []} for rule in described["rules"]]
    return described | {"localEvaluable": not flag.needs_properties}
