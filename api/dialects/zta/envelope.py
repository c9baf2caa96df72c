"""ZTA's answers: named keys and the same object again as `data`; errors are one text."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

from api.dialects.surface import Failure, Headers

_TEXTS: Final = {
    400: "Invalid request",
    401: "Invalid or expired token",
    403: "Access denied",
    404: "Not found",
    405: "Method not allowed",
    413: "Payload too large",
    415: "Unsupported Content-Encoding",
    # The true wait is in Retry-After; the sentence never changes.
    429: "Rate limit exceeded. Try again in 60 seconds.",
    503: "Service unavailable",
}
_METHODS: Final = b"GET, POST, DELETE, OPTIONS"
_CORS: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", _METHODS),
    (b"access-control-allow-headers", b"Authorization, Content-Type"),
)
_CHANGED: Final = ("/api/sites", "/api/teams", "/api/alerts", "/api/annotations")


def named(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A successful answer: its keys at the top, and all of them once more below `data`."""
    return plain({**body, "data": body}, status, headers)


def plain(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The same without the mirror."""
    named_headers = dict(headers or {})
    return Response(msgspec.json.encode(body), status, media_type="application/json", headers=named_headers)


def deleted(thing: str) -> Response:
    return named({"success": True, "message": f"{thing} deleted successfully"})


def error_body(_: str, status: int, message: str | None) -> bytes:
    """An error: one text."""
    return msgspec.json.encode({"error": message or _TEXTS.get(status, "Internal server error")})


def cors(_path: str, _origin: bytes | None) -> Headers:
    """The three headers, on every answer."""
    return _CORS


def preflight(path: str, _origin: bytes | None) -> Headers:
    """The same, with PATCH where a route has it."""
    methods = _METHODS + b", PATCH" if path in _CHANGED else _METHODS
    return (_CORS[0], (_CORS[1][0], methods), _CORS[2], (b"access-control-max-age", b"600"))


def bad(message: str) -> Failure:
    return Failure(400, message)


def unknown(thing: str) -> Failure:
    return Failure(404, f"{thing} not found")
