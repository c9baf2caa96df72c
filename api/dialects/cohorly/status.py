"""Cohorly's public status: how the service is now, and how it was on each of the last days."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.auth.acting import blocking
from api.dialects.cohorly.envelope import bare
from api.dialects.requests import clamped
from api.errors import Problem
from api.services import Services
from schemas.instants import to_millis
from storage.meta.checks import checked_days, latest_check

_MOST_DAYS = 90


class Status:
    """`/status` and `/status/history`, without authentication."""

    def __init__(self, held: Services, clock: Callable[[], float] = time.monotonic) -> None:
        self._held = held
        self._clock = clock
        self._started = clock()

    def routes(self) -> list[Route]:
        return [
            Route("/status", self._status, methods=["GET"]),
            Route("/status/history", self._history, methods=["GET"]),
        ]

    async def _status(self, _: Request) -> Response:
        reasons = await self._held.readiness.reasons()
        try:
            latest = await blocking(latest_check, self._held.database)
            is_database_up = True
        except Problem:
            latest, is_database_up = None, False
        return bare(
            {
                "ok": is_database_up and not reasons,
                "db": is_database_up,
                "uptime_seconds": int(self._clock() - self._started),
                "latest": None
                if latest is None
                else {"checked_at": to_millis(latest.at), "ok": latest.is_ok, "latency_ms": latest.latency_ms},
            }
        )

    async def _history(self, request: Request) -> Response:
        days = clamped(request.query_params.get("days"), _MOST_DAYS, _MOST_DAYS)
        found = await blocking(checked_days, self._held.database, days, datetime.now(UTC))
        return bare(
            [
                {
                    "date": day.day.isoformat(),
                    "total": day.total,
                    "ok_count": day.ok,
                    "uptime_pct": day.uptime_percent,
                    "avg_latency_ms": round(day.mean_latency_ms, 1),
                }
                for day in found
            ]
        )
