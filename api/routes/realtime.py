"""`GET /realtime`, `/realtime/stream` and `/realtime/prometheus` of the native surface, in front of the framework."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth.keys import KeyResolver, ProjectFinder, authenticate, credential, demand, project_of, session, still_reads
from api.errors import Problem, bad_request, not_allowed, problem_body, unavailable
from api.limits.limiter import Limiter, Quota, subject_of
from api.live.exposition import CONTENT_TYPE, Exposition
from api.live.realtime import Answers
from api.live.recent import RecentEvents
from api.live.stream import HEADERS, frames, pour
from api.live.view import DEFAULT_MINUTES, MAX_MINUTES, LiveView
from api.middleware import CORS_HEADERS, NATIVE_MOUNTS
from schemas.projects import Scope as KeyScope

logger = logging.getLogger(__name__)

REALTIME_PATHS = ("/realtime", "/realtime/stream", "/realtime/prometheus")

_INTERNAL = problem_body("internal_error", "Internal server error")

Headers = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Poll:
    """What one request asks for."""

    project: int
    minutes: int
    headers: Headers
    limits: tuple[tuple[bytes, bytes], ...] = ()


class RealtimeLane:
    """Answers polls of the live view; everything else goes on to the app."""

    def __init__(
        self,
        app: ASGIApp,
        view: LiveView,
        recent: RecentEvents | None,
        keys: KeyResolver,
        find_project: ProjectFinder,
        stopping: asyncio.Event,
        root_path: str,
        limiter: Limiter | None = None,
    ) -> None:
        self._app = app
        self._view = view
        self._recent = recent
        self._answers = Answers(view, recent.get if recent is not None else _not_read)
        self._exposition = Exposition(view)
        self._keys = keys
        self._find_project = find_project
        self._stopping = stopping
        self._limiter = limiter
        handlers = dict(zip(REALTIME_PATHS, (self._current, self._stream, self._prometheus), strict=True))
        self._handlers: dict[str, Callable[[Poll, Scope, Receive, Send], Awaitable[None]]] = {
            f"{root_path}{mount}{path}{slash}": handler
            for mount in NATIVE_MOUNTS
            for path, handler in handlers.items()
            for slash in ("", "/")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._handlers.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None or scope["method"] == "OPTIONS":
            await self._app(scope, receive, send)
            return
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise not_allowed(b"GET, HEAD, OPTIONS")
            await handler(await self._poll(scope), scope, receive, send)
        except Problem as problem:
            await _refuse(send, problem)
        except Exception:  # the edge of the process: one broken request must not look like a dropped connection
            logger.exception("request failed", extra={"path": scope["path"]})
            if handler == self._stream:
                raise  # its answer has begun; the server breaks the connection off, and the client comes back
            await _answer(send, 500, [(b"content-type", b"application/json"), *CORS_HEADERS], _INTERNAL)

    async def _poll(self, scope: Scope) -> Poll:
        headers: Headers = dict(scope["headers"])
        key = await authenticate(self._keys, credential(headers) or session(headers))
        standing = None
        if self._limiter is not None:
            standing = self._limiter.admit(Quota.REALTIME, subject_of(key), key.rate_limit)
        demand(key, KeyScope.READ)
        minutes, wanted = DEFAULT_MINUTES, None
        if scope["query_string"]:
            query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            minutes = _minutes(query.get("minutes", [None])[-1])
            wanted = query.get("projectId", [None])[-1]
        project = await project_of(key, wanted, self._find_project)
        if not self._view.is_complete:
            raise unavailable("The live counters are being read; ask again in a moment")
        if self._recent is not None:
            await self._recent.first(project)
        return Poll(project, minutes, headers, standing.headers if standing is not None else ())

    async def _current(self, poll: Poll, _scope: Scope, _receive: Receive, send: Send) -> None:
        answer = self._answers.get(poll.project, poll.minutes)
        if (known := poll.headers.get(b"if-none-match")) is not None and _matches(known, answer.tag):
            await send(
                {"type": "http.response.start", "status": 304, "headers": [*answer.unchanged_headers, *poll.limits]}
            )
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [*answer.headers, *poll.limits]})
            await send({"type": "http.response.body", "body": answer.body})

    async def _prometheus(self, poll: Poll, _scope: Scope, _receive: Receive, send: Send) -> None:
        page = self._exposition.page(poll.project, time.time_ns() // 1_000_000)
        headers = [(b"content-type", CONTENT_TYPE), (b"cache-control", b"no-store"), *CORS_HEADERS, *poll.limits]
        await _answer(send, 200, headers, page)

    async def _stream(self, poll: Poll, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *CORS_HEADERS, *poll.limits]})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        get = partial(self._answers.get, poll.project, poll.minutes)
        last_id = poll.headers.get(b"last-event-id", b"")
        content = frames(get, last_id, partial(self._is_allowed, poll), self._stopping)
        await pour(content, scope, receive, send, self._stopping)

    async def _is_allowed(self, poll: Poll) -> bool:
        return await still_reads(self._keys, poll.headers)


def _not_read(_project: int) -> bytes:
    return b"null"


def _minutes(text: str | None) -> int:
    if text is None:
        return DEFAULT_MINUTES
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and 1 <= int(text) <= MAX_MINUTES):
        raise bad_request("Invalid parameter: minutes")
    return int(text)


def _matches(known: bytes, tag: bytes) -> bool:
    if known == tag:
        return True
    weak = tag.removeprefix(b"W/")
    return known.strip() == b"*" or any(one.strip().removeprefix(b"W/") == weak for one in known.split(b","))


async def _refuse(send: Send, problem: Problem) -> None:
    await _answer(
        send, problem.status, [(b"content-type", b"application/json"), *CORS_HEADERS, *problem.headers], problem.body
    )


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})
