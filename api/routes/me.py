"""`/api/v1/me`: the profile of who is logged in, and their logins."""

from functools import cache
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from api.auth.acting import blocking, change
from api.errors import bad_request, forbidden, not_found
from api.routes.desk import (
    Desk,
    Fields,
    account_wide,
    answer,
    example,
    instant,
    listed,
    nothing,
    now,
    shows,
    shows_page,
)
from schemas.projects import Key, Scope
from storage.meta.accounts import Account, ProfileChange, account, change_password, update_profile
from storage.meta.logins import Login, end_login, end_logins, list_logins

_ACCOUNT = {
    "id": "user_a8Kx92mNqP3f",
    "email": "ada@example.org",
    "firstName": "Ada",
    "lastName": "Lovelace",
    "picture": None,
    "plan": "free",
    "emailVerifiedAt": None,
    "createdAt": "2026-02-22T10:30:00Z",
}
_NULLABLE = frozenset({"picture", "emailVerifiedAt"})
_LOGIN = {
    "id": "sess_a8Kx92mNqP3f",
    "createdAt": "2026-02-22T10:30:00Z",
    "lastActiveAt": "2026-02-22T10:31:00Z",
    "device": "Firefox on Linux",
    "ipMasked": "192.168.*.*",
    "current": True,
}


class _Change(Fields, frozen=True):
    first_name: str | None = None
    last_name: str | None = None
    picture: str | msgspec.UnsetType | None = msgspec.UNSET
    password: str | None = None
    current_password: str | None = None


def create_router(desk: Desk) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["account"])

    @router.get("/me", responses=shows(_ACCOUNT, nullable=_NULLABLE))
    async def get_me(request: Request) -> Response:
        """The account of the login or the key."""
        return answer(account_shape(await _account(desk, await desk.caller(request, Scope.READ))))

    @router.patch(
        "/me",
        openapi_extra=example({"firstName": "Ada", "lastName": "Lovelace"}, _Change),
        responses=shows(_ACCOUNT, nullable=_NULLABLE),
    )
    async def change_me(request: Request) -> Response:
        """Change names and picture, or the password, which ends all other logins."""
        key, sent = await desk.with_fields(request, Scope.ADMIN, _Change)
        account_wide(key)
        by = desk.actor(request, key)
        if sent.password is not None:
            await _change_password(desk, request, key, sent)
        picture = None if sent.picture is msgspec.UNSET else sent.picture or ""
        profile = ProfileChange(sent.first_name, sent.last_name, picture)
        return answer(account_shape(await change(update_profile, desk.metadata, key.account_id, profile, by, now())))

    @router.get("/me/logins", responses=shows_page(_LOGIN, nullable={"device", "ipMasked"}))
    async def get_logins(request: Request) -> Response:
        """Where the account is logged in, on every surface."""
        key = await desk.caller(request, Scope.ADMIN)
        account_wide(key)
        found = await blocking(list_logins, desk.metadata, key.account_id, now())
        return listed(request, found, lambda login: _login_shape(login, key))

    @router.delete("/me/logins", status_code=204)
    async def end_other_logins(request: Request) -> Response:
        """End all logins but this one."""
        key = await desk.caller(request, Scope.ADMIN)
        account_wide(key)
        keep = key.id if key.kind == "login" else None
        await change(end_logins, desk.metadata, key.account_id, desk.actor(request, key), now(), keep)
        return nothing()

    @router.delete("/me/logins/{login_id}", status_code=204)
    async def end_one_login(request: Request, login_id: str) -> Response:
        """End one login, at once."""
        key = await desk.caller(request, Scope.ADMIN)
        account_wide(key)
        if not login_id.startswith("sess_") or not login_id.isprintable():
            raise not_found()
        await change(end_login, desk.metadata, key.account_id, login_id, desk.actor(request, key), now())
        return nothing()

    return router


def account_shape(of: Account) -> dict[str, Any]:
    """An account as its owner sees it."""
    return {
        "id": of.user_id,
        "email": of.email,
        "firstName": of.first_name,
        "lastName": of.last_name,
        "picture": of.picture,
        "plan": of.plan,
        "emailVerifiedAt": instant(of.email_verified_at),
        "createdAt": instant(of.created_at),
    }


async def _account(desk: Desk, key: Key) -> Account:
    found = await blocking(account, desk.metadata, key.account_id)
    if found is None:
        raise not_found()
    return found


async def _change_password(desk: Desk, request: Request, key: Key, sent: _Change) -> None:
    if key.kind != "login":
        raise forbidden("A password is changed by who is logged in with it, not by a key")
    if not sent.current_password:
        raise bad_request("Missing required field: currentPassword")
    by = desk.actor(request, key)
    await change(
        change_password,
        desk.metadata,
        key.account_id,
        sent.current_password,
        sent.password or "",
        by,
        now(),
        key.id,
    )


def _login_shape(login: Login, key: Key) -> dict[str, Any]:
    return {
        "id": login.id,
        "createdAt": instant(login.created_at),
        "lastActiveAt": instant(login.last_active_at),
        "device": device_name(login.agent),
        "ipMasked": login.masked_address,
        "surface": login.surface,
        "current": login.id == key.id,
    }


@cache
def _parser() -> Any:
    # Reading the rules takes a while: not before somebody looks at their logins.
    from ua_parser import parse

    return parse


def device_name(agent: str) -> str:
    """`Chrome on macOS`; the first word of an agent that is no browser."""
    found = _parser()(agent)
    browser = found.user_agent.family if found.user_agent is not None else agent.split("/")[0].split(" ")[0]
    system = found.os.family if found.os is not None else None
    system = {"Mac OS X": "macOS"}.get(system or "", system)
    return f"{browser or 'Unknown'} on {system}" if system else browser or "Unknown"
