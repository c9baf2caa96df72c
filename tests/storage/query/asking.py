"""A lake and an engine over it, closed together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from schemas.answers import MetricAnswer
from schemas.questions import MetricKind, MetricQuestion
from schemas.windows import Interval, TimeRange, buckets, parse_range
from storage.lake.place import Place
from storage.query.engine import Cursor, EnginePolicy, QueryEngine
from storage.query.lake import Lake
from storage.query.planner import Plan, plan
from storage.query.series import answer_metric

T = TypeVar("T")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Asker:
    """Asks in the engine's thread and waits."""

    def __init__(self, engine: QueryEngine, lake: Lake) -> None:
        self._engine = engine
        self.lake = lake

    def __call__(self, question: Callable[[Cursor, Lake], T]) -> T:
        return self._engine.submit(lambda cursor: question(cursor, self.lake)).result()

    def metric(self, question: MetricQuestion, planned: Plan | None = None) -> MetricAnswer:
        """A metric as planned, by default as the planner would."""
        return self(lambda cursor, lake: answer_metric(cursor, lake, question, planned or plan(question)))


@contextmanager
def asking(place: Place) -> Iterator[Asker]:
    """An asker that is always as fresh as the last commit."""
    with QueryEngine(place, EnginePolicy(threads=1)) as engine:
        yield Asker(engine, Lake(place, max_age_seconds=0))


def span_of(start: str, end: str, zone: str = "UTC") -> TimeRange:
    """The range of two parameters."""
    return parse_range(start, end, ZoneInfo(zone), NOW, timedelta(days=7))


def metric_question(
    metric: MetricKind, span: TimeRange, interval: Interval = Interval.DAY, zone: str = "UTC", *, is_exact: bool = False
) -> MetricQuestion:
    """A question about project 1."""
    return MetricQuestion(1, metric, interval, zone, tuple(buckets(span, interval, ZoneInfo(zone))), is_exact)
