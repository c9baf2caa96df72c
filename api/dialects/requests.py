"""What every dialect needs of a request: its credential's owner, its body, and blocking work off the loop."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

import msgspec
from starlette.requests import Request

from api.auth.keys import KeyResolver, authenticate, credential
from api.errors import limited, malformed, unavailable
from api.ingest.body import read_body
from api.services import Services
from schemas.projects import Dialect, Key
from schemas.windows import whole_second_after
from storage.errors import Unavailable
from storage.meta.accounts import Account, check_password
from storage.meta.activities import Actor, mask_address
from storage.meta.logins import open_login

P = ParamSpec("P")
T = TypeVar("T")

_BODY_SECONDS = 30.0


async def blocking(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of metadata work, done in a thread. Raises Problem 503 where the database does not answer."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except Unavailable as error:
        raise unavailable(f"The database does not answer now; send the request again: {error}") from error


def headers_of(request: Request) -> dict[bytes, bytes]:
    """Headers by their names in lower case."""
    return dict(request.scope["headers"])


def bearer(request: Request) -> bytes | None:
    """The secret of `Authorization: Bearer`."""
    value = request.headers.get("authorization", "")
    return value[7:].strip().encode("latin-1") if value[:7].lower() == "bearer " else None


async def either_header(keys: KeyResolver, request: Request, dialect: Dialect) -> Key:
    """Who the key in `X-API-Key`, else in `Authorization: Bearer`, belongs to; raises Problem 401."""
    return await authenticate(keys, credential(headers_of(request)), dialect)


async def body_of(request: Request, most: int) -> bytes:
    """The body without its content coding; raises Problem 400, 413 or 415."""
    return (await read_body(request.receive, headers_of(request), most, _BODY_SECONDS)).content


async def json_of(request: Request, most: int) -> Any:
    """The decoded body; raises Problem 400, 413 or 415."""
    try:
        return msgspec.json.decode(await body_of(request, most))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise malformed() from error


def now() -> datetime:
    """The instant that ranges end with: the same for all who ask within a second."""
    return whole_second_after(datetime.now(UTC))


def clamped(text: str | None, default: int, most: int, least: int = 1) -> int:
    """A number within its bounds, the default where it is none."""
    if text is None or not text.removeprefix("-").isdecimal() or len(text) > 20:
        return default
    return min(max(int(text), least), most)


def actor(held: Services, request: Request, key: Key | None = None) -> Actor:
    """Who changes something, for the log of changes."""
    masked = mask_address(held.sender.address(request.scope))
    account, key_id = (None, None) if key is None else (key.account_id, key.id if key.kind == "key" else None)
    return Actor(account, key_id, masked, request.headers.get("user-agent", ""))


async def log_in(
    held: Services, request: Request, email: str, password: str, surface: Dialect
) -> tuple[Account, str, datetime]:
    """The account, a new token and when it expires.

    Raises Refused for a wrong pair, Problem 429 after too many attempts.
    """
    address = held.sender.address(request.scope)
    standing = held.limiter.attempt(address, email)
    if standing is not None and not standing.is_admitted:
        raise limited(standing.retry_after, standing.headers)
    found = await blocking(check_password, held.database, email, password)
    held.limiter.succeeded(address, email)
    by = replace(actor(held, request), account_id=found.id)
    login = await blocking(open_login, held.database, found.id, surface, by, datetime.now(UTC))
    return found, held.tokens.issue(login, found.user_id), login.expires_at
