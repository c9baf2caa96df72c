"""`/api/stats-api`: chosen metrics, by day or by a property, for programs with a key."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.dialects.requests import clamped, now
from api.dialects.telling import told
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, named
from api.dialects.zta.parameters import Period
from api.limits.limiter import Quota
from schemas.figures import BreakdownQuestion, BreakdownRow, Figures, OverviewQuestion
from schemas.filters import EVERYTHING, AllOf, Condition, Filter, Operator
from schemas.periods import period_range
from schemas.projects import Project, Scope
from schemas.selection import Selection
from schemas.windows import InvalidWindow, TimeRange, parse_range

_METRICS = ("visitors", "pageviews", "bounce_rate", "visit_duration", "views_per_visit")
_PROPERTIES = {
    "page": "path",
    "source": "channel",
    "country": "country",
    "device": "device",
    "browser": "browser",
    "os": "os",
}
_DAYS = {"day": "1d", "7d": "7d", "30d": "30d", "6mo": "182d", "12mo": "365d"}
_REALTIME = timedelta(minutes=5)
_MOST_ROWS = 1000


class StatsApi:
    """The one route; a user's other requests do not count against it."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [Route("/api/stats-api", self._stats, methods=["GET"])]

    async def _stats(self, request: Request) -> Response:
        key = await self._access.caller(request, Quota.ZTA_STATS_API)
        self._access.demand(key, Scope.READ)
        query = request.query_params
        metrics = _metrics(query)
        filters = parse_filters(query.get("filters"))
        prop = query.get("property")
        if prop and prop not in _PROPERTIES:
            raise bad(f"Invalid property: {prop}")
        project = await self._access.site(key, query.get("site_id"))
        name, period = _period(query, project, now())
        selection = Selection(project.id, period.span, filters)
        asked: dict[str, Any] = {"site_id": project.site_id, "period": name, "metrics": metrics}
        if prop:
            limit = clamped(query.get("limit"), 100, _MOST_ROWS)
            found = told(await self._held.analytics.ask(BreakdownQuestion(selection, _PROPERTIES[prop], limit=limit)))
            results = [{prop: row.value} | _picked(_of_row(row), metrics) for row in found.rows]
            return named({"results": results, "query": asked | {"property": prop}})
        answer = told(await self._held.analytics.ask(OverviewQuestion(selection, period.days)))
        days = zip(period.days, answer.series, strict=True)
        results = [{"date": day.label} | _picked(_of_figures(figures), metrics) for day, figures in days]
        return named({"results": results, "query": asked})


def parse_filters(text: str | None) -> Filter:
    """`page==/blog/*;country==US`: all must hold, and a star stands for anything. Raises Failure."""
    if not text:
        return EVERYTHING
    parts = []
    for part in text.split(";"):
        name, sign, value = part.partition("==")
        if not sign:
            name, sign, value = part.partition("!=")
        if name not in _PROPERTIES or not sign or not value:
            raise bad(f"Invalid filters: {part}")
        parts.append(_condition(_PROPERTIES[name], sign == "==", value))
    return AllOf(tuple(parts))


def _condition(key: str, is_equal: bool, value: str) -> Condition:
    if "*" not in value:
        return Condition(key, Operator.EQ if is_equal else Operator.NEQ, value)
    if not is_equal:
        raise bad(f"Invalid filters: {value}, a star needs ==")
    pattern = "".join(".*" if char == "*" else f"\\x{{{ord(char):x}}}" for char in value)
    return Condition(key, Operator.MATCHES, f"^{pattern}$")


def _metrics(query: QueryParams) -> list[str]:
    names = (query.get("metrics") or "visitors,pageviews").split(",")
    for name in names:
        if name not in _METRICS:
            raise bad(f"Invalid metric: {name}")
    return names


def _period(query: QueryParams, project: Project, at: datetime) -> tuple[str, Period]:
    name, zone = query.get("period") or "7d", ZoneInfo(project.timezone)
    try:
        if name == "custom":
            if not (query.get("date_from") and query.get("date_to")):
                raise bad("date_from and date_to are required for a custom period")
            span = parse_range(query["date_from"], query["date_to"], zone, at, timedelta(days=7))
        elif name == "realtime":
            span = TimeRange(at - _REALTIME, at)
        elif name in _DAYS:
            span = period_range(_DAYS[name], zone, at)
        else:
            raise bad("Invalid time period")
    except InvalidWindow as error:
        raise bad("Invalid time period") from error
    return name, Period(name, span, zone)


def _of_figures(figures: Figures) -> dict[str, float]:
    return {
        "visitors": figures.visitors,
        "pageviews": figures.pageviews,
        "bounce_rate": figures.bounce_rate,
        "visit_duration": figures.avg_session_duration,
        "views_per_visit": figures.views_per_session,
    }


def _of_row(row: BreakdownRow) -> dict[str, float]:
    return {
        "visitors": row.visitors,
        "pageviews": row.pageviews,
        "bounce_rate": row.bounce_rate,
        "visit_duration": row.avg_session_duration,
        "views_per_visit": round(row.pageviews / row.sessions, 2) if row.sessions else 0.0,
    }


def _picked(values: dict[str, float], metrics: list[str]) -> dict[str, float]:
    return {name: values[name] for name in metrics}
