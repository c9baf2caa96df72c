"""What a widget asks, and its answer in the form it is drawn from."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from api.analytics.answering import Analytics, Answered, AsOf
from api.analytics.asking import Asked
from api.analytics.bodies import (
    breakdown_question,
    funnel_question,
    overview_question,
    retention_question,
    series_question,
    text_in,
)
from schemas.answers import EXACT, Accuracy
from schemas.conversions import funnel_question as kept_funnel_question
from schemas.conversions import goal_question, reached
from schemas.figures import BreakdownQuestion, Figures, OverviewQuestion, change_percent
from schemas.filters import Filter
from schemas.funnels import FunnelQuestion
from schemas.goals import GoalQuestion
from schemas.kept import WIDGET_QUESTIONS, Funnel, Goal, Widget
from schemas.questions import InvalidQuestion
from schemas.retention import RetentionQuestion
from schemas.series import SeriesQuestion

Data: TypeAlias = dict[str, Any]
Question: TypeAlias = (
    OverviewQuestion | BreakdownQuestion | SeriesQuestion | FunnelQuestion | RetentionQuestion | GoalQuestion
)

_METRICS: Final = frozenset(Figures.__struct_encode_fields__)
_DEFAULT_METRIC: Final = "visitors"


class Shelf(Protocol):
    """Where a widget finds what it names; may block."""

    def goal(self, goal_id: str) -> Goal | None:
        """A goal of the project."""

    def funnel(self, funnel_id: str) -> tuple[Funnel, Mapping[str, Goal]] | None:
        """A funnel of the project, and the goals its steps name."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The data of a widget, what was asked, and how it was made."""

    asked: Asked
    data: Data
    answered: Answered[Any]
    accuracy: Accuracy


async def draw(analytics: Analytics, asked: Asked, widget: Widget, shelf: Shelf, at: AsOf | None) -> Drawn:
    """Ask what the widget asks; raises InvalidQuestion, InvalidWindow and what `Analytics.ask` does."""
    # Thousands of buckets take a while to count out, and what is kept is read from the database.
    question = await asyncio.to_thread(question_of, asked, widget, shelf)
    answered: Answered[Any] = await analytics.ask(question, at)
    data = _data(widget, question, answered.answer)
    if isinstance(question, OverviewQuestion) and (earlier := asked.compared) is not None:
        before = await analytics.ask(replace(question, selection=earlier, buckets=()), at)
        data["before"] = _figure(before.answer.total, data["metric"])
        data["change"] = change_percent(data["before"], data["value"])
    return Drawn(asked, data, answered, getattr(answered.answer, "accuracy", EXACT))


def question_of(asked: Asked, widget: Widget, shelf: Shelf) -> Question:
    """The question of a widget. Blocks; raises InvalidQuestion or InvalidWindow."""
    query = widget.query
    match query.get("question", WIDGET_QUESTIONS[widget.type]):
        case "overview":
            _metric(query)
            whole = overview_question(asked, query)
            return replace(whole, buckets=()) if widget.type == "number" else whole
        case "breakdown":
            return breakdown_question(asked, query)
        case "series":
            return series_question(asked, query)
        case "retention":
            return retention_question(asked, query)
        case "goal":
            goal = shelf.goal(text_in(query, "goalId") or "")
            if goal is None:
                raise InvalidQuestion("Invalid field: goalId")
            return goal_question(goal, asked.selection, overview_question(asked, query).buckets)
    funnel_id = text_in(query, "funnelId")
    if funnel_id is None:
        return funnel_question(asked, query, lambda goal_id: _events_of(shelf.goal(goal_id)))
    found = shelf.funnel(funnel_id)
    if found is None:
        raise InvalidQuestion("Invalid field: funnelId")
    return kept_funnel_question(*found, asked.selection)


def _events_of(goal: Goal | None) -> Filter:
    found = None if goal is None else reached(goal)
    if found is None:
        raise InvalidQuestion("Invalid field: goalId")
    return found


def _data(widget: Widget, question: Question, answer: Any) -> Data:
    match question:
        case OverviewQuestion():
            metric = _metric(widget.query)
            points = [
                {"date": bucket.label, "value": _figure(figures, metric)}
                for bucket, figures in zip(question.buckets, answer.series, strict=True)
            ]
            return {"metric": metric, "value": _figure(answer.total, metric), "timeseries": points}
        case BreakdownQuestion():
            return {"dimension": question.dimension, "rows": answer.rows, "total": answer.total}
        case SeriesQuestion():
            return {"buckets": [bucket.label for bucket in question.buckets], "series": answer.series}
        case FunnelQuestion():
            return {"steps": answer.steps, "meanSeconds": answer.mean_seconds}
        case RetentionQuestion():
            return {"cohorts": answer.cohorts}
        case GoalQuestion():
            total = answer.total
            points = [{"date": point.name, "value": point.completions} for point in answer.series]
            return {"value": total.completions, "conversionRate": total.rate, "timeseries": points}


def _metric(query: Mapping[str, Any]) -> str:
    name = text_in(query, "metric") or _DEFAULT_METRIC
    if name not in _METRICS:
        raise InvalidQuestion("Invalid field: metric")
    return name


def _figure(figures: Figures, metric: str) -> float:
    value: float = msgspec.to_builtins(figures)[metric]
    return value
