"""Tells webhooks that far more visitors are there than in the hour before."""

import asyncio
import logging
from datetime import datetime, timedelta
from statistics import fmean
from typing import Final

from api.alerts.waiting import Hooks, waiting_for
from api.analytics.answering import Analytics
from api.errors import Problem
from schemas.figures import OverviewQuestion
from schemas.instants import from_millis, to_millis
from schemas.notices import Notice, notice_id
from schemas.selection import Selection
from schemas.windows import Bucket, TimeRange
from storage.errors import StorageError
from storage.meta.kept import KeptRepository
from storage.meta.outbox import Moved, tell, told_positions

logger = logging.getLogger(__name__)

EVENT: Final = "realtime.spike"
# The name of the positions, which are instants: when a project's last spike was told.
CHAIN: Final = "spikes"
WINDOW: Final = timedelta(minutes=5)
WINDOWS_BEFORE: Final = 12
SILENCE: Final = timedelta(hours=1)
_TIMES: Final = 3
_LEAST_VISITORS: Final = 10


def is_spike(visitors: int, before: list[int]) -> bool:
    """Ten visitors at least, and three times the mean of the windows before."""
    return visitors >= _LEAST_VISITORS and visitors >= _TIMES * fmean(before)


class Spikes:
    """For one event loop; whoever looks at alerts calls it once a minute."""

    def __init__(self, things: KeptRepository, analytics: Analytics) -> None:
        self._things = things
        self._metadata = things.metadata
        self._analytics = analytics

    async def step(self, now: datetime) -> None:
        """Look at every project whose webhooks wait for it. Raises StorageError."""
        by_project = await waiting_for(self._things, EVENT)
        if not by_project:
            return
        told = await asyncio.to_thread(told_positions, self._metadata, CHAIN)
        for project, hooks in by_project.items():
            stood = told.get(project)
            if stood is None or now >= from_millis(stood) + SILENCE:
                await self._look(project, hooks, stood, now)

    async def _look(self, project: int, hooks: Hooks, stood: int | None, now: datetime) -> None:
        end = now.replace(second=0, microsecond=0)
        span = TimeRange(end - WINDOW * (WINDOWS_BEFORE + 1), end)
        buckets = tuple(
            Bucket(str(at), span.start + WINDOW * at, span.start + WINDOW * (at + 1))
            for at in range(WINDOWS_BEFORE + 1)
        )
        try:
            answered = await self._analytics.ask(OverviewQuestion(Selection(project, span), buckets))
        except (Problem, StorageError) as error:
            logger.warning("spikes are not looked for", extra={"project": project, "reason": str(error)})
            return
        *before, visitors = [figures.visitors for figures in answered.answer.series]
        if not is_spike(visitors, before):
            return
        data = {"goal_name": None, "visitor_count": visitors, "url": None, "source": None, "country": None}
        at = to_millis(end)
        notices = [Notice(notice_id(CHAIN, at, hook.id), hook.id, project, EVENT, end, data) for hook in hooks]
        try:
            await asyncio.to_thread(tell, self._metadata, CHAIN, {project: (stood, at)}, notices)
        except Moved:  # another process was faster
            logger.info("somebody else told of a spike", extra={"project": project})
