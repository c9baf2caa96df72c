"""The raw ASGI path of sending events, in front of the framework."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth.keys import KeyResolver, ProjectFinder, authenticate, credential, demand, project_of
from api.errors import LogUnavailable, Problem, bad_request, malformed, not_allowed, problem_body
from api.ingest.body import Body, Disconnected, read_body
from api.ingest.door import Door, Origin
from api.ingest.refusals import Refusals
from api.ingest.sender import Sender
from api.ingest.tally import Tally
from api.ingest.validation import Batch, check_batch, check_line, check_syntax, problem_of, stamped
from api.limits.limiter import Limiter, Quota, subject_of
from api.middleware import CORS_HEADERS, NATIVE_MOUNTS
from api.settings import ApiSettings
from schemas.events import Event, InvalidEvent
from schemas.instants import format_millis
from schemas.projects import Key, Role
from schemas.projects import Scope as KeyScope

logger = logging.getLogger(__name__)

EVENT_PATHS = ("/events", "/events/batch")

_DEFAULT_SOURCE = "api"
_JSON = [(b"content-type", b"application/json"), *CORS_HEADERS]
_SPACE = b" \t\r\n"
_INTERNAL = problem_body("internal_error", "Internal server error")

Headers = Mapping[bytes, bytes]


class Lane:
    """Answers `POST /events` and `POST /events/batch` of the native surface; everything else goes on to the app."""

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        keys: KeyResolver,
        find_project: ProjectFinder,
        sender: Sender,
        tally: Tally,
        refusals: Refusals,
        settings: ApiSettings,
        limiter: Limiter | None = None,
    ) -> None:
        self._app = app
        self._door = door
        self._keys = keys
        self._find_project = find_project
        self._sender = sender
        self._tally = tally
        self._refusals = refusals
        self._limiter = limiter
        self._second = 0
        self._second_text = b""
        self._settings = settings
        self._limits = settings.event_limits
        self._is_batch = {
            f"{settings.root_path}{mount}{path}{slash}": path.endswith("/batch")
            for mount in NATIVE_MOUNTS
            for path in EVENT_PATHS
            for slash in ("", "/")
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_batch = self._is_batch.get(scope["path"]) if scope["type"] == "http" else None
        if is_batch is None:
            await self._app(scope, receive, send)
        elif scope["method"] == "POST":
            await self._post(is_batch, scope, receive, send)
        elif scope["method"] == "OPTIONS" or (scope["method"] in ("GET", "HEAD") and not is_batch):
            await self._app(scope, receive, send)
        else:
            allow = b"POST, OPTIONS" if is_batch else b"GET, HEAD, POST, OPTIONS"
            problem = not_allowed(allow)
            await _answer(send, problem.status, problem.body, problem.headers)

    async def _post(self, is_batch: bool, scope: Scope, receive: Receive, send: Send) -> None:
        further: tuple[tuple[bytes, bytes], ...] = ()
        key = None
        try:
            headers = _merged(scope["headers"])
            key = await authenticate(self._keys, credential(headers))
            if self._limiter is not None:
                standing = self._limiter.admit(Quota.NATIVE_INGEST, subject_of(key), key.rate_limit)
                further = standing.headers if standing is not None else ()
            status, body = await (self._batch if is_batch else self._event)(scope, receive, headers, key)
        except Disconnected:
            return
        except Problem as problem:
            status, body, further = problem.status, problem.body, (*further, *problem.headers)
            self._note(problem, key)
        except Exception:  # the edge of the process: one broken request must not look like a dropped connection
            logger.exception("request failed", extra={"path": scope["path"]})
            status, body = 500, _INTERNAL
        self._tally.add("streamgauge_requests_total", "status", status)
        await _answer(send, status, body, further)

    def _note(self, problem: Problem, key: Key | None) -> None:
        if isinstance(problem, LogUnavailable):
            self._tally.add("streamgauge_log_unavailable_total", "cause", problem.cause)
        elif problem.status in (400, 413, 415):
            self._tally.add("streamgauge_events_refused_total", "code", problem.code)
            self._refusals.note(key.project_id if key is not None else None, problem.code, problem.message)

    async def _event(self, scope: Scope, receive: Receive, headers: Headers, key: Key) -> tuple[int, bytes]:
        body = await self._read(receive, headers, self._settings.body_bytes)
        received = time.time_ns() // 1_000_000
        raw = body.content.strip(_SPACE)
        if not raw:
            raise malformed()
        self._demand(key, raw)
        try:
            event, line = check_line(stamped(raw, key.source), self._limits, received)
        except InvalidEvent as error:
            raise problem_of(error) from error
        own = self._idempotency_key(headers)
        origin = await self._origin(scope, headers, key, received, [event])
        [event_id] = await self._door.accept(origin, [event], [line], [own] if own else None)
        return 200, b'{"status":"ok","eventId":%b,"receivedAt":"%b"}' % (
            msgspec.json.encode(event_id),
            self._instant(received),
        )

    async def _batch(self, scope: Scope, receive: Receive, headers: Headers, key: Key) -> tuple[int, bytes]:
        body = await self._read(receive, headers, self._settings.batch_body_bytes)
        received = time.time_ns() // 1_000_000
        self._demand(key, body.content)
        own = self._idempotency_key(headers)
        batch = check_batch(body.content, self._settings.batch_events, self._limits, received, key.source)
        given = [f"{own}:{index}" for index in _accepted(batch)] if own is not None else None
        origin = await self._origin(scope, headers, key, received, batch.events)
        ids: list[str | None] = []
        if batch.events:
            ids.extend(await self._door.accept(origin, batch.events, batch.lines, given))
        for index, refused in batch.refused.items():
            self._tally.add("streamgauge_events_refused_total", "code", refused.code)
            self._refusals.note(origin.project, refused.code, refused.message, index)
            ids.insert(index, None)
        answer: dict[str, Any] = {
            "status": "error" if not batch.events else "partial" if batch.refused else "ok",
            "accepted": len(batch.events),
            "rejected": len(batch.refused),
            "eventIds": ids,
            "errors": [
                {"index": index, "error": refused.code, "message": refused.message}
                for index, refused in batch.refused.items()
            ],
            "receivedAt": self._instant(received).decode(),
        }
        if not batch.events:
            answer |= {"error": "bad_request", "message": f"No event is valid; the first: {batch.refused[0].message}"}
        return 200 if batch.events else 400, msgspec.json.encode(answer)

    async def _read(self, receive: Receive, headers: Headers, most: int) -> Body:
        body = await read_body(receive, headers, most, self._settings.body_seconds)
        if len(body.content) > self._settings.expansion_ratio * body.received:
            self._tally.add("streamgauge_alarms_total", "kind", "body expansion")
        return body

    def _instant(self, received: int) -> bytes:
        # Formatting the date again for each request would cost as much as choosing its partition.
        second, millis = divmod(received, 1000)
        if second != self._second:
            self._second, self._second_text = second, format_millis(received)[:19].encode()
        return b"%b.%03dZ" % (self._second_text, millis)

    def _demand(self, key: Key, content: bytes) -> None:
        # Malformed JSON is told before a missing scope is, as the contract orders it.
        if not key.scope.allows(KeyScope.INGEST):
            check_syntax(content)
            demand(key, KeyScope.INGEST)

    def _idempotency_key(self, headers: Headers) -> str | None:
        raw = headers.get(b"idempotency-key", b"").strip()
        if not raw:
            return None
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise bad_request("Invalid header: Idempotency-Key") from error
        if len(text) > self._limits.id_characters or not text.isprintable():
            raise bad_request("Invalid header: Idempotency-Key")
        return text

    async def _origin(self, scope: Scope, headers: Headers, key: Key, received: int, events: Sequence[Event]) -> Origin:
        wanted = None
        if scope["query_string"]:
            wanted = parse_qs(scope["query_string"].decode("latin-1")).get("projectId", [None])[-1]
        project = await project_of(key, wanted, self._find_project, Role.ADMIN)
        visitor = None
        if any(not (event.user_id or event.anonymous_id) for event in events):
            visitor = self._sender.visitor(scope, headers, project)
        return Origin(project, received, _DEFAULT_SOURCE, visitor, self._sender.country(scope))


def _accepted(batch: Batch) -> list[int]:
    """The indexes of the events that are accepted."""
    return [index for index in range(len(batch.events) + len(batch.refused)) if index not in batch.refused]


def _merged(pairs: list[tuple[bytes, bytes]]) -> Headers:
    """Headers by name; those sent twice are joined, so that none hides another."""
    headers = dict(pairs)
    if len(headers) == len(pairs):
        return headers
    merged: dict[bytes, bytes] = {}
    for name, value in pairs:
        merged[name] = merged[name] + b", " + value if name in merged else value
    return merged


async def _answer(send: Send, status: int, body: bytes, further: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    headers = [*_JSON, (b"content-length", b"%d" % len(body)), *further]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
