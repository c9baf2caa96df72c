"""From what is kept to what is asked: which events reach a goal or take a step, and the questions about them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from schemas.filters import EVERYTHING, AllOf, Condition, Filter, Operator, both, equals, filter_of
from schemas.funnels import FunnelQuestion, page_filter
from schemas.funnels import Step as AskedStep
from schemas.goals import GoalQuestion
from schemas.kept import Funnel, Goal, Step
from schemas.questions import InvalidQuestion
from schemas.selection import Selection
from schemas.windows import Bucket


def filter_kept(filters: Any) -> Filter:
    """The filter of a kept thing's `filters`; raises InvalidQuestion."""
    return EVERYTHING if filters is None else filter_of(filters)


def reached(thing: Goal | Step) -> Filter | None:
    """The events that reach a goal or take a step; None for a goal that takes time, and for a step that is a goal."""
    if thing.type == "pageview":
        return both(page_filter(thing.path or "", thing.match_type), filter_kept(thing.filters))
    if thing.type != "event":
        return None
    parts: list[Condition] = [equals("event", thing.event or "")]
    for key, value in (("category", thing.event_category), ("label", thing.event_label)):
        if value is not None:
            parts.append(Condition(f"properties.{key}", Operator.EQ, value))
    return both(AllOf(tuple(parts)), filter_kept(thing.filters))


def goal_question(goal: Goal, selection: Selection, buckets: tuple[Bucket, ...] = ()) -> GoalQuestion:
    """How often, by whom and from where a goal was reached."""
    seconds = goal.duration_seconds if goal.type == "duration" else None
    return GoalQuestion(selection, reached(goal), seconds, goal.value, buckets)


def funnel_question(
    funnel: Funnel, goals: Mapping[str, Goal], selection: Selection, buckets: tuple[Bucket, ...] = ()
) -> FunnelQuestion:
    """How many went through a funnel; `goals` are those that its steps name. Raises InvalidQuestion without them."""
    steps = tuple(AskedStep(step.name, _taken(step, goals)) for step in funnel.steps)
    return FunnelQuestion(selection, steps, timedelta(seconds=funnel.window_seconds), buckets=buckets)


def _taken(step: Step, goals: Mapping[str, Goal]) -> Filter:
    goal = goals.get(step.goal_id or "")
    found = reached(step) if step.type != "goal" else reached(goal) if goal is not None else None
    if found is None:
        raise InvalidQuestion("Invalid field: steps")
    return found if step.type != "goal" else both(found, filter_kept(step.filters))
