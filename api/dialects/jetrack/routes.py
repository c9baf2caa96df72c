"""Jetrack's routes under `/api/v1`: the account, its websites, and their statistics."""

import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.jetrack.envelope import InvalidParameters, enveloped, error_body
from api.dialects.jetrack.parameters import read_range
from api.dialects.requests import clamped, either_header, now
from api.dialects.surface import Surface
from api.dialects.telling import in_zone, told
from api.errors import forbidden, not_found
from api.limits.limiter import Quota, subject_of
from api.services import Services
from schemas.figures import BreakdownQuestion, OverviewQuestion
from schemas.instants import format_millis, to_millis
from schemas.projects import Dialect, Key, Project
from schemas.selection import Selection
from schemas.windows import Interval, InvalidWindow, TimeRange, buckets
from storage.meta.accounts import account
from storage.meta.projects import find_project, list_projects

# The lists of a website, and the dimension of each.
_LISTS = {
    "pages": "path",
    "referrers": "referrer",
    "countries": "country",
    "devices": "device",
    "browsers": "browser",
    "os": "os",
    "utm": "utm_campaign",
    "events": "event",
}
_MOST_ROWS = 1000

_Handler = Callable[[Request, Key], Awaitable[Response]]


def surface(held: Services) -> Surface:
    """The dialect over a process's services; browsers are not let in, since keys are for servers only."""
    routes = _Routes(held)
    return Surface("jetrack", routes.table(), error_body, lambda _path, _origin: (), lambda _path, _origin: ())


class _Routes:
    def __init__(self, held: Services) -> None:
        self._held = held

    def table(self) -> list[Route]:
        handlers: dict[str, _Handler] = {
            "/account": self._account,
            "/account/subscription": self._subscription,
            "/account/usage": self._usage,
            "/websites": self._websites,
            "/websites/{id}": self._website,
            "/websites/{id}/stats/main": self._main,
            "/websites/{id}/stats/timeseries": self._timeseries,
            "/websites/{id}/stats/realtime": self._realtime,
            "/websites/{id}/stats/{list}": self._list,
        }
        return [Route(f"/api/v1{path}", self._for_key(handler), methods=["GET"]) for path, handler in handlers.items()]

    def _for_key(self, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            key = await either_header(self._held.keys, request, Dialect.JETRACK)
            request.state.standing = self._held.limiter.admit(Quota.JETRACK, subject_of(key), key.rate_limit)
            return await handler(request, key)

        return handle

    async def _account(self, _: Request, key: Key) -> Response:
        found = await blocking(account, self._held.database, key.account_id)
        if found is None:
            raise not_found()
        return enveloped(
            {
                "id": _uuid_of(found.user_id),
                "email": found.email,
                "firstName": found.first_name,
                "lastName": found.last_name,
                "picture": found.picture,
                "emailVerifiedAt": None if found.email_verified_at is None else _instant(found.email_verified_at),
                "createdAt": _instant(found.created_at),
            }
        )

    async def _subscription(self, _: Request, key: Key) -> Response:
        month = _month(now())
        return enveloped(
            {
                "plan": key.plan,
                "status": "active",
                "currentPeriodStart": _instant(month.start),
                "currentPeriodEnd": _instant(month.end),
                "limits": {"pageviewsPerMonth": None, "websites": self._most_sites(key)},
            }
        )

    async def _usage(self, _: Request, key: Key) -> Response:
        month = _month(now())
        projects = await blocking(list_projects, self._held.database, key.account_id)
        used = 0
        for project in projects:
            answered = told(await self._held.analytics.ask(OverviewQuestion(Selection(project.id, month))))
            used += answered.total.pageviews
        return enveloped(
            {
                "currentPeriod": {"start": _instant(month.start), "end": _instant(month.end)},
                "pageviews": {"used": used, "limit": None, "percentage": usage_percentage(used, None)},
                "websites": {"used": len(projects), "limit": self._most_sites(key)},
            }
        )

    def _most_sites(self, key: Key) -> int | None:
        return self._held.database.quotas.get(key.plan, {}).get("sites")

    async def _websites(self, _: Request, key: Key) -> Response:
        projects = await blocking(list_projects, self._held.database, key.account_id)
        return enveloped([_website(project) for project in projects])

    async def _website(self, request: Request, key: Key) -> Response:
        return enveloped(_website(await self._project(request, key)))

    async def _main(self, request: Request, key: Key) -> Response:
        _, selection = await self._selected(request, key)
        total = told(await self._held.analytics.ask(OverviewQuestion(selection))).total
        return enveloped(
            {
                "uniqueVisitors": total.visitors,
                "totalPageviews": total.pageviews,
                "avgSessionDuration": total.avg_session_duration,
                "bounceRate": total.bounce_rate,
            }
        )

    async def _timeseries(self, request: Request, key: Key) -> Response:
        project, selection = await self._selected(request, key)
        try:
            days = tuple(buckets(selection.span, Interval.DAY, ZoneInfo(project.timezone)))
        except InvalidWindow as error:
            raise InvalidParameters(["from and to are too far apart"]) from error
        series = told(await self._held.analytics.ask(OverviewQuestion(selection, days))).series
        return enveloped(
            [
                {"date": day.label, "uniqueVisitors": figures.visitors, "totalPageviews": figures.pageviews}
                for day, figures in zip(days, series, strict=True)
            ]
        )

    async def _list(self, request: Request, key: Key) -> Response:
        _, selection = await self._selected(request, key)
        if (dimension := _LISTS.get(request.path_params["list"])) is None:
            raise not_found()
        limit = clamped(request.query_params.get("limit"), 100, _MOST_ROWS)
        rows = told(await self._held.analytics.ask(BreakdownQuestion(selection, dimension, limit=limit))).rows
        return enveloped([{"name": row.value, "visitors": row.visitors, "pageviews": row.pageviews} for row in rows])

    async def _realtime(self, request: Request, key: Key) -> Response:
        project = await self._project(request, key)
        figures = self._held.live.figures(project.id, time.time_ns() // 1_000_000)
        return enveloped({"activeVisitors": figures.active_users["30s"]})

    async def _project(self, request: Request, key: Key) -> Project:
        project = await blocking(find_project, self._held.database, "website_id", request.path_params["id"])
        if project is None:
            raise not_found()
        if project.account_id != key.account_id or key.project_id not in (None, project.id):
            raise forbidden()
        in_zone(project.timezone)
        return project

    async def _selected(self, request: Request, key: Key) -> tuple[Project, Selection]:
        project = await self._project(request, key)
        return project, Selection(project.id, read_range(request.query_params, ZoneInfo(project.timezone), now()))


def usage_percentage(used: int, limit: int | None) -> float:
    """Used of a limit in percent with two decimals, 0 without a limit."""
    return round(100 * used / limit, 2) if limit else 0.0


def _website(project: Project) -> dict[str, Any]:
    return {
        "id": project.website_id,
        "name": project.name,
        "domain": project.domain,
        "createdAt": _instant(project.created_at),
    }


def _instant(instant: datetime) -> str:
    return format_millis(to_millis(instant))


def _month(at: datetime) -> TimeRange:
    start = datetime(at.year, at.month, 1, tzinfo=UTC)
    following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return TimeRange(start, following)


def _uuid_of(user_id: str) -> str:
    # Jetrack's ids of accounts are UUIDs; ours is made one, always the same.
    return str(uuid.UUID(bytes=hashlib.sha256(user_id.encode()).digest()[:16], version=4))
