"""The OpenAPI document: what the framework knows, the lanes in front of it, and the errors that all routes share.

And its page, `/docs`, which loads nothing from elsewhere.
"""

from importlib.resources import files
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse

from api.errors import CODES
from api.ingest.lane import EVENT_PATHS
from api.live.view import DEFAULT_MINUTES, MAX_MINUTES
from api.middleware import NATIVE_MOUNTS
from api.routes.realtime import REALTIME_PATHS

_Item = dict[str, Any]

_EXAMPLES: Final = {
    400: "Missing required field: event",
    401: "Invalid or missing API key",
    403: "The API key may not do this",
    404: "Not found",
    409: "A project with this name exists already",
    410: "asOf: version 41 is not kept any more: what newer versions replaced is deleted after a day",
    413: "Batch too large: at most 1000 events",
    415: "Unsupported Content-Encoding: br; use one of gzip, deflate, zstd",
    429: "Too many requests; send the next one in 12 s",
    503: "The event log cannot take events now; send them again",
}
_READ: Final = (400, 401, 403, 404, 429, 503)
_OPEN: Final = (400, 401, 413, 429, 503)
# What a route says of itself in `openapi_extra`: asked without a credential; refused where something is in its way.
OPEN: Final = "x-open"
CONFLICTS: Final = "x-conflicts"
# Parameters that name a version of the lake, which may be gone; bodies of questions have one of them too.
_VERSIONS: Final = frozenset({"asOf", "version"})
_QUESTIONS: Final = "/queries/"
_SENT: Final = {"event": "signup", "userId": "user-1", "eventId": "order-17", "properties": {"plan": "pro"}}
_INGEST: Final = {
    "/events": ("Send one event; 200 once the log has it.", _SENT),
    "/events/batch": ("Send many: an array, `{events: [...]}` or lines of JSON; each is judged alone.", [_SENT]),
}
_LIVE: Final = {
    "/realtime": ("The live figures of now.", "application/json"),
    "/realtime/stream": ("The same as server-sent events, whenever they change.", "text/event-stream"),
    "/realtime/prometheus": ("The same as a page for Prometheus.", "text/plain"),
}
_TEXT: Final = {"schema": {"type": "string"}}
PAGE: Final = "/docs"
# Beside the page, as the wheel brings them.
ASSETS: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
# The page asks this host only, whatever the script in it would like; its icons are data.
_POLICY: Final = "default-src 'self' 'unsafe-inline'; img-src 'self' data:"


def serve_page(app: FastAPI) -> None:
    """The document as a page to try."""
    folder = files("fastapi_offline") / "static"

    async def page(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        script, style, icon = (f"{root}{PAGE}/{name}" for name in ASSETS)
        html = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url=icon,
        )
        html.headers["Content-Security-Policy"] = _POLICY
        return html

    async def asset(request: Request) -> Response:
        return FileResponse(str(folder / request.url.path.rpartition("/")[2]))

    app.add_route(PAGE, page, include_in_schema=False)
    for name in ASSETS:
        app.add_route(f"{PAGE}/{name}", asset, include_in_schema=False)


def complete(app: FastAPI) -> None:
    """Make the app's document say what is true of the whole process."""
    document: _Item = app.openapi()  # the framework keeps it, and serves what is kept
    mount, paths, parts = NATIVE_MOUNTS[0], document["paths"], document.setdefault("components", {})
    for path in EVENT_PATHS:
        paths.setdefault(mount + path, {})["post"] = _sending(*_INGEST[path])
    for path in REALTIME_PATHS:
        paths[mount + path] = {"get": _live(*_LIVE[path])}
    parts["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    parts["responses"] = {str(status): _error(status, message) for status, message in _EXAMPLES.items()}
    parts.pop("schemas", None)  # only the framework's form of errors, which is never sent
    for path, item in paths.items():
        for operation in item.values():
            operation["responses"].pop("422", None)
            errors: tuple[int, ...] = (409,) if operation.pop(CONFLICTS, False) else ()
            if operation.pop(OPEN, False):
                errors += _OPEN
            elif path.startswith(mount):
                errors += (*_READ, 413, 415) if operation.get("requestBody") else _READ
                operation["security"] = [{"key": []}, {"bearer": []}]
                named = {parameter["name"] for parameter in operation.get("parameters", ())}
                errors += (410,) if named & _VERSIONS or _QUESTIONS in path else ()
            operation["responses"] |= {str(one): {"$ref": f"#/components/responses/{one}"} for one in errors}


def _sending(summary: str, example: object) -> _Item:
    body = {"required": True, "content": {"application/json": {"example": example}}}
    headers = [{"name": "Idempotency-Key", "in": "header", **_TEXT}]
    return {"tags": ["events"], "summary": summary, "parameters": headers, "requestBody": body, "responses": _ok()}


def _live(summary: str, kind: str) -> _Item:
    minutes = {
        "name": "minutes",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "default": DEFAULT_MINUTES, "maximum": MAX_MINUTES},
    }
    return {"tags": ["realtime"], "summary": summary, "parameters": [minutes], "responses": _ok(kind)}


def _ok(kind: str = "application/json") -> _Item:
    return {"200": {"description": "OK", "content": {kind: {}}}}


def _error(status: int, message: str) -> _Item:
    example = {"error": CODES[status], "message": message}
    return {"description": CODES[status], "content": {"application/json": {"example": example}}}
