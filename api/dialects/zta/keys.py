"""API keys: shown once, then by their beginning; revoked at once."""

from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named, unknown
from api.dialects.zta.parameters import instant
from api.dialects.zta.things import name_of
from schemas.projects import Dialect, Role, Scope
from storage.errors import NotFound
from storage.meta.keys import KeyRecord, KeySpec, create_key, key_record, list_keys, revoke_key

_SCOPES = {scope.value: scope for scope in (Scope.READ, Scope.WRITE, Scope.ADMIN)}
_MOST_DAYS = 3650


class ApiKeys:
    """The routes of `/api/api-keys`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/api-keys", self._list, methods=["GET"]),
            Route("/api/api-keys", self._create, methods=["POST"]),
            Route("/api/api-keys", self._revoke, methods=["DELETE"]),
        ]

    async def _list(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        found = await blocking(list_keys, self._held.database, key.account_id, Dialect.ZTA)
        return named({"apiKeys": [_described(record) for record in found if record.revoked_at is None]})

    async def _create(self, request: Request) -> Response:
        key, body = await self._access.change(request)
        name = name_of(body, "API key")
        scope = _SCOPES.get(body["scope"]) if isinstance(body.get("scope"), str) else None
        if scope is None:
            raise bad("Invalid scope. Must be: read, write, or admin")
        at = datetime.now(UTC)
        expires = _expiry(body.get("expiresIn"), at)
        project = None
        if body.get("siteId"):
            project = await self._access.site(key, body["siteId"], Role.ADMIN)
        spec = KeySpec(key.account_id, Dialect.ZTA, scope, None if project is None else project.id, name, expires)
        try:
            made = await blocking(create_key, self._held.database, spec, at, self._access.by(request, key))
        except ValueError as error:
            raise bad("Invalid API key name") from error
        described = _described(made.record) | {"key": made.secret}
        del described["lastUsed"]
        return named({"apiKey": described}, 201)

    async def _revoke(self, request: Request) -> Response:
        key, _ = await self._access.change(request)
        wanted = request.query_params.get("id") or ""
        try:
            record = await blocking(key_record, self._held.database, wanted)
            if record is None or record.key.dialect is not Dialect.ZTA:
                raise unknown("API key")
            by = self._access.by(request, key)
            await blocking(revoke_key, self._held.database, key.account_id, wanted, datetime.now(UTC), by)
        except NotFound as error:
            raise unknown("API key") from error
        return named({"success": True, "message": "API key revoked successfully"})


def _described(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.key.id,
        "name": record.name,
        "key": f"{record.prefix}...",
        "scope": record.key.scope.value,
        "lastUsed": None if record.last_used_at is None else instant(record.last_used_at),
        "createdAt": instant(record.created_at),
        "expiresAt": None if record.expires_at is None else instant(record.expires_at),
    }


def _expiry(days: Any, at: datetime) -> datetime | None:
    if days is None:
        return None
    if not isinstance(days, int | float) or isinstance(days, bool) or not 0 < days <= _MOST_DAYS:
        raise bad("Invalid expiresIn")
    return at + timedelta(days=days)
