"""`/api/export`: a site's days, pageviews or events, as JSON or CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.dialects.requests import clamped, now
from api.dialects.telling import told
from api.dialects.zta.access import Access
from api.dialects.zta.envelope import bad, plain
from api.dialects.zta.parameters import Period, instant, read_period
from schemas.figures import Figures, OverviewQuestion
from schemas.filters import equals
from schemas.instants import format_millis
from schemas.projects import Project, Role
from schemas.selection import Selection
from schemas.table import TableQuestion

_PERIODS = ("7d", "30d", "90d", "365d")
_MOST_ROWS = 100_000
# Columns of a download: what CSV calls them, what JSON calls them, and the field of the event.
_PAGEVIEWS = (
    ("Timestamp", "timestamp", "timestamp"),
    ("Page", "page", "path"),
    ("Referrer", "referrer", "referrerUrl"),
    ("UTM Source", "utm_source", "utm_source"),
    ("UTM Medium", "utm_medium", "utm_medium"),
    ("UTM Campaign", "utm_campaign", "utm_campaign"),
    ("Device", "device", "device"),
    ("Browser", "browser", "browser"),
    ("OS", "os", "os"),
    ("Country", "country", "country"),
    ("Region", "region", "region"),
    ("Time on Page", "time_on_page", "timeOnPage"),
    ("Is Bounce", "is_bounce", "isBounce"),
)
_EVENTS = (
    ("Timestamp", "timestamp", "timestamp"),
    ("Event Type", "event_type", "isPageview"),
    ("Event Name", "event_name", "event"),
    ("Event Data", "event_data", "properties"),
    ("Page", "page", "path"),
    ("Device", "device", "device"),
    ("Country", "country", "country"),
)
_SUMMARY = ("Date", "Pageviews", "Unique Visitors", "Sessions", "Bounces", "Bounce Rate", "Avg Time on Page")


class Export:
    """The one route."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._held = access.held

    def routes(self) -> list[Route]:
        return [Route("/api/export", self._export, methods=["GET"])]

    async def _export(self, request: Request) -> Response:
        _, project = await self._access.read(request, Role.MEMBER)
        query = request.query_params
        form, kind = query.get("format") or "json", query.get("type") or "summary"
        if form not in ("json", "csv"):
            raise bad("Invalid format. Must be: json or csv")
        if kind not in ("summary", "pageviews", "events"):
            raise bad("Invalid export type. Must be: summary, pageviews, or events")
        period = read_period(query, project.timezone, now(), "30d", _PERIODS)
        limit = clamped(query.get("limit"), 10_000, _MOST_ROWS)
        if kind == "summary":
            rows = (await self._summary(project, period))[:limit]
            return (
                self._csv(kind, _SUMMARY, [_cells(row) for row in rows])
                if form == "csv"
                else _json(project, period, kind, rows)
            )
        columns = _PAGEVIEWS if kind == "pageviews" else _EVENTS
        found = await self._table(project, period, columns, limit, pageviews=kind == "pageviews")
        if form == "csv":
            return self._csv(kind, [column[0] for column in columns], found)
        names = [column[1] for column in columns]
        return _json(project, period, kind, [dict(zip(names, row, strict=True)) for row in found])

    async def _summary(self, project: Project, period: Period) -> list[dict[str, Any]]:
        answered = told(
            await self._held.analytics.ask(OverviewQuestion(Selection(project.id, period.span), period.days))
        )
        days = zip(period.days, answered.series, strict=True)
        return [_day(day.label, figures) for day, figures in reversed(list(days))]

    async def _table(
        self, project: Project, period: Period, columns: Sequence[tuple[str, str, str]], limit: int, *, pageviews: bool
    ) -> list[list[Any]]:
        selection = Selection(project.id, period.span, equals("isPageview", pageviews))
        question = TableQuestion(selection, tuple(field for _, _, field in columns), limit)
        rows = told(await self._held.analytics.ask(question)).rows
        if pageviews:
            return [[format_millis(row[0]), *row[1:]] for row in rows]
        return [[format_millis(row[0]), "event", *row[2:]] for row in rows]

    def _csv(self, kind: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Response:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
        name = f"zta-{kind}-{datetime.now(UTC).date().isoformat()}.csv"
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text.getvalue(), media_type="text/csv", headers=disposition)


def _json(project: Project, period: Period, kind: str, rows: Sequence[dict[str, Any]]) -> Response:
    span = {"start": instant(period.span.start), "end": instant(period.span.end)}
    # `data` is the rows themselves here: this answer has no mirror.
    return plain({"site_id": project.site_id, "period": span, "type": kind, "count": len(rows), "data": rows})


def _day(label: str, figures: Figures) -> dict[str, Any]:
    return {
        "date": label,
        "pageviews": figures.pageviews,
        "unique_visitors": figures.visitors,
        "sessions": figures.sessions,
        "bounces": figures.bounces,
        "bounce_rate": figures.bounce_rate,
        "avg_time_on_page": figures.avg_time_on_page,
    }


def _cells(row: dict[str, Any]) -> list[Any]:
    cells = list(row.values())
    return [*cells[:-2], f"{cells[-2]}%", f"{cells[-1]}s"]
