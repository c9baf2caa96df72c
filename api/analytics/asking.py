"""What every question has in common, read in one place: range, zone, filters, comparison, exactness, version."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from api.analytics.answering import Answered, AsOf
from schemas.answers import Accuracy
from schemas.comparison import Comparison, earlier
from schemas.filters import EVERYTHING, Filter, filter_of, parse_filters
from schemas.instants import format_instant, from_millis, parse_instant, to_millis
from schemas.questions import InvalidQuestion, parse_flag
from schemas.selection import Selection
from schemas.windows import TimeRange, parse_range, zone_named

DEFAULT_RANGE = timedelta(days=7)
# Versions are 64-bit numbers in the lake.
_LONGEST_VERSION = 18

# The filter that a project keeps under an id; may block.
SegmentFinder: TypeAlias = Callable[[int, str], Filter | None]


@dataclass(frozen=True, slots=True)
class Common:
    """The parameters of one question, without its project."""

    span: TimeRange
    zone: ZoneInfo
    timezone: str
    filters: Filter = EVERYTHING
    segment_id: str | None = None
    includes_bots: bool = False
    comparison: TimeRange | None = None
    is_exact: bool = False
    at: AsOf | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Common parameters of a question about a project, its segment among the filters."""

    selection: Selection
    common: Common

    @property
    def project(self) -> int:
        return self.selection.project

    @property
    def span(self) -> TimeRange:
        return self.selection.span

    @property
    def compared(self) -> Selection | None:
        """The selection to compare with, if any."""
        earlier_span = self.common.comparison
        return None if earlier_span is None else replace(self.selection, span=earlier_span)


def read_common(values: Mapping[str, Any], now: datetime, default: timedelta = DEFAULT_RANGE) -> Common:
    """From texts of a query, or from values of a decoded body. Raises InvalidQuestion or InvalidWindow."""
    timezone = _text(values, "timezone") or "UTC"
    zone = zone_named(timezone)
    span = parse_range(_text(values, "from"), _text(values, "to"), zone, now, default)
    return Common(
        span=span,
        zone=zone,
        timezone=timezone,
        filters=_filters(values.get("filters")),
        segment_id=_text(values, "segmentId"),
        includes_bots=_flag(values, "includeBots"),
        comparison=_comparison(_text(values, "compare"), span, zone, now),
        is_exact=_flag(values, "exact"),
        at=_as_of(values.get("asOf")),
    )


def meta(asked: Asked, answered: Answered[Any], accuracy: Accuracy, bots: int | None = None) -> dict[str, Any]:
    """How an answer was made, for its `meta`."""
    return {
        "from": format_instant(to_millis(asked.span.start)),
        "to": format_instant(to_millis(asked.span.end)),
        "timezone": asked.common.timezone,
        "accuracy": {"method": "exact" if accuracy.error is None else "sketch", "error": accuracy.error or 0.0},
        "watermark": format_instant(answered.watermark),
        "version": answered.version,
        "source": answered.source,
    } | ({} if bots is None else {"botsExcluded": bots})


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidQuestion(f"Invalid parameter: {name}")
    return value


def _flag(values: Mapping[str, Any], name: str) -> bool:
    value = values.get(name)
    return value if isinstance(value, bool) else parse_flag(_text(values, name), name)


def _filters(value: Any) -> Filter:
    return parse_filters(value) if value is None or isinstance(value, str) else filter_of(value)


def _comparison(text: str | None, span: TimeRange, zone: ZoneInfo, now: datetime) -> TimeRange | None:
    """A named earlier time, or any range as ISO 8601 writes it: `from/to`."""
    if text is None:
        return None
    start, slash, end = text.partition("/")
    try:
        if slash:
            return parse_range(start, end, zone, now, DEFAULT_RANGE)
        comparison = Comparison(text)
    except ValueError as error:
        raise InvalidQuestion("Invalid parameter: compare") from error
    return earlier(span, comparison, zone)


def _as_of(value: Any) -> AsOf | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if not isinstance(value, str):
        raise InvalidQuestion("Invalid parameter: asOf")
    if value.isascii() and value.isdecimal() and len(value) <= _LONGEST_VERSION:
        return int(value)
    try:
        instant: datetime = from_millis(parse_instant(value))
    except (ValueError, OverflowError) as error:
        raise InvalidQuestion("Invalid parameter: asOf") from error
    return instant.astimezone(UTC)
