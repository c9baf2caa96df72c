"""`/api/v1/keys`: the keys of an account or a project, of every dialect."""

from datetime import timedelta
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.auth.acting import blocking, change
from api.errors import bad_request, forbidden, not_found
from api.routes.desk import Desk, Fields, answer, example, instant, listed, nothing, now, shows, shows_page
from schemas.projects import Dialect, Key, Role, Scope
from storage.meta.keys import (
    KeyChange,
    KeyRecord,
    KeySpec,
    NewKey,
    create_key,
    key_record,
    list_keys,
    regenerate_key,
    revoke_key,
    update_key,
)
from storage.meta.projects import project

_KEY = {
    "id": "key_a8Kx92mNqP3f",
    "kind": "jcht",
    "name": "panel",
    "prefix": "sg_0123456789",
    "scope": "read",
    "projectId": 1,
    "rateLimit": None,
    "createdAt": "2026-02-22T10:30:00Z",
    "lastUsedAt": None,
    "expiresAt": None,
    "revokedAt": None,
}
_LONGEST_DAYS = 36_500
# Kinds whose products know keys of one project; the others' keys see the account.
_OF_ONE_PROJECT = (Dialect.JCHT, Dialect.ZTA)
_NEW_KEY = _KEY | {"key": "sg_0123456789abcdef..."}
_NULLABLE = frozenset({"projectId", "rateLimit", "lastUsedAt", "expiresAt", "revokedAt"})


class _New(Fields, frozen=True):
    kind: Dialect
    name: str = ""
    scope: Scope = Scope.ADMIN
    project_id: int | str | None = None
    expires_in_days: int | None = None
    rate_limit: str | None = None


class _Change(Fields, frozen=True):
    name: str | None = None
    scope: Scope | None = None
    rate_limit: str | msgspec.UnsetType | None = msgspec.UNSET
    expires_in_days: int | None = None


def create_router(desk: Desk) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(prefix="/keys", tags=["keys"])

    @router.get("", responses=shows_page(_KEY, nullable=_NULLABLE))
    async def list_all(request: Request, projectId: str | None = None) -> Response:  # noqa: N803  # as callers write it
        """The keys of the account, or of one project, revoked ones included."""
        key = await desk.caller(request, Scope.ADMIN)
        account_id, project_id = await desk.account_of(key, projectId, Role.ADMIN)
        found = await blocking(list_keys, desk.metadata, account_id, None, project_id)
        return listed(request, found, shape)

    @router.post(
        "",
        status_code=201,
        openapi_extra=example({"kind": "jcht", "name": "panel", "scope": "read", "projectId": 1}, _New),
        responses=shows(_NEW_KEY, 201, nullable=_NULLABLE),
    )
    async def create(request: Request) -> Response:
        """Mint a key, which is shown in full this once. Without a project it is good for the whole account."""
        key, sent = await desk.with_fields(request, Scope.ADMIN, _New)
        wanted = None if sent.project_id is None else str(sent.project_id)
        account_id, project_id = await desk.account_of(key, wanted, Role.ADMIN)
        is_owner = key.project_id is None and key.account_id == account_id
        if not (is_owner or sent.kind in _OF_ONE_PROJECT):
            raise forbidden(f"Only the owner of the account may make a key of the kind {sent.kind}")
        if sent.kind is Dialect.COHORLY and project_id is not None:
            raise bad_request("Invalid field: projectId; a key of Cohorly is good for all projects of its account")
        spec = KeySpec(
            account_id=account_id,
            dialect=sent.kind,
            scope=sent.scope,
            project_id=project_id,
            name=sent.name,
            expires_at=_expiry(sent.expires_in_days),
            rate_limit=sent.rate_limit,
        )
        return answer(_full(await change(create_key, desk.metadata, spec, now(), desk.actor(request, key))), 201)

    @router.patch(
        "/{key_id}",
        openapi_extra=example({"name": "panel", "rateLimit": "1200/60"}, _Change),
        responses=shows(_KEY, nullable=_NULLABLE),
    )
    async def change_one(request: Request, key_id: str) -> Response:
        """Change name, scope, limit or expiry; it holds from the next request on."""
        key, sent = await desk.with_fields(request, Scope.ADMIN, _Change)
        found = await _reach(desk, key, key_id)
        limit = None if sent.rate_limit is msgspec.UNSET else sent.rate_limit or ""
        what = KeyChange(sent.name, sent.scope, limit, _expiry(sent.expires_in_days))
        by = desk.actor(request, key)
        return answer(shape(await change(update_key, desk.metadata, found.key.account_id, key_id, what, now(), by)))

    @router.delete("/{key_id}", status_code=204)
    async def revoke(request: Request, key_id: str) -> Response:
        """Revoke a key, at once and for good."""
        key = await desk.caller(request, Scope.ADMIN)
        found = await _reach(desk, key, key_id)
        await change(revoke_key, desk.metadata, found.key.account_id, key_id, now(), desk.actor(request, key))
        return nothing()

    @router.post("/{key_id}/regenerate", status_code=201, responses=shows(_NEW_KEY, 201, nullable=_NULLABLE))
    async def regenerate(request: Request, key_id: str) -> Response:
        """Revoke a key and mint its like in one step."""
        key = await desk.caller(request, Scope.ADMIN)
        found = await _reach(desk, key, key_id)
        by = desk.actor(request, key)
        return answer(_full(await change(regenerate_key, desk.metadata, found.key.account_id, key_id, now(), by)), 201)

    return router


def shape(record: KeyRecord) -> dict[str, Any]:
    """A key as the surface shows it."""
    return {
        "id": record.key.id,
        "kind": record.key.dialect,
        "name": record.name,
        "prefix": record.prefix,
        "scope": record.key.scope,
        "projectId": record.key.project_id,
        "rateLimit": record.rate_limit,
        "createdAt": instant(record.created_at),
        "lastUsedAt": instant(record.last_used_at),
        "expiresAt": instant(record.expires_at),
        "revokedAt": instant(record.revoked_at),
    }


def _full(made: NewKey) -> dict[str, Any]:
    return shape(made.record) | {"key": made.secret}


async def _reach(desk: Desk, key: Key, key_id: str) -> KeyRecord:
    """The key of this id, which the caller may change; raises Problem 403, 404."""
    # By nothing but its id: a prefix or a secret in an address ends up in logs.
    found = await blocking(key_record, desk.metadata, key_id) if key_id.startswith("key_") else None
    if found is None:
        raise not_found()
    if key.project_id is not None and found.key.project_id != key.project_id:
        raise forbidden("The API key belongs to another project")
    if found.key.account_id == key.account_id:
        return found
    of = None
    if found.key.project_id is not None:
        of = await blocking(project, desk.metadata, found.key.project_id)
    if of is None:
        raise forbidden("The API key belongs to another account")
    await desk.access.reach(key, str(of.id), Role.ADMIN)
    return found


def _expiry(days: int | None) -> Any:
    if days is None:
        return None
    if not 1 <= days <= _LONGEST_DAYS:
        raise bad_request("Invalid field: expiresInDays")
    return now() + timedelta(days=days)
