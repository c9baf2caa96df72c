"""Whose a path is, and what holds for every dialect wherever it is mounted."""

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.dialects.mount import Mounts, owner, stats_owner
from api.dialects.surface import Failure, Headers, Surface, SurfaceApp
from api.errors import bad_request, forbidden
from tests.api.dialects.world import serving


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/account", "jetrack"),
        ("/api/v1/account/usage", "jetrack"),
        ("/api/v1/accounts", None),
        ("/api/v1/websites/x/stats/main", "jetrack"),
        ("/api/v1/stats/overview", "ovyxa"),
        ("/api/v1/events/pageview", "ovyxa"),
        ("/api/v1/events/pageviews", None),
        ("/api/v1/events", None),
        ("/api/v1/auth/login", "ovyxa"),
        ("/api/v1/auth/session", None),
        ("/api/v1/webhooks/stripe", "ovyxa"),
        ("/api/v1/webhooks", None),
        ("/api/v1", None),
        ("/api/projects/3", "cohorly"),
        ("/api/query/funnel", "cohorly"),
        ("/api/events/names", "cohorly"),
        ("/track", "cohorly"),
        ("/status/history", "cohorly"),
        ("/flags/evaluate", "cohorly"),
        ("/api/track", "zta"),
        ("/api/stats-api", "zta"),
        ("/api/anything", "zta"),
        ("/health/live", None),
        ("/metrics", None),
        ("/docs", None),
    ],
)
def test_every_path_has_one_owner(path: str, name: str | None) -> None:
    assert owner(path) == name


@pytest.mark.parametrize(
    ("method", "authorization", "query", "name"),
    [
        ("GET", b"Bearer a.b.c", b"", "zta"),
        ("GET", b"bearer zta_live_x", b"", "zta"),
        ("GET", b"Bearer coh_0", b"siteId=site_1", "zta"),
        ("GET", b"Bearer coh_0", b"siteId=", "zta"),
        ("GET", b"Bearer coh_0", b"projectId=1", "cohorly"),
        ("GET", None, b"", "cohorly"),
        ("POST", b"Bearer coh_0", b"", "zta"),
        ("OPTIONS", None, b"", "zta"),
    ],
)
def test_the_path_of_two(method: str, authorization: bytes | None, query: bytes, name: str) -> None:
    headers = [] if authorization is None else [(b"authorization", authorization)]
    assert stats_owner({"method": method, "headers": headers, "query_string": query}) == name


async def _fine(request: Request) -> PlainTextResponse:
    match request.query_params.get("how"):
        case "failure":
            raise Failure(400, "Site ID required")
        case "problem":
            raise bad_request("Invalid parameter: from")
        case "forbidden":
            raise forbidden("some words of the core")
        case "error":
            raise RuntimeError("secret")
    return PlainTextResponse(request.url.path)


def _error(path: str, status: int, message: str | None) -> bytes:
    return f"{path} {status} {message}".encode()


def _cors(path: str, _origin: bytes | None = None) -> Headers:
    return ((b"access-control-allow-origin", b"*"),) if path != "/api/closed" else ()


async def _native(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("native")(scope, receive, send)


@pytest.fixture
def app() -> ASGIApp:
    routes = [Route("/api/open", _fine, methods=["GET"]), Route("/api/closed", _fine)]
    surface = Surface("zta", routes, _error, _cors, lambda path, _: (*_cors(path), (b"x-path", path.encode())))
    return Mounts(_native, {"zta": SurfaceApp(surface)}, "/base")


async def _get(app: ASGIApp, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test/base") as client:
        return await client.request(method, path)


@pytest.mark.parametrize("path", ["/api/open", "/api/open/", "/compat/zta/api/open", "/compat/zta/api/open/"])
def test_both_mounts_answer_alike(app: ASGIApp, path: str) -> None:
    answer = asyncio.run(_get(app, path))
    assert (answer.status_code, answer.text) == (200, "/api/open")
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("path", "method", "status", "body"),
    [
        ("/api/open?how=failure", "GET", 400, "/api/open 400 Site ID required"),
        ("/api/open?how=problem", "GET", 400, "/api/open 400 Invalid parameter: from"),
        ("/api/open?how=forbidden", "GET", 403, "/api/open 403 None"),
        ("/api/open?how=error", "GET", 500, "/api/open 500 None"),
        ("/api/open", "DELETE", 405, "/api/open 405 None"),
        ("/api/nowhere", "GET", 404, "/api/nowhere 404 None"),
        ("/api/v1/events", "GET", 200, "native"),
        ("/compat/nobody/api/open", "GET", 200, "native"),
        ("/api/open", "OPTIONS", 204, ""),
    ],
)
def test_errors_have_the_shape_of_the_owner(app: ASGIApp, path: str, method: str, status: int, body: str) -> None:
    for mount in ("", "/compat/zta") if body not in ("native",) else ("",):
        answer = asyncio.run(_get(app, f"{mount}{path}", method))
        assert (answer.status_code, answer.text) == (status, body)
    if status != 200:
        assert answer.headers["access-control-allow-origin"] == "*"
    if status == 405:
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_a_path_without_browsers_has_no_cors_headers(app: ASGIApp) -> None:
    answer = asyncio.run(_get(app, "/api/closed"))
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_what_a_path_answers_is_told_whole(tmp_path: Path) -> None:
    with serving(tmp_path) as world:
        for path, method, allowed in (
            ("/api/sites", "PUT", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST"}),
            ("/api/sites/site_1/verify", "DELETE", {"GET", "HEAD", "OPTIONS", "POST"}),
            ("/api/projects", "PATCH", {"GET", "HEAD", "OPTIONS", "POST"}),
            ("/track", "GET", {"OPTIONS", "POST"}),
            ("/api/v1/stats/overview", "POST", {"GET", "HEAD", "OPTIONS"}),
            ("/api/v1/goals", "PUT", {"GET", "HEAD", "OPTIONS", "POST"}),
            ("/compat/jcht/api/v1/goals/goal_1", "PUT", {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}),
        ):
            answer = world.client.request(method, path)
            assert answer.status_code == 405, path
            assert set(answer.headers["allow"].split(", ")) == allowed, path
