"""Credentials of the native surface: found in the headers, resolved, and held against a scope and a project."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from api.errors import bad_request, forbidden, not_found, unauthorized, unavailable
from schemas.projects import Dialect, Key, Project, Scope
from storage.errors import Unavailable

# No key is longer; a longer header is not worth a hash.
_LONGEST_SECRET = 256

_NO_DATABASE = "The database of keys does not answer now; send the request again"


class KeyResolver(Protocol):
    """What a secret opens. Any thread may call; neither remembers an unknown secret."""

    def peek(self, secret: bytes) -> Key | None:
        """The key if it is in memory; never blocks, and None says nothing."""

    def resolve(self, secret: bytes) -> Key | None:
        """The key, or None if there is none; may block on the database. Raises storage.errors.Unavailable."""


class ProjectFinder(Protocol):
    """Projects by number, for keys of a whole account. May block; raises storage.errors.Unavailable."""

    def __call__(self, project_id: int, /) -> Project | None: ...


def credential(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The secret of `X-API-Key`, else of `Authorization: Bearer`; header names are in lower case."""
    if (secret := headers.get(b"x-api-key")) is not None:
        return secret.strip()
    authorization = headers.get(b"authorization", b"")
    return authorization[7:].strip() if authorization[:7].lower() == b"bearer " else None


async def authenticate(keys: KeyResolver, secret: bytes | None) -> Key:
    """The native key of a secret; raises Problem 401."""
    if not secret or len(secret) > _LONGEST_SECRET:
        raise unauthorized()
    key = keys.peek(secret)
    if key is None:
        try:
            key = await asyncio.to_thread(keys.resolve, secret)
        except Unavailable as error:
            raise unavailable(_NO_DATABASE) from error
    if key is None or key.dialect is not Dialect.JCHT:
        raise unauthorized()
    return key


def demand(key: Key, scope: Scope) -> None:
    """Raises Problem 403 where the key lacks the scope."""
    if not key.scope.allows(scope):
        raise forbidden()


async def project_of(key: Key, wanted: str | None, find: ProjectFinder) -> int:
    """The project a request is about; `wanted` is its `projectId` parameter. Raises Problem 400, 403, 404."""
    if wanted is None:
        if key.project_id is None:
            raise bad_request("Missing required parameter: projectId")
        return key.project_id
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) < 19):
        raise bad_request("Invalid parameter: projectId")
    project_id = int(wanted)
    if key.project_id is not None:
        if project_id != key.project_id:
            raise forbidden("The API key belongs to another project")
        return project_id
    try:
        project = await asyncio.to_thread(find, project_id)
    except Unavailable as error:
        raise unavailable(_NO_DATABASE) from error
    if project is None:
        raise not_found()
    if project.account_id != key.account_id:
        raise forbidden("The API key belongs to another account")
    return project_id
