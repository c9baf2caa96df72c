"""`/status` of the native surface: how the service is now and was on each of the last days; for everybody."""

import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response

from api.auth.acting import blocking
from api.dependencies import Text, json_answer
from api.errors import Problem
from api.routes.kept import add_route
from api.services import Services
from api.shapes import content
from schemas.instants import format_millis, to_millis
from schemas.live import PartitionStatus
from storage.meta.checks import Check, checked_days, latest_check

_MOST_DAYS = 90
_STATUS = {
    "ok": True,
    "version": "0.1.0",
    "uptimeSeconds": 86400,
    "log": "ok",
    "lake": "ok",
    "workers": 1,
    "lagSeconds": 0,
    "latest": {"checkedAt": "2026-02-22T10:30:00.142Z", "ok": True, "latencyMs": 1.2},
}
_DAY = {"date": "2026-02-22", "total": 1440, "okCount": 1440, "uptimePct": 100.0, "avgLatencyMs": 1.2}


def create_router(held: Services) -> APIRouter:
    """The routes; paths are below the prefix of the surface."""
    router = APIRouter(tags=["status"])
    started = time.monotonic()

    async def status(request: Request) -> Response:
        reasons = await held.readiness.reasons()
        statuses = held.live.statuses()
        now = time.time_ns() // 1_000_000
        try:
            latest = None if held.metadata is None else await blocking(latest_check, held.metadata)
        except Problem:
            latest, reasons = None, [*reasons, "the metadata database does not answer"]
        body = {
            "ok": not reasons,
            "version": version("streamgauge"),
            "uptimeSeconds": int(time.monotonic() - started),
            "log": held.door.refusal or "ok",
            "lake": next((reason for reason in reasons if "lake" in reason), "ok"),
            "workers": len({one.worker for one in statuses}),
            "lagSeconds": max((_lag_seconds(one, now) for one in statuses), default=0),
            "latest": None if latest is None else _told(latest),
        }
        return json_answer(request, body, {})

    async def history(request: Request, days: Text = None) -> Response:
        number = int(days) if days is not None and days.removeprefix("-").isdecimal() and len(days) < 9 else _MOST_DAYS
        most = min(max(number, 1), _MOST_DAYS)
        found = [] if held.metadata is None else await blocking(checked_days, held.metadata, most, datetime.now(UTC))
        told: list[dict[str, Any]] = [
            {
                "date": day.day.isoformat(),
                "total": day.total,
                "okCount": day.ok,
                "uptimePct": day.uptime_percent,
                "avgLatencyMs": round(day.mean_latency_ms, 1),
            }
            for day in found
        ]
        return json_answer(request, {"data": told}, {})

    told = content(_STATUS, nullable={"latest"})
    add_route(router, "GET", "/status", status, "How the service is now.", tells=told, is_open=True)
    told, said = content({"data": [_DAY]}), "Uptime by day, `days` from 1 to 90."
    add_route(router, "GET", "/status/history", history, said, tells=told, is_open=True)
    return router


def _lag_seconds(status: PartitionStatus, now: int) -> int:
    """Since the last record that is in the lake, where it is not the log's last."""
    return 0 if status.durable >= status.end else max(now - status.last_timestamp, 0) // 1000


def _told(check: Check) -> dict[str, Any]:
    return {"checkedAt": format_millis(to_millis(check.at)), "ok": check.is_ok, "latencyMs": check.latency_ms}
