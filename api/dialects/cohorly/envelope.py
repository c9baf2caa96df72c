"""Cohorly's answers: bare JSON, and two shapes of errors, one for ingestion and one for all else."""

from typing import Any

import msgspec
from starlette.responses import Response

from api.dialects.surface import Headers

INGESTION = ("/track", "/engage", "/alias", "/flags/evaluate")

_TEXTS = {
    400: "invalid request",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    405: "method not allowed",
    413: "payload too large",
    415: "unsupported content encoding",
    429: "rate limited",
    503: "unavailable",
}
_INTERNAL = "internal error"
_MAX_AGE = (b"access-control-max-age", b"600")


def bare(body: Any, status: int = 200) -> Response:
    """An answer as it is."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def error_body(path: str, status: int, message: str | None) -> bytes:
    """An error in the shape of its path."""
    if path not in INGESTION:
        return msgspec.json.encode({"error": message or _TEXTS.get(status, _INTERNAL)})
    usual = "invalid token" if status == 401 else _TEXTS.get(status, _INTERNAL)
    return msgspec.json.encode({"status": 0, "error": message or usual})


def cors(path: str, origin: bytes | None) -> Headers:
    """Clients send credentialed beacons, which need their own origin back; the status is for everybody."""
    if path in INGESTION:
        named = ((b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"))
        return (*(named if origin is not None else ()), (b"vary", b"Origin"))
    return ((b"access-control-allow-origin", b"*"),) if path.startswith("/status") else ()


def preflight(path: str, origin: bytes | None) -> Headers:
    """No browser is let in to the admin paths."""
    if path in INGESTION:
        return (
            *cors(path, origin),
            (b"access-control-allow-methods", b"POST, OPTIONS"),
            (b"access-control-allow-headers", b"Content-Type, X-Cohorly-Token, Authorization"),
            _MAX_AGE,
        )
    if path.startswith("/status"):
        return (*cors(path, origin), (b"access-control-allow-methods", b"GET, OPTIONS"), _MAX_AGE)
    return ()
