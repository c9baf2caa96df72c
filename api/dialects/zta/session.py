"""Logging in, and setting a new password."""

import asyncio
from datetime import UTC, datetime

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import actor, blocking, count_attempt, log_in, mail_reset
from api.dialects.surface import Failure
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named, plain
from api.dialects.zta.parameters import instant
from schemas.projects import Dialect
from storage.errors import NotFound, Refused
from storage.meta.resets import finish_reset, reset_expiry

_SHORTEST_PASSWORD = 8
_SENT = "If an account with that email exists, we sent a password reset link."


class Session:
    """The routes below `/api/auth`; none needs a credential."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/auth/login", self._login, methods=["POST"]),
            Route("/api/auth/forgot", self._forgot, methods=["POST"]),
            Route("/api/auth/verify-reset-token", self._verify, methods=["GET"]),
            Route("/api/auth/reset", self._reset, methods=["POST"]),
        ]

    async def _login(self, request: Request) -> Response:
        body = await self._access.body(request)
        email, password = body.get("email"), body.get("password")
        if not (isinstance(email, str) and email and isinstance(password, str) and password):
            raise bad("Email and password are required")
        try:
            found = await log_in(self._held, request, email, password, Dialect.ZTA)
        except Refused as error:
            raise Failure(401, "Invalid email or password") from error
        user = {"id": found.account.user_id, "email": found.account.email}
        return named({"token": found.token, "user": user})

    async def _forgot(self, request: Request) -> Response:
        body = await self._access.body(request)
        email = body.get("email")
        answer = named({"success": True, "message": _SENT})
        if isinstance(email, str) and email:
            count_attempt(self._held, self._held.sender.address(request.scope), email)
            # After the answer, which must not tell by its time whether there is an account.
            by = actor(self._held, request)
            answer.background = BackgroundTask(asyncio.to_thread, mail_reset, self._held, email, by)
        return answer

    async def _verify(self, request: Request) -> Response:
        token = request.query_params.get("token") or ""
        expires = await blocking(reset_expiry, self._held.database, token, datetime.now(UTC))
        if expires is None:
            return plain({"valid": False, "error": "Invalid or expired reset link"}, 400)
        return named({"valid": True, "expiresAt": instant(expires)})

    async def _reset(self, request: Request) -> Response:
        body = await self._access.body(request)
        token, password = body.get("token"), body.get("password")
        if not (isinstance(token, str) and token and isinstance(password, str) and password):
            raise bad("Token and password are required")
        if len(password) < _SHORTEST_PASSWORD:
            raise bad(f"Password must be at least {_SHORTEST_PASSWORD} characters")
        count_attempt(self._held, self._held.sender.address(request.scope), "reset")
        by = actor(self._held, request)
        try:
            await blocking(finish_reset, self._held.database, token, password, by, datetime.now(UTC))
        except NotFound as error:
            raise bad("Invalid or expired reset link") from error
        except ValueError as error:
            raise bad(str(error)) from error
        return named({"success": True, "message": "Password has been reset successfully"})
