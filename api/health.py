"""Whether this process is alive, and whether the system is ready; Prometheus' page."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from api.shapes import content
from storage.lake.place import Place

# What is wrong, one line a reason; empty if nothing is.
Check = Callable[[], Awaitable[list[str]]]

# Balancers and `up` ask often; a look at the log and the disk this old is fresh enough.
_FRESH_SECONDS = 1.0
_PATIENCE_SECONDS = 3.0


class Readiness:
    """The checks behind /health/ready. Not ready while stopping."""

    def __init__(self) -> None:
        self._checks: list[Check] = []
        self._reasons: list[str] = ["starting"]
        self._asked = float("-inf")
        self._lock = asyncio.Lock()
        self.is_stopping = False

    def add(self, check: Check) -> None:
        """Make readiness depend on one more check."""
        self._checks.append(check)

    async def reasons(self) -> list[str]:
        """Why the system is not ready; empty if it is."""
        async with self._lock:
            if time.monotonic() - self._asked > _FRESH_SECONDS:
                found = await asyncio.gather(*(check() for check in self._checks))
                self._reasons = [reason for reasons in found for reason in reasons]
                self._asked = time.monotonic()
        return ["stopping", *self._reasons] if self.is_stopping else self._reasons


def lake_check(lake: Place) -> Check:
    """A file can be made where the lake is."""

    def attempt() -> list[str]:
        try:
            if isinstance(lake, Path):
                with tempfile.TemporaryFile(dir=lake) as file:
                    file.write(b"\0")
            else:
                # One name for all: a prefix that is written over and over gathers nothing.
                (lake / "_ready").write_bytes(b"\0")
        except OSError as error:
            return [f"lake is not writable: {error.strerror or error}"]
        return []

    pending: asyncio.Future[list[str]] | None = None

    async def check() -> list[str]:
        # One attempt at a time: a disk or a store that hangs must not take a thread a look.
        nonlocal pending
        mine = pending = pending or asyncio.ensure_future(asyncio.to_thread(attempt))
        done, _ = await asyncio.wait((mine,), timeout=_PATIENCE_SECONDS)
        if not done:
            return ["lake does not answer"]
        if pending is mine:  # else somebody who waited for the same attempt was first
            pending = None
        return mine.result()

    return check


def health_router(readiness: Readiness) -> APIRouter:
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", responses={200: content({"status": "live"})})
    async def live() -> dict[str, str]:
        return {"status": "live"}

    unready = {"description": "Not ready", **content({"status": "unready", "reasons": ["starting"]})}
    ready_example: dict[str, list[str] | str] = {"status": "ready", "reasons": []}

    @router.get("/ready", responses={200: content(ready_example), 503: unready})
    async def ready() -> JSONResponse:
        reasons = await readiness.reasons()
        if reasons:
            return JSONResponse({"status": "unready", "reasons": reasons}, 503)
        return JSONResponse({"status": "ready", "reasons": []})

    return router


def metrics_registry() -> CollectorRegistry:
    """All processes of the host where they share a directory, else this one."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library leaves it unannotated
    return registry


async def metrics_page(_: Request) -> Response:
    page = await asyncio.to_thread(generate_latest, metrics_registry())
    return Response(page, media_type=CONTENT_TYPE_LATEST)
