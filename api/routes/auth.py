"""`/api/v1/auth`: logging in and out, and forgotten passwords."""

from functools import partial

from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask

from api.auth.acting import blocking, change, count_attempt, log_in, mail_reset
from api.auth.keys import SESSION_COOKIE, is_same_origin
from api.dependencies import json_body
from api.errors import Problem, bad_request, forbidden, not_found
from api.routes.desk import OPENED, Desk, Fields, answer, example, fields, instant, nothing, now, shows
from schemas.projects import Dialect, Scope
from storage.errors import NotFound, Refused
from storage.meta.accounts import Account, account
from storage.meta.logins import LIFETIME, end_login
from storage.meta.resets import finish_reset

_WHO = {"id": "user_a8Kx92mNqP3f", "email": "ada@example.org", "name": "Ada Lovelace"}
_SESSION = {"token": "eyJhbGciOi...", "expiresAt": "2026-03-01T10:30:00Z", "account": _WHO}


class _Pair(Fields, frozen=True):
    email: str
    password: str


class _Forgotten(Fields, frozen=True):
    email: str


class _Reset(Fields, frozen=True):
    token: str
    password: str


def create_router(desk: Desk) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(prefix="/auth", tags=["account"])

    @router.post(
        "/session",
        status_code=201,
        openapi_extra=OPENED | example({"email": "ada@example.org", "password": "correct horse"}, _Pair),
        responses=shows(_SESSION, 201),
    )
    async def open_session(request: Request) -> Response:
        """Log in: a token for `Authorization: Bearer`, good for seven days, and the same as a cookie for browsers."""
        sent = fields(await json_body(request), _Pair)
        try:
            found = await log_in(desk.held, request, sent.email, sent.password, Dialect.JCHT)
        except Refused as error:
            raise Problem(401, "Invalid email or password") from error
        body = {"token": found.token, "expiresAt": instant(found.login.expires_at), "account": _who(found.account)}
        response = answer(body, 201)
        if is_same_origin(dict(request.scope["headers"])):  # a foreign page must not log its visitors in here
            _set_cookie(request, response, found.token, int(LIFETIME.total_seconds()))
        return response

    @router.get("/session", responses=shows(_WHO))
    async def get_session(request: Request) -> Response:
        """Whose login or key this is."""
        key = await desk.caller(request, Scope.READ)
        found = await blocking(account, desk.metadata, key.account_id)
        if found is None:
            raise not_found()
        return answer(_who(found))

    @router.delete("/session", status_code=204)
    async def close_session(request: Request) -> Response:
        """Log out; the token is worth nothing from now on."""
        key = await desk.caller(request, Scope.READ)
        if key.kind != "login":
            raise forbidden("A key is no login; revoke it at /keys")
        await change(end_login, desk.metadata, key.account_id, key.id, desk.actor(request, key), now())
        response = nothing()
        _set_cookie(request, response, "", 0)
        return response

    @router.post(
        "/password/forgot",
        status_code=202,
        response_class=Response,
        openapi_extra=OPENED | example({"email": "ada@example.org"}, _Forgotten),
    )
    async def forgot_password(request: Request) -> Response:
        """Ask for a mail with a link to set a new password; the answer is the same for any address."""
        sent = fields(await json_body(request), _Forgotten)
        count_attempt(desk.held, desk.held.sender.address(request.scope), f"reset {sent.email}")
        # Afterwards, since the time of the answer would tell whether the address has an account.
        task = BackgroundTask(partial(mail_reset, desk.held, sent.email, desk.actor(request)))
        return Response(status_code=202, background=task)

    @router.post(
        "/password/reset",
        status_code=204,
        openapi_extra=OPENED | example({"token": "3q2-7w...", "password": "correct horse"}, _Reset),
    )
    async def reset_password(request: Request) -> Response:
        """Set a new password with the secret of that link; ends all logins."""
        sent = fields(await json_body(request), _Reset)
        address = desk.held.sender.address(request.scope)
        count_attempt(desk.held, address, "reset")
        try:
            await blocking(finish_reset, desk.metadata, sent.token, sent.password, desk.actor(request), now())
        except ValueError as error:
            raise bad_request(f"Invalid field: password; {error}") from error
        except NotFound as error:
            raise bad_request("Invalid or expired reset link") from error
        desk.held.limiter.succeeded(address, "reset")
        return nothing()

    return router


def _who(of: Account) -> dict[str, str]:
    return {"id": of.user_id, "email": of.email, "name": of.name}


def _set_cookie(request: Request, response: Response, value: str, seconds: int) -> None:
    is_private = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    response.set_cookie(
        SESSION_COOKIE, value, max_age=seconds, path="/", secure=is_private, httponly=True, samesite="strict"
    )
