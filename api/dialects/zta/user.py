"""The user: how the account stands, and where it is logged in."""

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named, unknown
from api.dialects.zta.parameters import instant
from api.routes.me import device_name
from schemas.projects import Scope
from storage.errors import NotFound
from storage.meta.accounts import account
from storage.meta.logins import end_login, end_logins, list_logins


class User:
    """The routes below `/api/user`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/user/status", self._status, methods=["GET"]),
            Route("/api/user/sessions", self._sessions, methods=["GET"]),
            Route("/api/user/sessions", self._end, methods=["DELETE"]),
        ]

    async def _status(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        found = await blocking(account, self._held.database, key.account_id)
        if found is None:
            raise unknown("User")
        # Nothing is sold here: every account is active, and no trial ends.
        return named(
            {
                "id": found.user_id,
                "email": found.email,
                "plan": found.plan,
                "status": "active",
                "canAccess": True,
                "trialEndsAt": None,
                "daysLeft": None,
                "subscription": None,
            }
        )

    async def _sessions(self, request: Request) -> Response:
        key = await self._access.caller(request)
        self._access.demand(key, Scope.READ)
        logins = await blocking(list_logins, self._held.database, key.account_id, datetime.now(UTC))
        sessions: list[dict[str, Any]] = [
            {
                "id": login.id,
                "createdAt": instant(login.created_at),
                "lastActiveAt": instant(login.last_active_at),
                "device": device_name(login.agent),
                "ipAddress": login.masked_address,
                "isCurrent": key.kind == "login" and key.id == login.id,
            }
            for login in logins
        ]
        return named({"sessions": sessions})

    async def _end(self, request: Request) -> Response:
        key, _ = await self._access.change(request)
        query, at, by = request.query_params, datetime.now(UTC), self._access.by(request, key)
        if query.get("all") == "true":
            keep = key.id if key.kind == "login" else None
            number = await blocking(end_logins, self._held.database, key.account_id, by, at, keep)
            return named({"success": True, "message": f"Revoked {number} session(s)"})
        if not query.get("sessionId"):
            raise bad("Session ID or all=true required")
        try:
            await blocking(end_login, self._held.database, key.account_id, query["sessionId"], by, at)
        except NotFound as error:
            raise unknown("Session") from error
        return named({"success": True})
