"""Tells webhooks of sessions that are over, and of goals that such a session reached by its length."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import to_builtins

from api.analytics.answering import Analytics
from api.errors import Problem
from schemas.instants import from_millis, parse_instant, to_millis
from schemas.kept import Goal, Webhook
from schemas.notices import Notice, goal_data, notice_id
from schemas.selection import Selection
from schemas.sessions import SessionItem, SessionsQuestion
from schemas.windows import TimeRange
from storage.errors import StorageError
from storage.meta.kept import Kept, KeptRepository
from storage.meta.outbox import Moved, tell, told_positions

logger = logging.getLogger(__name__)

# The name of the positions, which are instants: up to where a project's sessions were told.
CHAIN: Final = "sessions"
# Silent for so long, nobody comes back to a session; a minute more for what is still on its way.
SILENCE: Final = timedelta(minutes=31)
_LONGEST: Final = timedelta(hours=24)
_PAGE: Final = 1000
_MOST_PAGES: Final = 50
_GOAL_EVENTS: Final = ("goal", "goal.completed")


class Closing:
    """For one event loop; whoever looks at alerts calls it once a minute."""

    def __init__(self, things: KeptRepository, analytics: Analytics) -> None:
        self._things = things
        self._metadata = things.metadata
        self._analytics = analytics

    async def step(self, now: datetime) -> None:
        """Put into the outbox what ended since the last time. Raises StorageError."""
        hooks = await asyncio.to_thread(self._things.everywhere, Webhook)
        if not any(hook.body.active for hook in hooks):
            return
        goals = [
            goal
            for goal in await asyncio.to_thread(self._things.everywhere, Goal)
            if goal.body.type == "duration" and goal.body.duration_seconds is not None
        ]
        told = await asyncio.to_thread(told_positions, self._metadata, CHAIN)
        for project in sorted({hook.project_id for hook in hooks}):
            mine = [goal for goal in goals if goal.project_id == project]
            waiting = [hook for hook in hooks if hook.project_id == project and _waits(hook.body, mine)]
            if waiting:
                await self._tell(project, waiting, mine, told.get(project), now)

    async def _tell(
        self, project: int, hooks: list[Kept[Webhook]], goals: list[Kept[Goal]], stood: int | None, now: datetime
    ) -> None:
        first = min(map(_since, hooks)) if stood is None else from_millis(stood)
        start = max(first, now - _LONGEST)
        try:
            sessions, complete = await self._sessions(project, TimeRange(start - _LONGEST, now), now)
        except (Problem, StorageError) as error:
            logger.warning("sessions are not told", extra={"project": project, "reason": str(error)})
            return
        end = complete - SILENCE
        if end <= start:
            return
        over = sorted((_ended(one), one.id, one) for one in sessions if start <= _ended(one) < end)
        notices = [notice for at, _, one in over for notice in _notices(project, hooks, goals, one, at)]
        try:
            await asyncio.to_thread(tell, self._metadata, CHAIN, {project: (stood, to_millis(end))}, notices)
        except Moved:  # another process was faster
            logger.info("somebody else told of sessions", extra={"project": project})

    async def _sessions(self, project: int, span: TimeRange, now: datetime) -> tuple[list[SessionItem], datetime]:
        """Those that began in a range, and up to when all that happened is known."""
        found: list[SessionItem] = []
        question = SessionsQuestion(Selection(project, span), _PAGE)
        complete = now
        for _ in range(_MOST_PAGES):
            answered = await self._analytics.ask(question)
            if answered.watermark:
                complete = min(complete, from_millis(answered.watermark))
            found += answered.answer.items
            if answered.answer.next is None:
                break
            question = SessionsQuestion(question.selection, _PAGE, answered.answer.next)
        return found, complete


def _waits(hook: Webhook, goals: Iterable[Kept[Goal]]) -> bool:
    by_length = any(True for _ in goals) and any(event in _GOAL_EVENTS for event in hook.events)
    return hook.active and ("session_end" in hook.events or by_length)


def _since(hook: Kept[Webhook]) -> datetime:
    return hook.body.active_since or hook.created_at


def _ended(session: SessionItem) -> datetime:
    return from_millis(parse_instant(session.ended_at))


def _notices(
    project: int, hooks: Iterable[Kept[Webhook]], goals: Iterable[Kept[Goal]], session: SessionItem, ended: datetime
) -> list[Notice]:
    found: list[Notice] = []
    at = ended + SILENCE
    for hook in hooks:
        if ended < _since(hook):
            continue
        for event in hook.body.events:
            if event == "session_end":
                name = notice_id(CHAIN, project, session.id, session.ended_at, hook.id)
                found.append(Notice(name, hook.id, project, event, at, _told(session)))
            elif event in _GOAL_EVENTS:
                found += [
                    Notice(
                        notice_id(CHAIN, project, session.id, session.ended_at, hook.id, goal.id),
                        hook.id,
                        project,
                        event,
                        at,
                        goal_data(
                            hook.body.format, goal.id, goal.body, path=session.entry_path, country=session.country
                        ),
                    )
                    for goal in goals
                    if ended >= goal.created_at and session.duration_seconds >= (goal.body.duration_seconds or 0)
                ]
    return found


def _told(session: SessionItem) -> dict[str, object]:
    """A session as the lists show it; nothing in it says who it was."""
    shown: Mapping[str, object] = to_builtins(session)
    return {name: value for name, value in shown.items() if name not in ("userId", "sessionId")}
