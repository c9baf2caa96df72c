"""What the routes about accounts share: who asks, their fields, pages of lists, and answers."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request, Response

from api.auth.acting import actor, count_attempt
from api.auth.keys import demand
from api.dependencies import Access, json_answer, json_body, parameters
from api.errors import bad_request, forbidden
from api.openapi import ERRORS, OPEN
from api.services import Services
from api.shapes import PAGE, Schema, content, structure
from schemas.instants import format_instant, to_millis
from schemas.projects import Key, Role, Scope
from schemas.questions import parse_limit
from storage.meta.activities import Actor
from storage.meta.engine import Metadata

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


# What the document says of a route beside its examples.
OPENED: Final[dict[str, Any]] = {OPEN: True}
CONFLICTING: Final[dict[str, Any]] = {ERRORS: [409]}


class Fields(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Fields of a body; what is not sent is UNSET where null means something else."""


class Desk:
    """The services behind the routes, and what each request needs first."""

    def __init__(self, held: Services, access: Access) -> None:
        self.held = held
        self.access = access

    @property
    def metadata(self) -> Metadata:
        return self.held.database

    async def caller(self, request: Request, scope: Scope) -> Key:
        """Who asks, who may do what needs the scope; raises Problem 401, 403, 429."""
        return await self.access.holder(request, scope)

    async def with_fields(self, request: Request, scope: Scope, kind: type[S]) -> tuple[Key, S]:
        """Who asks and what they sent: malformed JSON is told before a missing scope, a wrong field after it."""
        key = await self.access.caller(request)
        body = await json_body(request)
        demand(key, scope)
        return key, fields(body, kind)

    def actor(self, request: Request, key: Key | None = None) -> Actor:
        """Who changes something, for the log of changes."""
        return actor(self.held, request, key)

    def count_stranger(self, request: Request) -> None:
        """Count a request of somebody who is nobody yet, by where it comes from; raises Problem 429, 503."""
        count_attempt(self.held, self.held.sender.address(request.scope), "stranger")

    async def account_of(self, key: Key, project: str | None, role: Role) -> tuple[int, int | None]:
        """The account that a request is about, and the project: those of the named project, else the caller's own.

        Raises Problem 403 where the caller has not the role there, 404.
        """
        if project is None and key.project_id is not None:
            project = str(key.project_id)
        if project is None:
            return key.account_id, None
        found = await self.access.reach(key, project, role)
        return found.account_id, found.id


def account_wide(key: Key) -> None:
    """Raises Problem 403 for a key of one project, which must not reach beyond it."""
    if key.project_id is not None:
        raise forbidden("A key of one project may not do this; log in, or use a key of the account")


def fields(body: dict[str, Any], kind: type[S]) -> S:
    """The fields of a body; raises Problem 400 with the name of the first that is wrong."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        name = text.partition("`$.")[2].partition("`")[0].partition("[")[0].partition(".")[0]
        if "missing required field `" in text and not name:
            raise bad_request(f"Missing required field: {text.rpartition('field `')[2].partition('`')[0]}") from error
        if "unknown field `" in text:
            name = text.rpartition("unknown field `")[2].partition("`")[0]
        raise bad_request(f"Invalid field: {name or 'body'}") from error


def listed(request: Request, items: Sequence[T], shape: Callable[[T], dict[str, Any]]) -> Response:
    """A page of a list that is known as a whole."""
    with parameters():
        limit = parse_limit(request.query_params.get("limit"))
    start = decode_cursor(request.query_params.get("cursor"))
    shown = items[start : start + limit]
    after = start + limit if start + limit < len(items) else None
    return json_answer(request, {"data": [shape(item) for item in shown], "meta": meta(len(items), limit, after)}, {})


def meta(total: int, limit: int, after: int | None) -> dict[str, Any]:
    """What a list says of itself; `after` is where the next page begins."""
    cursor = None if after is None else urlsafe_b64encode(str(after).encode()).decode()
    return {"total": total, "limit": limit, "hasMore": after is not None, "nextCursor": cursor}


def decode_cursor(text: str | None) -> int:
    """Where a page begins; raises Problem 400."""
    if text is None:
        return 0
    try:
        number = urlsafe_b64decode(text.encode("ascii")).decode("ascii")
    except ValueError as error:
        raise bad_request("Invalid parameter: cursor") from error
    if not (number.isdecimal() and len(number) < 19):
        raise bad_request("Invalid parameter: cursor")
    return int(number)


def answer(body: object, status: int = 200) -> Response:
    """A body that nobody may keep."""
    return Response(msgspec.json.encode(body), status, {"Cache-Control": "no-store"}, media_type="application/json")


def nothing(status: int = 204) -> Response:
    """No body."""
    return Response(status_code=status)


def instant(at: datetime | None) -> str | None:
    """As the surface writes it."""
    return None if at is None else format_instant(to_millis(at))


def now() -> datetime:
    return datetime.now(UTC)


def example(body: object, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The body of a request, for the document."""
    schema: Schema = structure(kind) | {"additionalProperties": False}
    return {"requestBody": {"required": True, **content(body, schema)}}


def shows(body: object, status: int = 200, *, nullable: Collection[str] = ()) -> dict[int | str, dict[str, Any]]:
    """The body of an answer, for the document; `nullable` names fields of it."""
    return {status: {"description": "OK", **content(body, nullable=nullable)}}


def shows_page(item: dict[str, Any], *, nullable: Collection[str] = ()) -> dict[int | str, dict[str, Any]]:
    """The page of a list, for the document."""
    return shows({"data": [item], "meta": PAGE}, nullable=(*nullable, "nextCursor"))
