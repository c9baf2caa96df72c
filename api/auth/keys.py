"""Credentials of the native surface: found in the headers, resolved, and held against a scope and a project."""

import asyncio
import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Protocol

from api.errors import Problem, bad_request, forbidden, not_found, unauthorized, unavailable
from schemas.projects import Dialect, Key, Project, Role, Scope
from storage.errors import Unavailable

SESSION_COOKIE = "streamgauge_session"

# No key and no token is longer; a longer header is not worth a hash.
_LONGEST_SECRET = 1024

# A number, a site id, or a website id.
_REFERENCE = re.compile(r"[0-9]{1,18}|site_[0-9A-Za-z]{1,12}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

_NO_DATABASE = "The database of keys does not answer now; send the request again"


class KeyResolver(Protocol):
    """What a secret opens. Any thread may call; neither remembers an unknown secret."""

    def peek(self, secret: bytes) -> Key | None:
        """The key if it is in memory; never blocks, and None says nothing."""

    def resolve(self, secret: bytes) -> Key | None:
        """The key, or None if there is none; may block on the database. Raises storage.errors.Unavailable."""


class ProjectFinder(Protocol):
    """The project that a number, a site id or a website id names, and the role of an account there.

    May block; raises storage.errors.Unavailable.
    """

    def __call__(self, reference: str, account_id: int, /) -> tuple[Project, Role | None] | None: ...


def credential(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The secret of `X-API-Key`, else of `Authorization: Bearer`; header names are in lower case."""
    if (secret := headers.get(b"x-api-key")) is not None:
        return secret.strip()
    authorization = headers.get(b"authorization", b"")
    return authorization[7:].strip() if authorization[:7].lower() == b"bearer " else None


def session(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The token of the cookie that a login in a browser left."""
    if SESSION_COOKIE.encode() not in (text := headers.get(b"cookie", b"")):
        return None
    try:
        found = SimpleCookie(text.decode("latin-1")).get(SESSION_COOKIE)
    except CookieError:
        return None
    return found.value.encode("latin-1") if found is not None else None


def is_same_origin(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a browser says that a page of ours sent this; what is no browser says nothing and passes."""
    origin = headers.get(b"origin")
    return origin is None or origin.partition(b"://")[2] == headers.get(b"host")


async def authenticate(keys: KeyResolver, secret: bytes | None, dialect: Dialect = Dialect.JCHT) -> Key:
    """The key of a secret, good on the dialect's surface; raises Problem 401."""
    if not secret or len(secret) > _LONGEST_SECRET:
        raise unauthorized()
    key = keys.peek(secret)
    if key is None:
        try:
            key = await asyncio.to_thread(keys.resolve, secret)
        except Unavailable as error:
            raise unavailable(_NO_DATABASE) from error
    if key is None or key.dialect is not dialect:
        raise unauthorized()
    return key


async def still_reads(keys: KeyResolver, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the credential of an endless answer still holds; a database that does not answer ends none."""
    try:
        demand(await authenticate(keys, credential(headers) or session(headers)), Scope.READ)
    except Problem as problem:
        return problem.status == 503
    return True


def demand(key: Key, scope: Scope) -> None:
    """Raises Problem 403 where the key lacks the scope."""
    if not key.scope.allows(scope):
        raise forbidden()


async def project_of(key: Key, wanted: str | None, find: ProjectFinder, role: Role = Role.VIEWER) -> int:
    """The project a request is about; `wanted` is its `projectId` parameter: a number, a site id or a website id.

    Raises Problem 400, 404, and 403 where the key's account has not the role there.
    """
    if wanted is None:
        if key.project_id is None:
            raise bad_request("Missing required parameter: projectId")
        return key.project_id
    if not _REFERENCE.fullmatch(wanted):
        raise bad_request("Invalid parameter: projectId")
    if key.project_id is not None and wanted.isdecimal():
        if wanted != str(key.project_id):
            raise forbidden("The API key belongs to another project")
        return key.project_id
    return (await reach(key, wanted, find, role)).id


async def reach(key: Key, reference: str, find: ProjectFinder, role: Role) -> Project:
    """The project of a reference, where the key's account has the role; raises Problem 403, 404."""
    try:
        found = await asyncio.to_thread(find, reference, key.account_id)
    except Unavailable as error:
        raise unavailable(_NO_DATABASE) from error
    if found is None:
        raise not_found()
    project, held = found
    if key.project_id is not None and project.id != key.project_id:
        raise forbidden("The API key belongs to another project")
    if held is None:
        raise forbidden("The API key belongs to another account")
    if not held.includes(role):
        raise forbidden(f"This needs the role {role} in the project")
    return project
