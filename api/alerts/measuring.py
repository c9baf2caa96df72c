"""The figure that an alert is about, asked as anybody would ask it."""

import asyncio
from datetime import datetime, timedelta
from typing import Final

from api.analytics.answering import Analytics
from schemas.conversions import funnel_question, goal_question, reached
from schemas.figures import Figures, OverviewQuestion
from schemas.filters import AnyOf
from schemas.goals import GoalAnswer, GoalQuestion
from schemas.instants import to_millis
from schemas.kept import Funnel, Goal, alert_target
from schemas.selection import Selection
from schemas.windows import TimeRange
from storage.meta.kept import KeptRepository

# Behind by more, a figure would be of what the workers did, and not of what happened.
_MOST_BEHIND: Final = timedelta(minutes=5)


class Stale(Exception):
    """The lake is behind: what it says of the last minutes is not all."""


class Meter:
    """Figures of projects; raises what the analytics raise."""

    def __init__(self, things: KeptRepository, analytics: Analytics) -> None:
        self._things = things
        self._analytics = analytics

    async def read(self, project: int, metric: str, span: TimeRange, now: datetime) -> float | None:
        """The figure of a range; None where what it is about is gone. Raises Stale."""
        target = alert_target(metric)
        selection = Selection(project, span)
        if target is None:
            return await self._of_project(metric, selection, now)
        kind, thing_id = target
        if kind == "funnel":
            return await self._of_funnel(thing_id, selection, now)
        goal = await asyncio.to_thread(self._things.get, Goal, project, thing_id)
        if goal is None:
            return None
        found = await self._goal(goal_question(goal.body, selection), now)
        return found.total.completions if metric.endswith(".completions") else found.total.rate

    async def _of_project(self, metric: str, selection: Selection, now: datetime) -> float | None:
        if metric == "conversionRate":
            return await self._conversions(selection, now)
        answered = await self._analytics.ask(OverviewQuestion(selection))
        _refuse_stale(answered.watermark, now)
        return _figure(metric, answered.answer.total)

    async def _conversions(self, selection: Selection, now: datetime) -> float:
        """Visitors who reached any goal, in percent of all."""
        goals = await asyncio.to_thread(self._things.all, Goal, selection.project)
        any_goal = AnyOf(tuple(wanted for goal in goals if (wanted := reached(goal.body)) is not None))
        found = await self._goal(GoalQuestion(selection, any_goal), now)
        return found.total.people_rate

    async def _of_funnel(self, thing_id: str, selection: Selection, now: datetime) -> float | None:
        funnel = await asyncio.to_thread(self._things.get, Funnel, selection.project, thing_id)
        if funnel is None:
            return None
        goals = await asyncio.to_thread(self._things.get_many, Goal, selection.project, funnel.body.goal_ids)
        answered = await self._analytics.ask(funnel_question(funnel.body, goals, selection))
        _refuse_stale(answered.watermark, now)
        return answered.answer.steps[-1].from_start

    async def _goal(self, question: GoalQuestion, now: datetime) -> GoalAnswer:
        answered = await self._analytics.ask(question)
        _refuse_stale(answered.watermark, now)
        return answered.answer


def _refuse_stale(watermark: int, now: datetime) -> None:
    if watermark and watermark < to_millis(now - _MOST_BEHIND):
        raise Stale


def _figure(metric: str, figures: Figures) -> float:
    match metric:
        case "pageviews":
            return figures.pageviews
        case "uniqueVisitors":
            return figures.visitors
        case "sessions":
            return figures.sessions
        case "bounceRate":
            return figures.bounce_rate
        case _:
            return figures.avg_session_duration
