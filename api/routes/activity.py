"""`GET /api/v1/activity`: who changed what, and from where."""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from api.auth.acting import blocking
from api.dependencies import json_answer, parameters
from api.errors import bad_request
from api.routes.desk import Desk, decode_cursor, instant, meta, now, shows_page
from schemas.projects import Role, Scope
from schemas.questions import parse_limit
from schemas.windows import parse_range, zone_named
from storage.meta.activities import ActivityFilter, Recorded, list_activities
from storage.meta.engine import Metadata

_DEFAULT_RANGE = timedelta(days=7)
_EXPORT_PAGE = 1000
_ACTIVITY = {
    "id": "activity_a8Kx92mNqP3f",
    "timestamp": "2026-02-22T10:30:00Z",
    "type": "site",
    "action": "site.created",
    "actor": {"id": "user_a8Kx92mNqP3f", "email": "ada@example.org", "name": "Ada Lovelace"},
    "keyId": None,
    "projectId": 1,
    "target": {"type": "site", "id": "site_a8Kx92mNqP3f", "name": "Shop"},
    "metadata": {},
    "ipMasked": "192.168.*.*",
    "userAgent": "Mozilla/5.0",
}
_NULLABLE = frozenset({"actor", "keyId", "projectId", "ipMasked"})
_DOCUMENTED = shows_page(_ACTIVITY, nullable=_NULLABLE)
_DOCUMENTED[200]["content"]["text/csv"] = {"schema": {"type": "string"}}
_COLUMNS = ("Timestamp", "Type", "Action", "Actor Email", "Actor Name", "Target Type", "Target ID", "IP", "User Agent")
# A spreadsheet would take what begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_Text = Annotated[str | None, Query()]


def create_router(desk: Desk) -> APIRouter:
    """The route; its path is below the prefix of the surface."""
    router = APIRouter(tags=["account"])

    @router.get("/activity", responses=_DOCUMENTED)
    async def get_activity(
        request: Request,
        from_: Annotated[str | None, Query(alias="from")] = None,
        to: _Text = None,
        type_: Annotated[str | None, Query(alias="type", description="The part of an action before its dot.")] = None,
        action: _Text = None,
        user_id: Annotated[str | None, Query(alias="userId")] = None,
        project: Annotated[str | None, Query(alias="projectId")] = None,
        limit: _Text = None,
        cursor: _Text = None,
        form: Annotated[str, Query(alias="format", description="json or csv.")] = "json",
    ) -> Response:
        """Changes of the account, or of one project, newest first; as CSV all that match."""
        key = await desk.caller(request, Scope.ADMIN)
        with parameters():
            size, before = parse_limit(limit), decode_cursor(cursor) or None
            span = parse_range(from_, to, zone_named("UTC"), now(), _DEFAULT_RANGE)
        if form not in ("json", "csv"):
            raise bad_request("Invalid parameter: format")
        for name, text in (("type", type_), ("action", action), ("userId", user_id)):
            if text is not None and not (text.isprintable() and len(text) <= 64):
                raise bad_request(f"Invalid parameter: {name}")
        account_id, project_id = await desk.account_of(key, project, Role.ADMIN)
        wanted = ActivityFilter(project_id, type_, action, user_id, span.start, span.end)
        if form == "csv":
            name = 'attachment; filename="activity.csv"'
            lines = _csv(desk.metadata, account_id, wanted)
            return StreamingResponse(lines, media_type="text/csv", headers={"Content-Disposition": name})
        found = await blocking(list_activities, desk.metadata, account_id, wanted, limit=size, before=before)
        # Lines that came meanwhile move no page: the next begins after the number of the last.
        has_more = len(found.items) == size and found.items[-1].number != found.oldest
        after = found.items[-1].number if has_more else None
        body = {"data": [_shape(item) for item in found.items], "meta": meta(found.total, size, after)}
        return json_answer(request, body, {})

    return router


def _shape(item: Recorded) -> dict[str, Any]:
    actor, what = item.actor, item.activity
    return {
        "id": item.id,
        "timestamp": instant(item.at),
        "type": item.type,
        "action": what.action,
        "actor": None if actor is None else {"id": actor.user_id, "email": actor.email, "name": actor.name},
        "keyId": item.key_id,
        "projectId": what.project_id,
        "target": {"type": what.target_type, "id": what.target_id, "name": what.target_name},
        "metadata": what.metadata,
        "ipMasked": item.masked_address,
        "userAgent": item.agent,
    }


def _csv(metadata: Metadata, account_id: int, wanted: ActivityFilter) -> Iterator[str]:
    """Lines of CSV, read page by page, so that a long log needs no memory; run by the server in a thread."""
    yield _line(_COLUMNS)
    before = None
    while items := list_activities(metadata, account_id, wanted, limit=_EXPORT_PAGE, before=before).items:
        for item in items:
            actor, what = item.actor, item.activity
            email, name = (actor.email, actor.name) if actor is not None else ("", "")
            place = (item.masked_address, item.agent)
            who = (email, name, what.target_type, what.target_id)
            yield _line((instant(item.at) or "", item.type, what.action, *who, *place))
        before = items[-1].number


def _line(cells: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells)
    return text.getvalue()
