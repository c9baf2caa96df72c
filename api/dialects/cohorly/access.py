"""Who asks Cohorly's surface: an account by its key, or a project by the token that clients carry."""

from typing import Any, cast

from starlette.requests import Request

from api.auth.acting import blocking
from api.auth.keys import authenticate, demand
from api.dialects.cohorly.envelope import INGESTION
from api.dialects.requests import bearer
from api.dialects.surface import Failure
from api.errors import limited, not_found, unauthorized
from api.limits.limiter import Quota, subject_of
from api.services import Services
from schemas.projects import Dialect, Key, Project, Scope
from storage.meta.keycache import KeyCache
from storage.meta.projects import find_project, list_projects

_LONGEST_TOKEN = 64


async def account_key(held: Services, request: Request, scope: Scope = Scope.READ) -> Key:
    """The account's key, where it has the scope; raises Problem 401, 403 or 429."""
    key = await authenticate(held.keys, bearer(request), Dialect.COHORLY)
    request.state.standing = held.limiter.admit(Quota.COHORLY, subject_of(key), key.rate_limit)
    demand(key, scope)
    return key


async def project_of(held: Services, key: Key, reference: Any) -> Project:
    """The project of a number, or the account's first; one of somebody else is as unknown as one of nobody."""
    if reference in (None, ""):
        projects = await projects_of(held, key)
        if not projects:
            raise not_found()
        return projects[0]
    text = str(reference)
    if not (text.isascii() and text.isdecimal() and len(text) < 19) or isinstance(reference, bool):
        raise Failure(400, "invalid projectId")
    found = await blocking(find_project, held.database, "id", int(text))
    if found is None or found.account_id != key.account_id or key.project_id not in (None, found.id):
        raise not_found()
    return found


async def projects_of(held: Services, key: Key) -> list[Project]:
    """Those that the key sees, by number."""
    projects = await blocking(list_projects, held.database, key.account_id)
    return [project for project in projects if key.project_id in (None, project.id)]


def count_ingestion(held: Services, request: Request) -> None:
    """One more request of a client's address; raises Problem 429."""
    assert request.url.path in INGESTION
    standing = held.limiter.take(Quota.COHORLY_INGEST, held.sender.address(request.scope) or "")
    if standing is not None and not standing.is_admitted:
        raise limited(standing.retry_after, standing.headers)
    request.state.standing = standing


async def project_of_token(held: Services, token: Any) -> int:
    """The project that a token sends into; raises Problem 401."""
    if not isinstance(token, str) or not 0 < len(token) <= _LONGEST_TOKEN:
        raise unauthorized()
    tokens = cast(KeyCache, held.keys)
    key = tokens.peek_token(token) or await blocking(tokens.resolve_token, token)
    if key is None or key.project_id is None:
        raise unauthorized()
    return key.project_id
