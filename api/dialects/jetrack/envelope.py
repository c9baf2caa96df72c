"""Jetrack's envelope: `{success, data, meta}` around every answer, errors too."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from api.dialects.surface import Failure

_MESSAGES = {
    400: "Invalid request",
    401: "Invalid or missing API key",
    403: "You do not have access to this resource",
    404: "Not found",
    405: "Method not allowed",
    413: "Payload too large",
    429: "Too many requests",
    503: "Service unavailable",
}
_INTERNAL = "Internal server error"


class InvalidParameters(Failure):
    """Parameters that cannot be read, each with what is wrong."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__(400, "\n".join(errors))


def enveloped(data: Any) -> Response:
    """A successful answer."""
    body = {"success": True, "data": data, "meta": {"status": 200}}
    return Response(msgspec.json.encode(body), media_type="application/json")


def error_body(_: str, status: int, detail: str | None) -> bytes:
    """An error in the same envelope; what is wrong with parameters is listed in `errors`."""
    meta: dict[str, Any] = {"status": status, "message": _MESSAGES.get(status, _INTERNAL)}
    if detail is not None and status == 400:
        meta["errors"] = detail.split("\n")
    return msgspec.json.encode({"success": False, "data": None, "meta": meta})
