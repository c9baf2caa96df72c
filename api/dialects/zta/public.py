"""`/api/public/stats`: what a share link shows to whoever has it."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.requests import now
from api.dialects.surface import Failure
from api.dialects.telling import told
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.dialects.zta.parameters import named_period
from api.dialects.zta.stats import country_name
from api.routes.shares import find_share
from schemas.figures import BreakdownQuestion, BreakdownRow, OverviewQuestion
from schemas.kept import SHARE_PERIODS
from schemas.selection import Selection
from storage.meta.projects import find_project

_TOP = 10
_FRESH = {"Cache-Control": "public, max-age=300"}


class Public:
    """The one route; the token in the query is all it asks for."""

    def __init__(self, access: Access) -> None:
        self._held = access.held

    def routes(self) -> list[Route]:
        return [Route("/api/public/stats", self._stats, methods=["GET"])]

    async def _stats(self, request: Request) -> Response:
        query = request.query_params
        if not query.get("token"):
            raise bad("Share token required")
        share = await blocking(find_share, self._held.things, query["token"], datetime.now(UTC))
        project = None
        if share is not None:
            project = await blocking(find_project, self._held.database, "id", share.project_id)
        if share is None or project is None:
            raise Failure(404, "Invalid or expired share link")
        period = named_period(query.get("period") or "7d", ZoneInfo(project.timezone), now(), SHARE_PERIODS)
        if period.name not in share.body.periods:
            raise Failure(403, "Period not allowed for this share")
        selection = Selection(project.id, period.span)
        answer = told(await self._held.analytics.ask(OverviewQuestion(selection, period.days)))
        lists = {
            name: await self._rows(selection, dimension)
            for name, dimension in (
                ("pages", "path"),
                ("referrers", "referrer"),
                ("devices", "device"),
                ("browsers", "browser"),
                ("countries", "country"),
            )
        }
        body: dict[str, Any] = {
            "site": {"domain": project.domain, "nickname": project.name},
            "period": period.name,
            "allowedPeriods": list(share.body.periods),
            "uniqueVisitors": answer.total.visitors,
            "pageviews": answer.total.pageviews,
            "bounceRate": answer.total.bounce_rate,
            "avgSessionDuration": answer.total.avg_session_duration,
            "pages": [
                {"path": row.value, "pageviews": row.pageviews, "uniqueVisitors": row.visitors}
                for row in lists["pages"]
            ],
            "referrers": [{"source": row.value, "visits": row.sessions} for row in lists["referrers"]],
            "devices": [{"type": row.value, "count": row.sessions} for row in lists["devices"]],
            "browsers": [{"name": row.value, "count": row.sessions} for row in lists["browsers"]],
            "countries": [
                {"code": row.value, "name": country_name(row.value), "count": row.sessions}
                for row in lists["countries"]
            ],
            "daily": [
                {"date": day.label, "pageviews": figures.pageviews, "uniqueVisitors": figures.visitors}
                for day, figures in zip(period.days, answer.series, strict=True)
            ],
        }
        return named(body, headers=_FRESH)

    async def _rows(self, selection: Selection, dimension: str) -> tuple[BreakdownRow, ...]:
        return told(await self._held.analytics.ask(BreakdownQuestion(selection, dimension, limit=_TOP))).rows
