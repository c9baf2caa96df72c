"""One dialect as HTTP sees it: routes, and how its errors, preflights and CORS headers look on every path."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.dialects.telling import begin
from api.errors import OverQuota, Problem
from api.limits.limiter import Standing
from api.methods import allowed

logger = logging.getLogger(__name__)

Headers = tuple[tuple[bytes, bytes], ...]


class Failure(Exception):
    """A refusal in the dialect's own words, which take the place of its usual text for the status."""

    def __init__(self, status: int, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Surface:
    """What tells one dialect from another. Paths are those of its own product."""

    name: str
    routes: Sequence[BaseRoute]
    # The body for a path, a status, and a text of its own if there is one.
    error: Callable[[str, int, str | None], bytes]
    # Headers of every answer, and those of a preflight, for a path and the browser's origin; none where browsers are
    # not let in.
    cors: Callable[[str, bytes | None], Headers]
    preflight: Callable[[str, bytes | None], Headers]


class SurfaceApp:
    """A dialect as an ASGI application, mounted at the root and under its own prefix.

    A route that counts its caller's requests leaves how they stand in `request.state.standing`.
    """

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self._app: ASGIApp = Starlette(
            routes=list(surface.routes),
            exception_handlers={
                Failure: self._on_failure,
                Problem: self._on_problem,
                HTTPException: self._on_http,
                Exception: self._on_error,
            },
        )

    @property
    def name(self) -> str:
        return self.surface.name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        state: dict[str, Any] = {}
        scope = dict(scope, path=path.rstrip("/") or "/", root_path="", state=state)
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        if scope["method"] == "OPTIONS":
            preflight = self.surface.preflight(scope["path"], origin)
            await send({"type": "http.response.start", "status": 204, "headers": list(preflight)})
            await send({"type": "http.response.body"})
            return
        cors = self.surface.cors(scope["path"], origin)
        making = begin()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                standing: Standing | None = state.get("standing")
                limits = () if standing is None else standing.headers
                message["headers"] = [*message.get("headers", ()), *cors, *limits, *making.headers]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:  # answered by _on_error already; the server would log it again and drop the connection
            logger.exception("request failed", extra={"path": scope["path"]})

    def _answer(self, request: Request, status: int, message: str | None, headers: Headers) -> Response:
        body = self.surface.error(request.url.path, status, message)
        response = Response(body, status, media_type="application/json")
        response.raw_headers.extend(headers)
        return response

    async def _on_failure(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Failure)
        return self._answer(request, error.status, error.message, error.headers)

    async def _on_problem(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        # What the core says of parameters and quotas is worth telling; all else has the dialect's own words.
        is_told = error.status == 400 or isinstance(error, OverQuota)
        return self._answer(request, error.status, error.message if is_told else None, error.headers)

    async def _on_http(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        named = dict(error.headers or {})
        if error.status_code == 405:
            named["Allow"] = ", ".join(allowed(self.surface.routes, request.scope))
        headers = tuple((name.lower().encode(), value.encode()) for name, value in named.items())
        return self._answer(request, error.status_code, None, headers)

    async def _on_error(self, request: Request, _: Exception) -> Response:
        return self._answer(request, 500, None, ())
