"""From kept goals and funnels to questions."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.conversions import funnel_question, goal_question, reached
from schemas.filters import AllOf, Condition, Operator, equals
from schemas.funnels import page_filter
from schemas.kept import Funnel, Goal, Step
from schemas.questions import InvalidQuestion
from schemas.selection import Selection
from schemas.windows import TimeRange

ASKED = Selection(1, TimeRange(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)))
PAID = Goal(name="Paid", type="event", event="order", event_category="shop", event_label="pro")


def test_event_with_category_and_label() -> None:
    assert reached(PAID) == AllOf(
        (
            equals("event", "order"),
            Condition("properties.category", Operator.EQ, "shop"),
            Condition("properties.label", Operator.EQ, "pro"),
        )
    )


def test_goals() -> None:
    page = Goal(name="G", type="pageview", path="/a", match_type="contains", value=2)
    assert goal_question(page, ASKED).reached == page_filter("/a", "contains")
    assert goal_question(page, ASKED).value == 2
    stay = goal_question(Goal(name="G", type="duration", duration_seconds=30), ASKED)
    assert (stay.reached, stay.seconds) == (None, 30)


def test_funnel_steps_by_way_of_goals() -> None:
    steps = (Step(type="goal", name="Paid", goal_id="goal_1"), Step(type="event", name="b", event="b"))
    funnel = Funnel(name="F", steps=steps, window_seconds=60)
    question = funnel_question(funnel, {"goal_1": PAID}, ASKED)
    assert [step.filters for step in question.steps] == [reached(PAID), AllOf((equals("event", "b"),))]
    assert question.window == timedelta(minutes=1)
    with pytest.raises(InvalidQuestion, match="Invalid field: steps"):
        funnel_question(funnel, {}, ASKED)
    with pytest.raises(InvalidQuestion, match="Invalid field: steps"):
        funnel_question(funnel, {"goal_1": Goal(name="G", type="duration", duration_seconds=3)}, ASKED)
