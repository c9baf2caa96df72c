"""Which dialect a path belongs to: its own paths at the root, all of them under `/compat/<name>`."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.dialects.surface import SurfaceApp

_COMPAT = "/compat/"
_JETRACK = ("/api/v1/account", "/api/v1/websites")
_OVYXA = (
    "/api/v1/stats",
    "/api/v1/events/pageview",
    "/api/v1/events/custom",
    "/api/v1/events/event",
    "/api/v1/auth/login",
    "/api/v1/webhooks/stripe",
    "/api/v1/webhooks/lemonsqueezy",
    "/api/v1/webhooks/paddle",
    "/api/v1/webhooks/polar",
)
_COHORLY = (
    "/api/projects",
    "/api/events",
    "/api/users",
    "/api/query",
    "/api/privacy",
    "/track",
    "/engage",
    "/alias",
    "/flags",
    "/status",
)
_SHARED = "/api/stats"
_FOR_BROWSERS = "zta"


def owner(path: str) -> str | None:
    """The dialect a root path belongs to, `/api/stats` aside; None for the native surface and our own paths."""
    if _is_below(path, _JETRACK):
        return "jetrack"
    if _is_below(path, _OVYXA):
        return "ovyxa"
    if _is_below(path, ("/api/v1",)):
        return None
    if _is_below(path, _COHORLY):
        return "cohorly"
    return "zta" if path.startswith("/api/") else None


def stats_owner(scope: Scope) -> str:
    """Who answers `/api/stats` at the root, the one path that two products have."""
    if scope["method"] not in ("GET", "HEAD"):
        return "zta"
    authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    if authorization[:7].lower() == b"bearer ":
        token = authorization[7:].strip()
        if token.startswith(b"zta_") or token.count(b".") == 2:
            return "zta"
    return "zta" if "siteId" in parse_qs(scope["query_string"].decode("latin-1"), True) else "cohorly"


def _is_below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


class Mounts:
    """Hands each request to the dialect that owns its path, and everything else to the native application."""

    def __init__(self, native: ASGIApp, surfaces: Mapping[str, SurfaceApp], root_path: str = "") -> None:
        self._app = native
        self._surfaces = surfaces
        self._root = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        surface, path = found
        if (
            path.rstrip("/") == _SHARED
            and surface.name != _FOR_BROWSERS
            and not scope["path"].removeprefix(self._root).startswith(_COMPAT)
        ):
            send = self._for_browsers(send)
        await surface(dict(scope, path=path, raw_path=path.encode()), receive, send)

    def _for_browsers(self, send: Send) -> Send:
        """With the headers of the one of the two that browsers may call: they cannot know who answers."""
        headers = self._surfaces[_FOR_BROWSERS].surface.cors(_SHARED, None)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        return sending

    def _find(self, scope: Scope) -> tuple[SurfaceApp, str] | None:
        path: str = scope["path"].removeprefix(self._root)
        if path.startswith(_COMPAT):
            name, slash, rest = path.removeprefix(_COMPAT).partition("/")
            surface = self._surfaces.get(name)
            return None if surface is None else (surface, f"{slash}{rest}" or "/")
        bare = path.rstrip("/")
        surface = self._surfaces.get(stats_owner(scope) if bare == _SHARED else owner(bare) or "")
        return None if surface is None else (surface, path)
