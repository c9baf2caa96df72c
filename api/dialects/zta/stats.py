"""A site's statistics: the dashboard in one answer, and what happens there now."""

import time
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pycountry
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.dialects.requests import now
from api.dialects.telling import told
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import named
from api.dialects.zta.parameters import instant, read_period
from schemas.figures import BreakdownQuestion, BreakdownRow, Figures, OverviewQuestion, percentage
from schemas.filters import equals
from schemas.instants import format_millis
from schemas.selection import Selection
from schemas.table import TableQuestion
from schemas.windows import TimeRange

_TOP = 10
_DEVICES = ("desktop", "mobile", "tablet")
_SOURCES = ("direct", "organic", "referral", "social", "paid")
# ZTA knows no traffic from e-mail: who follows a link in one was referred.
_FOLDED = {"email": "referral"}
_MINUTES = 5


class Stats:
    """`/api/stats` and `/api/realtime`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [
            Route("/api/stats", self._stats, methods=["GET"]),
            Route("/api/realtime", self._realtime, methods=["GET"]),
        ]

    async def _stats(self, request: Request) -> Response:
        _, project = await self._access.read(request)
        period = read_period(request.query_params, project.timezone, now())
        selection = Selection(project.id, period.span)
        answered = told(await self._held.analytics.ask(OverviewQuestion(selection, period.days)))
        return named(
            {
                "summary": summary(answered.total),
                "timeseries": [
                    {"date": day.label, "pageviews": figures.pageviews, "uniqueVisitors": figures.visitors}
                    for day, figures in zip(period.days, answered.series, strict=True)
                ],
                "topPages": [
                    {"path": row.value, "pageviews": row.pageviews, "uniqueVisitors": row.visitors}
                    for row in await self._rows(selection, "path", "pageviews")
                ],
                "topReferrers": [
                    {"domain": row.value, "visits": row.sessions}
                    for row in await self._rows(selection, "referrer", "sessions")
                ],
                "devices": shares(await self._rows(selection, "device"), _DEVICES),
                "browsers": [
                    {"name": name, "percentage": share}
                    for name, share in shares(await self._rows(selection, "browser")).items()
                ],
                "countries": [
                    {"code": row.value, "name": country_name(row.value), "visits": row.sessions}
                    for row in await self._rows(selection, "country", "sessions")
                ],
                "trafficSources": shares(await self._rows(selection, "channel", "sessions"), _SOURCES),
            }
        )

    async def _rows(self, selection: Selection, dimension: str, sort: str = "visitors") -> tuple[BreakdownRow, ...]:
        question = BreakdownQuestion(selection, dimension, sort, _TOP)
        return told(await self._held.analytics.ask(question)).rows

    async def _realtime(self, request: Request) -> Response:
        _, project = await self._access.read(request)
        at = now()
        figures = self._held.live.figures(project.id, time.time_ns() // 1_000_000, _MINUTES)
        recent = told(
            await self._held.analytics.ask(
                TableQuestion(
                    Selection(project.id, TimeRange(at - timedelta(hours=1), at), equals("isPageview", True)),
                    ("path", "timestamp", "country"),
                    _TOP,
                )
            )
        )
        zone = ZoneInfo(project.timezone)
        body = {
            "activeVisitors": figures.active_users["5m"],
            "pageviewsLast5Min": figures.pageviews,
            "pageBreakdown": {page.name: page.count for page in figures.top_paths},
            "recentPageviews": [
                {"page": path, "timestamp": format_millis(seen), "country": country}
                for path, seen, country in recent.rows
            ],
            "visitorsPerMinute": [
                {"minute": _clock(minute.minute, zone), "visitors": minute.users}
                for minute in figures.per_minute[-_MINUTES:]
            ],
            "timestamp": instant(at),
        }
        return named(body, headers={"Cache-Control": "no-cache"})


def summary(figures: Figures) -> dict[str, Any]:
    """The six figures by ZTA's names."""
    return {
        "pageviews": figures.pageviews,
        "uniqueVisitors": figures.visitors,
        "sessions": figures.sessions,
        "bounceRate": figures.bounce_rate,
        "avgSessionDuration": figures.avg_session_duration,
        "avgTimeOnPage": figures.avg_time_on_page,
    }


def shares(rows: tuple[BreakdownRow, ...], names: tuple[str, ...] = ()) -> dict[str, float]:
    """Percent of the sessions, of the named values or of all that there are."""
    counts: dict[str, int] = dict.fromkeys(names, 0)
    for row in rows:
        name = _FOLDED.get(row.value, row.value)
        if not names or name in counts:
            counts[name] = counts.get(name, 0) + row.sessions
    whole = sum(counts.values())
    return {name: percentage(count, whole) for name, count in counts.items()}


def country_name(code: str) -> str:
    """What people call a country; the code where nobody knows."""
    found = pycountry.countries.get(alpha_2=code)
    return code if found is None else str(getattr(found, "common_name", found.name))


def _clock(minute: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(minute).astimezone(zone).strftime("%H:%M")
