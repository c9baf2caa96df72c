"""`/api/track`: what sites send of their visitors, without a credential."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.requests import renamed
from api.dialects.surface import Failure
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.errors import limited, too_large
from api.ingest.intake import From, InvalidItem
from api.limits.limiter import Quota
from schemas.projects import Project
from storage.meta.projects import find_project

_MOST_EVENTS = 500
_NAMES = {"pageview": "pageview", "engagement": "$engagement", "heartbeat": "$heartbeat"}
_PROPERTIES = ("action", "category", "label", "value", "timeOnPage", "isBounce")
# What the core calls otherwise.
_CALLED = {"event": "action", "context": "path", "properties": "data"}
_TEXTS = ("path", "referrer", "sessionId")
_OBJECTS = ("data", "utm")
_CAMPAIGN = ("source", "medium", "campaign", "term", "content")


class Track:
    """The one route of the ingest side."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [Route("/api/track", self._track, methods=["POST"])]

    async def _track(self, request: Request) -> Response:
        sender = self._held.sender
        address = sender.address(request.scope)
        standing = self._held.limiter.take(Quota.ZTA_TRACK, address or "")
        if standing is not None and not standing.is_admitted:
            raise limited(standing.retry_after, standing.headers)
        request.state.standing = standing
        body = await self._access.body(request)
        items, is_batch = _items(body)
        if not isinstance(body.get("siteId"), str) or not body["siteId"]:
            raise bad("Site ID required")
        events = [event_of(item) for item in items]
        project = await blocking(find_project, self._held.database, "site_id", body["siteId"])
        if project is None:
            raise Failure(404, "Invalid site ID")
        if not is_welcome(project, request.headers.get("origin")):
            raise Failure(403, "Origin not allowed")
        agent = request.headers.get("user-agent", "")
        origin = From("zta", sender.visitor_of(project.id, address, agent), sender.country_of(address), agent or None)
        kept = [event for event in events if not _is_excluded(project, event)]
        try:
            await self._held.intake.accept(project.id, origin, kept)
        except InvalidItem as error:
            if error.code == "payload_too_large":
                raise too_large(error.message) from error
            raise bad(renamed(error.message, _CALLED)) from error
        return named({"success": True, "count": len(items)} if is_batch else {"success": True})


def _items(body: Mapping[str, Any]) -> tuple[list[Any], bool]:
    if body.get("batch") is not True:
        return [body], False
    items = body.get("events")
    if not isinstance(items, list):
        raise bad("Invalid event type")
    if len(items) > _MOST_EVENTS:
        raise Failure(413, f"At most {_MOST_EVENTS} events in a batch")
    return items, True


def event_of(item: Any) -> dict[str, Any]:
    """The core form of one item. Raises Failure."""
    if not isinstance(item, dict):
        raise bad("Invalid event type")
    kind = item.get("type")
    name = _NAMES.get(kind) if isinstance(kind, str) else None
    if kind == "event":
        name = "$heatmap" if item.get("category") == "heatmap" else item.get("action")
    if not isinstance(name, str) or not name:
        raise bad("Invalid event type")
    _check_fields(item)
    properties = {key: item[key] for key in _PROPERTIES if item.get(key) is not None}
    if kind == "event" and name != "$heatmap":
        del properties["action"]
    properties |= item.get("data") or {}
    campaign = item.get("utm") or {}
    properties |= {f"utm_{key}": campaign[key] for key in _CAMPAIGN if campaign.get(key) is not None}
    path = item.get("path") or "/"
    return {
        "event": name,
        "sessionId": item.get("sessionId"),
        "properties": properties,
        "context": {
            "path": path.partition("?")[0],
            "referrer": item.get("referrer"),
        },
    }


def _check_fields(item: Mapping[str, Any]) -> None:
    """Raises Failure for a field of another kind than the documented one, which would be lost."""
    for name in _TEXTS:
        if not isinstance(item.get(name), str | None):
            raise bad(f"Invalid {name}")
    for name in _OBJECTS:
        if not isinstance(item.get(name), dict | None):
            raise bad(f"Invalid {name}")
    if not all(isinstance((item.get("utm") or {}).get(key), str | None) for key in _CAMPAIGN):
        raise bad("Invalid utm")


def is_welcome(project: Project, origin: str | None) -> bool:
    """Whether a page of this origin may send: the site's own, `www.` or not, or one that its owner allowed."""
    domain = project.domain.lower()
    if not origin or "." not in domain:
        return True
    if origin in project.settings.allowed_origins:
        return True
    host = (urlsplit(origin).hostname or "").lower()
    return host.removeprefix("www.") == domain.removeprefix("www.")


def _is_excluded(project: Project, event: Mapping[str, Any]) -> bool:
    path = event["context"]["path"]
    return any(fnmatchcase(path, pattern) for pattern in project.settings.exclude_paths)
