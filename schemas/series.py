"""A measure over time, as a whole or by the values of a dimension."""

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from schemas.answers import Accuracy
from schemas.questions import InvalidQuestion
from schemas.selection import Selection
from schemas.windows import Bucket

# Beyond it a chart is unreadable, and each is a row of every bucket.
MAX_SERIES = 100
_LONGEST_PROPERTY = 256


class Metric(StrEnum):
    """What is measured; those below `sum` are of a property."""

    EVENTS_COUNT = "events_count"
    UNIQUE_USERS = "unique_users"
    SESSIONS = "sessions"
    PAGEVIEWS = "pageviews"
    BOUNCE_RATE = "bounce_rate"
    AVG_SESSION_DURATION = "avg_session_duration"
    AVG_TIME_ON_PAGE = "avg_time_on_page"
    VIEWS_PER_SESSION = "views_per_session"
    NEW_USERS = "new_users"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    PERCENTILE = "p"


OF_PROPERTIES = frozenset({Metric.SUM, Metric.AVG, Metric.MIN, Metric.MAX, Metric.PERCENTILE})
# Rates and means of sessions, and people who are new: they are of no single event.
OF_WHOLES = frozenset(
    {
        Metric.SESSIONS,
        Metric.BOUNCE_RATE,
        Metric.AVG_SESSION_DURATION,
        Metric.AVG_TIME_ON_PAGE,
        Metric.VIEWS_PER_SESSION,
        Metric.NEW_USERS,
    }
)
_ALONE = frozenset(metric.value for metric in Metric if metric not in OF_PROPERTIES)


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric, with its property and percentage where it has them."""

    metric: Metric
    property: str = ""
    percent: int = 0

    def __str__(self) -> str:
        if self.metric in OF_PROPERTIES:
            return f"{self.metric}{self.percent or ''}:{self.property}"
        return self.metric.value


@dataclass(frozen=True, slots=True)
class SeriesQuestion:
    """A measure of each bucket; with a dimension of its `limit` largest values, and of all others together."""

    selection: Selection
    measure: Measure
    buckets: tuple[Bucket, ...]
    dimension: str | None = None
    limit: int = 10
    is_exact: bool = False

    def __post_init__(self) -> None:
        if self.dimension is not None and self.measure.metric in OF_WHOLES:
            raise InvalidQuestion(f"Invalid parameter: breakdown, {self.measure} is not of single events")
        if self.dimension in ("entryPath", "exitPath"):
            raise InvalidQuestion(f"Invalid parameter: breakdown, {self.dimension} is of sessions")


class Series(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One value for each bucket; None where nothing has the property."""

    name: str
    data: tuple[float | None, ...]
    is_other: bool = False


@dataclass(frozen=True, slots=True)
class SeriesAnswer:
    """Most first; `plan` names the tables that were read."""

    series: tuple[Series, ...]
    accuracy: Accuracy
    version: int
    plan: str


def parse_measure(text: str | None, name: str = "metric") -> Measure:
    """A metric, or `sum:`, `avg:`, `min:`, `max:`, `p1:` to `p99:` of a property. Raises InvalidQuestion."""
    if not text:
        raise InvalidQuestion(f"Missing required parameter: {name}")
    kind, colon, key = text.partition(":")
    if not colon and kind in _ALONE:
        return Measure(Metric(kind))
    key = key.removeprefix("properties.")
    if colon and 0 < len(key) <= _LONGEST_PROPERTY:
        if kind in ("sum", "avg", "min", "max"):
            return Measure(Metric(kind), key)
        digits = kind.removeprefix("p")
        if kind != digits and digits.isascii() and digits.isdecimal() and len(digits) < 3 and int(digits):
            return Measure(Metric.PERCENTILE, key, int(digits))
    raise InvalidQuestion(f"Invalid parameter: {name}")
