"""Who asks Ovyxa's surface, how often they may, and about which of their sites."""

from starlette.requests import Request

from api.auth.acting import blocking
from api.auth.keys import authenticate
from api.dialects.requests import bearer
from api.errors import forbidden, not_found
from api.limits.limiter import Quota
from api.services import Services
from schemas.projects import Dialect, Key, Project
from storage.meta.projects import find_project, list_projects

_TIERS = {"free": Quota.OVYXA_FREE, "enterprise": Quota.OVYXA_ENTERPRISE}


async def authenticated(held: Services, request: Request) -> Key:
    """The key or login of a request, counted against its account's tier; raises Problem 401 or 429."""
    key = await authenticate(held.keys, bearer(request), Dialect.OVYXA)
    tier = _TIERS.get(key.plan, Quota.OVYXA_PRO)
    request.state.standing = held.limiter.admit(tier, f"account {key.account_id}", key.rate_limit)
    return key


async def site_of(held: Services, key: Key, reference: str) -> Project:
    """The site of an id or of a domain; raises Problem 403 or 404."""
    if reference.startswith("site_"):
        found = await blocking(find_project, held.database, "site_id", reference)
    else:
        own = await blocking(list_projects, held.database, key.account_id)
        wanted = reference.lower()
        found = next((project for project in own if project.domain == wanted), None)
    if found is None:
        raise not_found()
    if found.account_id != key.account_id or key.project_id not in (None, found.id):
        raise forbidden()
    return found
