"""What holds for the whole native surface, whoever answers: slashes, preflights and CORS headers."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NATIVE_MOUNTS = ("/api/v1", "/compat/jcht/api/v1")

# Where in a request's scope those who answer it put headers that go with the answer, whatever becomes of it.
FURTHER_HEADERS = "streamgauge.headers"
# What to do once the answer is that nothing changed.
ON_UNCHANGED = "streamgauge.unchanged"
# Breaks the connection off at once, whatever is still to be sent.
ABORT = "streamgauge.abort"

_EXPOSED = (
    b"Retry-After",
    b"X-RateLimit-Limit",
    b"X-RateLimit-Remaining",
    b"X-RateLimit-Reset",
    b"Streamgauge-Accuracy",
    b"Streamgauge-Timezone",
    b"Streamgauge-Watermark",
    b"Streamgauge-Version",
    b"Streamgauge-Cursor",
    b"Streamgauge-Truncated",
)
CORS_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b", ".join(_EXPOSED),
    ),
)
_PREFLIGHT_HEADERS = (
    *CORS_HEADERS,
    (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"X-API-Key, Authorization, Content-Type, Idempotency-Key"),
    (b"access-control-max-age", b"600"),
)


class NativeSurface:
    """Ignores a trailing slash everywhere, answers native preflights, and puts CORS headers on native answers."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._prefixes = tuple(f"{root_path}{mount}/" for mount in NATIVE_MOUNTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path.endswith("/") and len(path) > 1:
            scope = dict(scope, path=path.rstrip("/") or "/")
        if not path.startswith(self._prefixes):
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": list(_PREFLIGHT_HEADERS)})
            await send({"type": "http.response.body"})
        else:
            scope = dict(scope, **{FURTHER_HEADERS: []})
            await self._app(scope, receive, _with(scope, send))


def _with(scope: Scope, send: Send) -> Send:
    further: list[tuple[bytes, bytes]] = scope[FURTHER_HEADERS]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == 304 and (unchanged := scope.get(ON_UNCHANGED)) is not None:
                unchanged()
            message["headers"] = [*message.get("headers", ()), *CORS_HEADERS, *further]
        await send(message)

    return sending


class HeadAsGet:
    """Answers HEAD as GET would begin, whoever answers: status and headers, and no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app(dict(scope, method="GET"), receive, _head_only(send))
        else:
            await self._app(scope, receive, send)


def _head_only(send: Send) -> Send:
    async def sending(message: Message) -> None:
        # Complete with its head: who would stream a body without end is told that the client has gone.
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return sending
