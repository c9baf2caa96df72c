"""What can be asked of the lake, bounded and checked before any engine sees it."""

from dataclasses import dataclass
from enum import StrEnum

from schemas.windows import Bucket, Interval, TimeRange

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100


class InvalidQuestion(ValueError):
    """A question that cannot be asked; the message names the parameter."""


class MetricKind(StrEnum):
    """A number over time, and by its name how it merges."""

    EVENTS_COUNT = "events_count"
    UNIQUE_USERS = "unique_users"
    SESSIONS = "sessions"
    PAGEVIEWS = "pageviews"


@dataclass(frozen=True, slots=True)
class MetricQuestion:
    """One number of one project over time."""

    project: int
    metric: MetricKind
    interval: Interval
    timezone: str
    buckets: tuple[Bucket, ...]
    is_exact: bool = False
    includes_bots: bool = False
    event: str | None = None

    def __post_init__(self) -> None:
        if self.event is not None and self.metric is MetricKind.SESSIONS:
            # A session is made of all its events; what one of them alone would count is another question.
            raise InvalidQuestion("Invalid parameter: event")

    @property
    def span(self) -> TimeRange:
        return TimeRange(self.buckets[0].start, self.buckets[-1].end)


def parse_limit(text: str | None) -> int:
    """A page size: clamped to what is allowed, refused when it is no number."""
    if text is None:
        return DEFAULT_LIMIT
    # The length first: int() of a very long text raises its own error.
    if not text.removeprefix("-").isdecimal() or len(text) > 20:
        raise InvalidQuestion("Invalid parameter: limit")
    return min(max(int(text), 1), MAX_LIMIT)


def parse_offset(text: str | None) -> int:
    """How many rows come before the page; raises InvalidQuestion."""
    if not text:
        return 0
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise InvalidQuestion("Invalid parameter: offset")
    return int(text)


def parse_flag(text: str | None, name: str) -> bool:
    """`true` or `false`, absent is false."""
    match (text or "false").lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise InvalidQuestion(f"Invalid parameter: {name}")


def parse_metric(text: str | None) -> MetricKind:
    """The metric asked for; there is no default."""
    if not text:
        raise InvalidQuestion("Missing required parameter: metric")
    try:
        return MetricKind(text)
    except ValueError as error:
        raise InvalidQuestion("Invalid parameter: metric") from error


def parse_interval(text: str | None) -> Interval:
    """The width of a bucket, a day by default."""
    try:
        return Interval(text or "day")
    except ValueError as error:
        raise InvalidQuestion("Invalid parameter: interval") from error
