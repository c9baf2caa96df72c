"""Which table answers which part of a range: the coarsest that gives the right number. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from schemas.filters import EVERYTHING, Condition, Filter, Operator
from schemas.series import Metric, SeriesQuestion
from schemas.windows import TimeRange

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """Parts that together are the range: at most one from rollups, the rest from events."""

    rollups: TimeRange | None
    events: tuple[TimeRange, ...]

    @property
    def name(self) -> Literal["events", "rollups", "rollups+events"]:
        if self.rollups is None:
            return "events"
        return "rollups+events" if self.events else "rollups"


def plan(question: SeriesQuestion) -> Plan:
    """Whole UTC hours from rollups where they can answer, the partial hours at both ends from events."""
    span = question.selection.span
    whole = TimeRange(_hour_after(span.start), _hour_before(span.end))
    if not _suits_rollups(question) or whole.is_empty:
        return Plan(None, (span,))
    edges = (TimeRange(span.start, whole.start), TimeRange(whole.end, span.end))
    return Plan(whole, tuple(edge for edge in edges if not edge.is_empty))


def without_rollups(question: SeriesQuestion) -> Plan:
    """The same answer from events alone."""
    return Plan(None, (question.selection.span,))


def event_of(filters: Filter) -> str | None:
    """The one event that filters choose by its name alone."""
    match filters:
        case Condition("event", Operator.EQ, str(name)):
            return name
    return None


def _suits_rollups(question: SeriesQuestion) -> bool:
    selection = question.selection
    if selection.includes_bots or question.dimension is not None:  # rollups leave bots out
        return False
    if selection.filters != EVERYTHING and event_of(selection.filters) is None:
        return False
    match question.measure.metric:
        case Metric.EVENTS_COUNT | Metric.PAGEVIEWS:
            pass
        case Metric.UNIQUE_USERS if not question.is_exact:
            pass
        case _:
            return False
    # A zone of half hours cuts rollups in two; so does a bucket that ends in the middle of an hour.
    return all(_hour_before(bucket.start) == bucket.start for bucket in question.buckets[1:])


def _hour_before(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _hour_after(instant: datetime) -> datetime:
    before = _hour_before(instant)
    return before if before == instant else before + _HOUR
