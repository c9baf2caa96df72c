"""Tells webhooks that an account has sent so much of the events that its plan holds for the month."""

import asyncio
import logging
from datetime import datetime
from typing import Final

from api.alerts.waiting import Hooks, waiting_for
from api.analytics.answering import Analytics
from api.analytics.totals import month_of, together
from api.errors import Problem
from schemas.instants import to_millis
from schemas.notices import Notice, notice_id
from schemas.quotas import EVENTS
from schemas.series import Metric
from storage.errors import StorageError
from storage.meta.kept import KeptRepository
from storage.meta.outbox import Moved, tell, told_positions
from storage.meta.projects import list_projects, plan_of

logger = logging.getLogger(__name__)

EVENT: Final = "usage.threshold"
# The name of the positions: the month's first instant and the percentage that was told of it.
CHAIN: Final = "usage"
THRESHOLDS: Final = (100, 80)


class Usage:
    """For one event loop; whoever looks at alerts calls it once a minute."""

    def __init__(self, things: KeptRepository, analytics: Analytics) -> None:
        self._things = things
        self._metadata = things.metadata
        self._analytics = analytics

    async def step(self, now: datetime) -> None:
        """Look at the account of every project whose webhooks wait for it. Raises StorageError."""
        if not any(EVENTS in most for most in self._metadata.quotas.values()):
            return
        by_project = await waiting_for(self._things, EVENT)
        if not by_project:
            return
        told = await asyncio.to_thread(told_positions, self._metadata, CHAIN)
        month = to_millis(month_of(now).start)
        for project, hooks in by_project.items():
            stood = told.get(project)
            if stood is None or stood < month + THRESHOLDS[0]:
                await self._look(project, hooks, stood, now)

    async def _look(self, project: int, hooks: Hooks, stood: int | None, now: datetime) -> None:
        found = await asyncio.to_thread(plan_of, self._metadata, project)
        if found is None or (most := self._metadata.quotas.get(found[1], {}).get(EVENTS)) is None:
            return
        numbers = [one.id for one in await asyncio.to_thread(list_projects, self._metadata, found[0])]
        month = month_of(now)
        try:
            used = await together(self._analytics, numbers, Metric.EVENTS_COUNT, month)
        except (Problem, StorageError) as error:
            logger.warning("usage is not looked at", extra={"project": project, "reason": str(error)})
            return
        reached = next((percent for percent in THRESHOLDS if used * 100 >= most * percent), None)
        if reached is None:
            return
        at = to_millis(month.start) + reached
        if stood is not None and at <= stood:
            return
        data = {"threshold": reached, "used": used, "limit": most}
        notices = [Notice(notice_id(CHAIN, at, hook.id), hook.id, project, EVENT, now, data) for hook in hooks]
        try:
            await asyncio.to_thread(tell, self._metadata, CHAIN, {project: (stood, at)}, notices)
        except Moved:  # another process was faster
            logger.info("somebody else told of usage", extra={"project": project})
