"""Who asks ZTA's surface, how often they may, and what they may do with which site."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from api.auth.acting import actor, blocking
from api.auth.keys import authenticate
from api.dialects.requests import bearer, json_of
from api.dialects.surface import Failure
from api.dialects.telling import in_zone
from api.dialects.zta.envelope import bad, unknown
from api.errors import Problem, malformed
from api.limits.limiter import Quota
from api.services import Services
from schemas.projects import Dialect, Key, Project, Role, Scope
from storage.meta.activities import Actor
from storage.meta.keys import is_expired

_BODY_BYTES = 256 * 1024


class Access:
    """What every route needs of a request; raises Failure and Problem in ZTA's order of checks."""

    def __init__(self, held: Services) -> None:
        self.held = held

    async def caller(self, request: Request, quota: Quota = Quota.ZTA) -> Key:
        """Whose token or key it is, counted for the user."""
        secret = bearer(request)
        try:
            key = await authenticate(self.held.keys, secret, Dialect.ZTA)
        except Problem as problem:
            if problem.status != 401 or secret is None or not secret.startswith(b"zta_"):
                raise
            # A key is told apart from a token, and one that was good once from one that never was.
            expired = await blocking(is_expired, self.held.database, secret, datetime.now(UTC))
            raise Failure(401, "API key has expired" if expired else "Invalid API key") from problem
        subject = key.id if quota is Quota.ZTA_STATS_API else f"account {key.account_id}"
        request.state.standing = self.held.limiter.admit(quota, subject, key.rate_limit)
        return key

    async def body(self, request: Request) -> dict[str, Any]:
        """The object a request brings."""
        body = await json_of(request, _BODY_BYTES)
        if not isinstance(body, dict):
            raise malformed("The body must be a JSON object")
        return body

    def demand(self, key: Key, scope: Scope) -> None:
        """The key may do this; a login may do what its user may."""
        if key.scope.allows(scope):
            return
        if key.scope is Scope.READ:
            raise Failure(403, "Insufficient permissions. This key has read-only access.")
        raise Failure(403, "Insufficient permissions.")

    async def site(self, key: Key, reference: Any, role: Role = Role.VIEWER) -> Project:
        """The site of an id, where the user has the role."""
        if not isinstance(reference, str) or not reference:
            raise bad("Site ID required")
        found = None
        if reference.startswith("site_") and len(reference) <= 32 and reference.isascii():
            found = await blocking(self.held.find_project, reference, key.account_id)
        if found is None:
            raise unknown("Site")
        project, held = found
        if key.project_id is not None and project.id != key.project_id:
            raise Failure(403, f"This API key cannot access {project.site_id}")
        if held is None or not held.includes(role):
            raise Failure(403, "Access denied")
        in_zone(project.timezone)
        return project

    async def read(self, request: Request, role: Role = Role.VIEWER) -> tuple[Key, Project]:
        """The caller, and the site that the query names."""
        key = await self.caller(request)
        self.demand(key, Scope.READ)
        return key, await self.site(key, request.query_params.get("siteId"), role)

    async def change(self, request: Request, scope: Scope = Scope.ADMIN) -> tuple[Key, Mapping[str, Any]]:
        """The caller, who may change things, and what they sent."""
        key = await self.caller(request)
        body = await self.body(request) if request.method != "DELETE" else {}
        self.demand(key, scope)
        return key, body

    def by(self, request: Request, key: Key) -> Actor:
        """Who acts, for the log of changes."""
        return actor(self.held, request, key)
