"""Ovyxa's thirteen statistics, all of one structure: metrics and a series, breakdowns with results beside them."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.ovyxa.access import authenticated, site_of
from api.dialects.ovyxa.envelope import invalid, metrics_of, missing, statistics
from api.dialects.ovyxa.parameters import Period, demand_required, read_period
from api.dialects.requests import clamped, now
from api.dialects.telling import in_zone, told
from api.services import Services
from schemas.figures import BreakdownQuestion, BreakdownRow, OverviewQuestion, change_percent
from schemas.filters import EVERYTHING, Filter
from schemas.projects import Project
from schemas.selection import Selection
from schemas.windows import TimeRange

# Each breakdown by its path: the dimension of the core, and what Ovyxa calls a value.
_BREAKDOWNS = {
    "pages": ("path", "page"),
    "entry-pages": ("entryPath", "page"),
    "exit-pages": ("exitPath", "page"),
    "sources": ("channel", "source"),
    "campaigns": ("utm_campaign", "campaign"),
    "utm": ("utm_campaign", "campaign"),
    "countries": ("country", "country"),
    "locations": ("country", "country"),
    "devices": ("device", "device"),
    "browsers": ("browser", "browser"),
    "os": ("os", "os"),
    "events": ("event", "name"),
}
_SOURCES = {"organic": "search"}
_MINUTES = 5
_MOST_ROWS = 1000
_MOST_PAGES = 1_000_000

_Handler = Callable[[Request], Awaitable[Response]]


class Statistics:
    """The routes below `/api/v1/stats`."""

    def __init__(self, held: Services) -> None:
        self._held = held

    def routes(self) -> list[Route]:
        handlers: dict[str, _Handler] = {
            "overview": self._overview,
            "timeseries": self._overview,
            "realtime": self._realtime,
        }
        for path, (dimension, name) in _BREAKDOWNS.items():
            handlers[path] = self._breakdown(dimension, name)
        return [Route(f"/api/v1/stats/{path}", handler, methods=["GET"]) for path, handler in handlers.items()]

    async def _overview(self, request: Request) -> Response:
        project, period, filters = await self._read(request)
        data, bots = await self._data(project, period, filters)
        return statistics(data, bots)

    def _breakdown(self, dimension: str, name: str) -> _Handler:
        async def handle(request: Request) -> Response:
            project, period, filters = await self._read(request)
            limit = clamped(request.query_params.get("limit"), 10, _MOST_ROWS)
            page = clamped(request.query_params.get("page"), 1, _MOST_PAGES)
            selection = Selection(project.id, period.span, filters)
            question = BreakdownQuestion(selection, dimension, limit=limit, offset=(page - 1) * limit)
            answered = told(await self._held.analytics.ask(question))
            data, bots = await self._data(project, period, filters)
            results = [_result(row, name) for row in answered.rows]
            return statistics({**data, "results": results}, bots)

        return handle

    async def _realtime(self, request: Request) -> Response:
        key = await authenticated(self._held, request)
        if not (reference := request.query_params.get("site_id")):
            raise missing("site_id")
        project = await site_of(self._held, key, reference)
        figures = self._held.live.figures(project.id, time.time_ns() // 1_000_000, _MINUTES)
        zone = ZoneInfo(project.timezone)
        data = {
            "metrics": {"visitors": figures.active_users["5m"], "pageviews": figures.pageviews},
            "timeseries": [
                {"minute": _clock(minute.minute, zone), "visitors": minute.users}
                for minute in figures.per_minute[-_MINUTES:]
            ],
        }
        # Bots are in no live figure: they are counted in the lake, some seconds later.
        recent = TimeRange(now() - timedelta(minutes=_MINUTES), now())
        question = OverviewQuestion(Selection(project.id, recent))
        return statistics(data, told(await self._held.analytics.ask(question)).bots)

    async def _read(self, request: Request) -> tuple[Project, Period, Filter]:
        key = await authenticated(self._held, request)
        query = request.query_params
        demand_required(query)
        # The site's zone is needed to read the dates, and bad parameters are told before a foreign site is.
        read_period(query, "UTC")
        project = await site_of(self._held, key, query["site_id"])
        period = read_period(query, project.timezone)
        in_zone(period.timezone)
        return project, period, await self._segment(project, query.get("segment"))

    async def _segment(self, project: Project, segment: str | None) -> Filter:
        if not segment:
            return EVERYTHING
        found = await blocking(self._held.things.segment_filter, project.id, segment)
        if found is None:
            raise invalid("segment")
        return found

    async def _data(self, project: Project, period: Period, filters: Filter) -> tuple[dict[str, Any], int]:
        selection = Selection(project.id, period.span, filters)
        answer = told(await self._held.analytics.ask(OverviewQuestion(selection, period.buckets)))
        data: dict[str, Any] = {
            "metrics": metrics_of(answer.total),
            "timeseries": [
                {
                    "date": bucket.label,
                    "visitors": figures.visitors,
                    "pageviews": figures.pageviews,
                    "visits": figures.sessions,
                }
                for bucket, figures in zip(period.buckets, answer.series, strict=True)
            ],
        }
        if period.is_compared:
            data["comparison"] = await self._comparison(selection, period, data["metrics"])
        return data, answer.bots

    async def _comparison(self, selection: Selection, period: Period, metrics: dict[str, float]) -> dict[str, Any]:
        since, until, span = period.before
        answered = told(await self._held.analytics.ask(OverviewQuestion(replace(selection, span=span))))
        before = metrics_of(answered.total)
        return {
            "date_from": since.isoformat(),
            "date_to": until.isoformat(),
            "metrics": before,
            "change": {name: change_percent(before[name], value) for name, value in metrics.items()},
        }


def _result(row: BreakdownRow, name: str) -> dict[str, Any]:
    if name == "name":
        return {"name": row.value, "events": row.events, "visitors": row.visitors}
    return {
        name: _SOURCES.get(row.value, row.value) if name == "source" else row.value,
        "visitors": row.visitors,
        "pageviews": row.pageviews,
        "visits": row.sessions,
        "bounce_rate": row.bounce_rate,
        "visit_duration": row.avg_session_duration,
    }


def _clock(minute: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(minute).astimezone(zone).strftime("%H:%M")
