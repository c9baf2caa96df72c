"""A lake and an engine over it, closed together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from schemas.selection import Selection
from schemas.series import Measure, Metric, SeriesAnswer, SeriesQuestion
from schemas.windows import Interval, TimeRange, buckets, parse_range
from storage.lake.place import Place
from storage.query.engine import Cursor, EnginePolicy, QueryEngine
from storage.query.lake import Lake
from storage.query.planner import Plan, plan
from storage.query.series import answer_series

T = TypeVar("T")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Asker:
    """Asks in the engine's thread and waits."""

    def __init__(self, engine: QueryEngine, lake: Lake) -> None:
        self._engine = engine
        self.lake = lake

    def __call__(self, question: Callable[[Cursor, Lake], T]) -> T:
        return self._engine.submit(lambda cursor: question(cursor, self.lake)).result()

    def series(self, question: SeriesQuestion, planned: Plan | None = None) -> SeriesAnswer:
        """A metric as planned, by default as the planner would."""
        return self(lambda cursor, lake: answer_series(cursor, lake, question, {}, planned or plan(question)))


@contextmanager
def asking(place: Place) -> Iterator[Asker]:
    """An asker that is always as fresh as the last commit."""
    with QueryEngine(place, EnginePolicy(threads=1)) as engine:
        yield Asker(engine, Lake(place, max_age_seconds=0))


def span_of(start: str, end: str, zone: str = "UTC") -> TimeRange:
    """The range of two parameters."""
    return parse_range(start, end, ZoneInfo(zone), NOW, timedelta(days=7))


def series_question(
    metric: Metric, span: TimeRange, interval: Interval = Interval.DAY, zone: str = "UTC", *, is_exact: bool = False
) -> SeriesQuestion:
    """A question about project 1."""
    points = tuple(buckets(span, interval, ZoneInfo(zone)))
    return SeriesQuestion(Selection(1, span), Measure(metric), points, is_exact=is_exact)


def values_of(question: SeriesQuestion, answer: SeriesAnswer) -> dict[str, float]:
    """The one series by the labels of its buckets, without zeros."""
    [series] = answer.series
    return {
        bucket.label: value
        for bucket, value in zip(question.buckets, series.data, strict=True)
        if value is not None and value
    }
