"""What every dialect needs of a request: credential, body, numbers, and the instant that ranges end with."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request

from api.auth.keys import KeyResolver, authenticate, credential
from api.errors import malformed
from api.ingest.body import read_body
from schemas.projects import Dialect, Key
from schemas.windows import whole_second_after

_BODY_SECONDS = 30.0


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


def renamed(message: str, names: Mapping[str, str]) -> str:
    """What the core says of a field, by the name that the dialect's callers know it by."""
    said, colon, field = message.rpartition(": ")
    return f"{said}{colon}{names.get(field, field)}"
