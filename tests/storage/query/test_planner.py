"""Which table answers what, as a table."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from schemas.filters import EVERYTHING, Filter, equals
from schemas.selection import Selection
from schemas.series import Measure, Metric, SeriesQuestion
from schemas.windows import Interval, TimeRange, buckets
from storage.query.planner import Plan, plan, without_rollups

_COUNT, _PEOPLE, _SESSIONS, _VIEWS = (
    Metric.EVENTS_COUNT,
    Metric.UNIQUE_USERS,
    Metric.SESSIONS,
    Metric.PAGEVIEWS,
)
DAY = datetime(2026, 2, 15, tzinfo=UTC)


def _at(hours: float) -> datetime:
    return DAY + timedelta(hours=hours)


def _question(
    metric: Metric,
    start: float,
    end: float,
    interval: Interval = Interval.DAY,
    zone: str = "UTC",
    is_exact: bool = False,
    includes_bots: bool = False,
    filters: Filter = EVERYTHING,
    dimension: str | None = None,
) -> SeriesQuestion:
    span = TimeRange(_at(start), _at(end))
    points = tuple(buckets(span, interval, ZoneInfo(zone)))
    return SeriesQuestion(
        Selection(1, span, filters, includes_bots), Measure(metric), points, dimension, is_exact=is_exact
    )


@pytest.mark.parametrize(
    ("question", "rollups", "events"),
    [
        # whole hours need no events, whatever the metric that rollups have
        (_question(_COUNT, 0, 48), (0, 48), []),
        (_question(_VIEWS, 0, 48), (0, 48), []),
        (_question(_PEOPLE, 0, 48), (0, 48), []),
        (_question(_COUNT, 3, 5, Interval.HOUR), (3, 5), []),
        # partial hours at either end come from events
        (_question(_COUNT, 0.5, 48), (1, 48), [(0.5, 1)]),
        (_question(_COUNT, 0, 47.25), (0, 47), [(47, 47.25)]),
        (_question(_PEOPLE, 0.5, 47.25), (1, 47), [(0.5, 1), (47, 47.25)]),
        # no whole hour inside
        (_question(_COUNT, 0.25, 0.75), None, [(0.25, 0.75)]),
        (_question(_COUNT, 0.5, 1.5), None, [(0.5, 1.5)]),
        (_question(_COUNT, 2, 2), None, [(2, 2)]),
        # zones whose days begin on a UTC hour, and one whose days do not
        (_question(_COUNT, 0, 48, zone="America/New_York"), (0, 48), []),
        (_question(_COUNT, 0, 48, zone="Asia/Kolkata"), None, [(0, 48)]),
        (_question(_COUNT, 0, 48, Interval.MONTH, zone="Asia/Kolkata"), (0, 48), []),
        # rollups hold no sessions, no bots, no exact people
        (_question(_SESSIONS, 0, 48), None, [(0, 48)]),
        (_question(_COUNT, 0, 48, includes_bots=True), None, [(0, 48)]),
        (_question(_PEOPLE, 0, 48, is_exact=True), None, [(0, 48)]),
        (_question(_COUNT, 0, 48, is_exact=True), (0, 48), []),
        # they know events by name, and nothing else of them
        (_question(_PEOPLE, 0, 48, filters=equals("event", "click")), (0, 48), []),
        (_question(_COUNT, 0, 48, filters=equals("event", 1)), None, [(0, 48)]),
        (_question(_COUNT, 0, 48, filters=equals("path", "/")), None, [(0, 48)]),
        (_question(_COUNT, 0, 48, dimension="path"), None, [(0, 48)]),
        (_question(Metric.SUM, 0, 48), None, [(0, 48)]),
    ],
)
def test_plan(question: SeriesQuestion, rollups: tuple[float, float] | None, events: list[tuple[float, float]]) -> None:
    expected = None if rollups is None else TimeRange(_at(rollups[0]), _at(rollups[1]))
    assert plan(question) == Plan(expected, tuple(TimeRange(_at(start), _at(end)) for start, end in events))


def test_plan_is_named_by_its_tables() -> None:
    assert plan(_question(_COUNT, 0, 48)).name == "rollups"
    assert plan(_question(_COUNT, 0.5, 48)).name == "rollups+events"
    assert without_rollups(_question(_COUNT, 0, 48)).name == "events"
