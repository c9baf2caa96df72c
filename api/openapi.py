"""The OpenAPI document: what the framework knows, the lanes in front of it, and the errors that all routes share.

And its page, `/docs`, which loads nothing from elsewhere.
"""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse

from api.errors import CODES
from api.ingest.lane import EVENT_PATHS
from api.live.view import DEFAULT_MINUTES, MAX_MINUTES
from api.middleware import NATIVE_MOUNTS
from api.routes.realtime import REALTIME_PATHS
from api.shapes import EXAMPLE, content, shape
from api.vocabulary import PARAMETERS, REQUIRED

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
_OPEN: Final = (400, 429, 503)
# What a route says of itself in `openapi_extra`: asked without a credential; the errors that others do not have.
OPEN: Final = "x-open"
ERRORS: Final = "x-errors"
# Parameters that name a version of the lake, which may be gone; bodies of questions have one of them too.
_VERSIONS: Final = frozenset({"asOf", "version"})
_QUESTIONS: Final = "/queries/"
# All other routes are about one project, which callers of several name.
_OF_ACCOUNTS: Final = frozenset({"auth", "invites", "keys", "lake", "me", "members", "projects", "usage"})
_PROJECT: Final[_Item] = {
    "name": "projectId",
    "in": "query",
    "description": "Number, site id or website id; for logins and keys of a whole account, which must name it.",
    "schema": {"type": "string"},
}
_SENT: Final = {"event": "signup", "userId": "user-1", "eventId": "order-17", "properties": {"plan": "pro"}}
_ONE: Final[_Item] = {"status": "ok", "eventId": "order-17", "receivedAt": "2026-02-22T10:30:00.142Z"}
_REFUSED: Final = {"index": 1, "error": "bad_request", "message": "Missing required field: event"}
_MANY: Final[_Item] = {
    "status": "partial",
    "accepted": 1,
    "rejected": 1,
    "eventIds": ["order-17", None],
    "errors": [_REFUSED],
    "receivedAt": "2026-02-22T10:30:00.142Z",
}
_INGEST: Final[dict[str, tuple[str, object, _Item, _Item]]] = {
    "/events": ("Send one event; 200 once the log has it.", _SENT, {"type": "object"}, _ONE),
    "/events/batch": (
        "Send many: an array, `{events: [...]}` or lines of JSON; each is judged alone.",
        [_SENT],
        {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object"}]},
        _MANY,
    ),
}
_COUNTED: Final = [{"name": "signup", "count": 12}]
_FIGURES: Final = {
    "activeUsers": {"30s": 3, "5m": 12, "30m": 41},
    "events": 301,
    "pageviews": 184,
    "perMinute": [{"minute": "2026-02-22T10:30:00Z", "events": 12, "pageviews": 8, "users": 5}],
    "topEvents": _COUNTED,
    "topPaths": [{"name": "/pricing", "count": 8}],
    "topReferrers": [{"name": "example.org", "count": 2}],
    "topCountries": [{"name": "DE", "count": 5}],
    "recent": [{"event": "signup"}],
    "asOf": "2026-02-22T10:30:01.000Z",
    "error": 0.021,
    "state": "live",
    "ageSeconds": 0.4,
}
_TEXT: Final = {"schema": {"type": "string"}}
_LIVE: Final = {
    "/realtime": ("The live figures of now.", content(_FIGURES, nullable={"asOf", "ageSeconds", "recent"})),
    "/realtime/stream": (
        "The same as server-sent events, whenever they change.",
        {"content": {"text/event-stream": _TEXT | {"example": 'data: {"events":301,"pageviews":184}\n\n'}}},
    ),
    "/realtime/prometheus": (
        "The same as a page for Prometheus.",
        {"content": {"text/plain": _TEXT | {"example": "streamgauge_project_events_total 301\n"}}},
    ),
}
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
            errors: tuple[int, ...] = tuple(operation.pop(ERRORS, ()))
            if operation.pop(OPEN, False):
                errors += (*_OPEN, 401, 413) if operation.get("requestBody") else _OPEN
            elif path.startswith(mount):
                errors += (*_READ, 413, 415) if operation.get("requestBody") else _READ
                operation["security"] = [{"key": []}, {"bearer": []}]
                parameters = operation.setdefault("parameters", [])
                named = {parameter["name"] for parameter in parameters}
                if path.split("/")[3] not in _OF_ACCOUNTS and _PROJECT["name"] not in named:
                    parameters.append(_PROJECT)
                for parameter in parameters:
                    if (schema := PARAMETERS.get(parameter["name"])) is not None:
                        parameter |= {"schema": schema, "required": parameter["name"] in REQUIRED}
                errors += (410,) if named & _VERSIONS or _QUESTIONS in path else ()
            shared = {str(one): {"$ref": f"#/components/responses/{one}"} for one in errors}
            operation["responses"] = shared | operation["responses"]
    for body in _bodies(paths, parts["responses"]):
        if (example := body.pop(EXAMPLE, None)) is not None:
            body["example"] = msgspec.json.decode(example)


def _bodies(paths: dict[str, _Item], shared: _Item) -> Iterator[_Item]:
    """All that is sent and answered."""
    told = list(shared.values())
    for item in paths.values():
        for operation in item.values():
            told += [operation.get("requestBody", {}), *operation["responses"].values()]
    for one in told:
        yield from one.get("content", {}).values()


def _sending(summary: str, sent: object, schema: _Item, answer: _Item) -> _Item:
    body = {"required": True, **content(sent, schema)}
    headers = [{"name": "Idempotency-Key", "in": "header", **_TEXT}]
    told = {"200": {"description": "OK", **content(answer)}}
    if answer is _MANY:  # a batch of which nothing was taken has the verdicts as well
        told["400"] = _error(400, _EXAMPLES[400], may_say_more=True)
    return {"tags": ["events"], "summary": summary, "parameters": headers, "requestBody": body, "responses": told}


def _live(summary: str, told: _Item) -> _Item:
    minutes = {
        "name": "minutes",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "default": DEFAULT_MINUTES, "maximum": MAX_MINUTES},
    }
    return {
        "tags": ["realtime"],
        "summary": summary,
        "parameters": [minutes],
        "responses": {"200": {"description": "OK", **told}},
    }


def _error(status: int, message: str, *, may_say_more: bool = False) -> _Item:
    example = {"error": CODES[status], "message": message}
    schema = shape(example)
    schema["properties"]["error"] = {"const": CODES[status]}
    return {"description": CODES[status], **content(example, schema | {"additionalProperties": may_say_more})}
