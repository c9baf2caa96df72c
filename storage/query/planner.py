"""Which table answers which part of a range: the coarsest that gives the right number. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from schemas.questions import MetricKind, MetricQuestion
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


def plan(question: MetricQuestion) -> Plan:
    """Whole UTC hours from rollups where they can answer, the partial hours at both ends from events."""
    span = question.span
    whole = TimeRange(_hour_after(span.start), _hour_before(span.end))
    if not _suits_rollups(question) or whole.is_empty:
        return Plan(None, (span,))
    edges = (TimeRange(span.start, whole.start), TimeRange(whole.end, span.end))
    return Plan(whole, tuple(edge for edge in edges if not edge.is_empty))


def without_rollups(question: MetricQuestion) -> Plan:
    """The same answer from events alone."""
    return Plan(None, (question.span,))


def _suits_rollups(question: MetricQuestion) -> bool:
    if question.includes_bots:  # rollups leave them out
        return False
    match question.metric:
        case MetricKind.SESSIONS:
            return False
        case MetricKind.UNIQUE_USERS if question.is_exact:
            return False
    # A zone of half hours cuts rollups in two; so does a bucket that ends in the middle of an hour.
    return all(_hour_before(bucket.start) == bucket.start for bucket in question.buckets[1:])


def _hour_before(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _hour_after(instant: datetime) -> datetime:
    before = _hour_before(instant)
    return before if before == instant else before + _HOUR
