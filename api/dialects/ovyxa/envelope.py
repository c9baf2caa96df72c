"""Ovyxa's envelope: `{data, meta}` around statistics, `{error: {code, message}}` around errors."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from api.dialects.surface import Failure, Headers
from schemas.figures import Figures

_ERRORS = {
    400: ("invalid_request", "Invalid request"),
    401: ("unauthorized", "Invalid or missing API key"),
    403: ("forbidden", "You do not have access to this site"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("payload_too_large", "Payload too large"),
    415: ("invalid_request", "Unsupported Content-Encoding"),
    429: ("rate_limited", "Too many requests"),
    503: ("unavailable", "Service unavailable"),
}
_INTERNAL = ("internal_error", "Internal server error")
_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_EXPOSED = (
    b"Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset,"
    b" Streamgauge-Accuracy, Streamgauge-Timezone, Streamgauge-Watermark"
)
_CORS: Headers = (_ANY_ORIGIN, (b"access-control-expose-headers", _EXPOSED))
_PREFLIGHT: Headers = (
    _ANY_ORIGIN,
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"Authorization, Content-Type"),
    (b"access-control-max-age", b"600"),
)


def error_body(_: str, status: int, message: str | None) -> bytes:
    """An error in Ovyxa's form."""
    code, usual = _ERRORS.get(status, _INTERNAL)
    return msgspec.json.encode({"error": {"code": code, "message": message or usual}})


def cors(_path: str, _origin: bytes | None) -> Headers:
    """All origins, on every path."""
    return _CORS


def preflight(_path: str, _origin: bytes | None) -> Headers:
    return _PREFLIGHT


def bare(body: Mapping[str, Any], status: int = 200) -> Response:
    """An answer that has no envelope."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def statistics(data: Mapping[str, Any], bots: int) -> Response:
    """Statistics; nothing is ever sampled."""
    body = {"data": data, "meta": {"sampled": False, "filtered_bot_traffic": bots}}
    return Response(msgspec.json.encode(body), media_type="application/json")


def metrics_of(figures: Figures) -> dict[str, float]:
    """The six metrics by Ovyxa's names."""
    return {
        "visitors": figures.visitors,
        "pageviews": figures.pageviews,
        "visits": figures.sessions,
        "bounce_rate": figures.bounce_rate,
        "visit_duration": figures.avg_session_duration,
        "views_per_visit": figures.views_per_session,
    }


def missing(name: str, what: str = "parameter") -> Failure:
    return Failure(400, f"Missing required {what}: {name}")


def invalid(name: str, what: str = "parameter") -> Failure:
    return Failure(400, f"Invalid {what}: {name}")
