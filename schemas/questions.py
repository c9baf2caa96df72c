"""What can be asked of the lake, bounded and checked before any engine sees it."""

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import msgspec

from schemas.instants import from_millis
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


class EventCursor(msgspec.Struct, frozen=True, array_like=True):
    """The row a page ended with, and the range it was a page of: later pages stay in both."""

    start: int  # unix ms
    end: int
    timestamp: int
    partition: int
    offset: int
    index: int

    def encode(self) -> str:
        """Opaque text for the caller."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidQuestion for anything `encode` did not give."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            cursor = msgspec.msgpack.decode(raw, type=cls)
            for millis in (cursor.start, cursor.end, cursor.timestamp):
                from_millis(millis)
        except (binascii.Error, ValueError, OverflowError, msgspec.MsgspecError) as error:
            raise InvalidQuestion("Invalid parameter: cursor") from error
        return cursor


@dataclass(frozen=True, slots=True)
class EventsQuestion:
    """A page of one project's events, newest first."""

    project: int
    span: TimeRange
    limit: int = DEFAULT_LIMIT
    after: EventCursor | None = None
    event: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    source: str | None = None
    includes_bots: bool = False


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
