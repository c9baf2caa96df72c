"""Ranges of time and their buckets: hours, days, weeks and months in any time zone."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from schemas.instants import FIRST, LAST, format_instant, from_millis, to_millis

# More points than any chart shows; each costs a row of the answer and a step of the planner.
MAX_BUCKETS = 10_000
_HOUR = timedelta(hours=1)
# Every offset in force today is a multiple of it, so a local hour can begin at no other instant.
_QUARTER = timedelta(minutes=15)


class InvalidWindow(ValueError):
    """A range, interval or zone that cannot be asked for; the message names the parameter."""


class Interval(StrEnum):
    """How wide a bucket is, in local time."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open interval of UTC instants."""

    start: datetime
    end: datetime

    @property
    def is_empty(self) -> bool:
        return self.start >= self.end


# All of time that an event may have.
ALWAYS = TimeRange(FIRST, LAST)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The part of a range that one point of a series stands for, and the point's label."""

    label: str
    start: datetime
    end: datetime


# Files beside the zones on some machines: what they say is the machine's affair.
_OURS = ("localtime", "posixrules", "factory")


def zone_named(name: str) -> ZoneInfo:
    """An IANA time zone; raises InvalidWindow."""
    if name.lower() in _OURS or name.partition("/")[0] in ("posix", "right"):
        raise InvalidWindow("Invalid parameter: timezone")
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise InvalidWindow("Invalid parameter: timezone") from error


def whole_second_after(instant: datetime) -> datetime:
    """`now` as a bound: the same for all who ask within a second, and just after what happened."""
    return instant.replace(microsecond=0) + timedelta(seconds=1)


def parse_range(start: str | None, end: str | None, zone: ZoneInfo, now: datetime, default: timedelta) -> TimeRange:
    """The range that `from` and `to` mean: ISO 8601, or dates whose last day is included.

    Without an end it ends `now`, without a start it begins `default` before its end, or before its last day as a
    date: a week before the 22nd is the 15th, however the 22nd is named. An instant that names no zone is in `zone`.
    Raises InvalidWindow.
    """
    until = now if end is None else _parse(end, "to", zone, is_end=True)
    last_day = None if end is None else _date_only(end)
    if start is not None:
        since = _parse(start, "from", zone, is_end=False)
    else:
        since = until - default if last_day is None else day_start(last_day - default, zone)
    # A last day ends where the next begins: to start there is to start after it.
    if since > until or (since == until and last_day is not None):
        raise InvalidWindow("Invalid parameter: from is after to")
    return TimeRange(since, until)


def _parse(text: str, name: str, zone: ZoneInfo, *, is_end: bool) -> datetime:
    try:
        instant = _instant(text, zone, is_end)
        if not FIRST <= instant <= LAST:
            raise ValueError("beyond the calendar")
        return instant
    except (ValueError, OverflowError) as error:
        raise InvalidWindow(f"Invalid parameter: {name}") from error


def _instant(text: str, zone: ZoneInfo, is_end: bool) -> datetime:
    day = _date_only(text)
    if day is not None:
        return day_start(day + timedelta(days=1) if is_end else day, zone)
    instant = datetime.fromisoformat(text)
    instant = instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)
    # Event times are kept to the millisecond.
    return from_millis(to_millis(instant))


def _date_only(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day, also where its midnight is skipped or comes twice."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def buckets(span: TimeRange, interval: Interval, zone: ZoneInfo) -> list[Bucket]:
    """Every bucket of the range in order, without gaps, the outer ones clipped to it.

    An empty range has the one bucket it lies in. Raises InvalidWindow beyond MAX_BUCKETS.
    """
    found: list[Bucket] = []
    begun = _floor(span.start, interval, zone)
    while begun < span.end or not found:
        following = _next(begun, interval, zone)
        found.append(Bucket(_label(begun, interval, zone), max(begun, span.start), min(following, span.end)))
        if len(found) > MAX_BUCKETS:
            raise InvalidWindow(
                f"Invalid parameter: interval gives more than {MAX_BUCKETS} points, ask for a shorter range"
            )
        begun = following
    return found


def _floor(instant: datetime, interval: Interval, zone: ZoneInfo) -> datetime:
    local = instant.astimezone(zone)
    match interval:
        case Interval.HOUR:
            return instant - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        case Interval.DAY:
            return day_start(local.date(), zone)
        case Interval.WEEK:
            return day_start(local.date() - timedelta(days=local.weekday()), zone)
        case Interval.MONTH:
            return day_start(local.date().replace(day=1), zone)


def _next(begun: datetime, interval: Interval, zone: ZoneInfo) -> datetime:
    if interval is Interval.HOUR:
        return _next_hour(begun, zone)
    # By its noon, so that a day the zone skipped (Apia, 2011-12-30) is stepped over.
    day = (begun + timedelta(hours=12)).astimezone(zone).date()
    match interval:
        case Interval.DAY:
            following = day + timedelta(days=1)
        case Interval.WEEK:
            following = day + timedelta(days=7 - day.weekday())
        case Interval.MONTH:
            following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    # A zone that once lived a day twice (Juneau, 1867) must not hold the walk up.
    return max(day_start(following, zone), begun + _HOUR)


def _next_hour(begun: datetime, zone: ZoneInfo) -> datetime:
    following = begun + _HOUR
    if following.astimezone(zone).minute == 0:
        return following
    # The clock moved by part of an hour (Lord Howe): the bucket ends where the local hour does.
    hour = begun.astimezone(zone).hour
    following = begun + _QUARTER
    while (local := following.astimezone(zone)).hour == hour and local.minute != 0:
        following += _QUARTER
    return following


def _label(begun: datetime, interval: Interval, zone: ZoneInfo) -> str:
    if interval is Interval.HOUR:
        return format_instant(to_millis(begun))
    return (begun + timedelta(hours=12)).astimezone(zone).date().isoformat()
