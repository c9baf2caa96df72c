"""The earlier time that a range is compared with."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from schemas.windows import InvalidWindow, TimeRange

_FEBRUARY_29 = (2, 29)


class Comparison(StrEnum):
    """Which earlier time."""

    PREVIOUS_PERIOD = "previous_period"
    PREVIOUS_YEAR = "previous_year"


def earlier(span: TimeRange, comparison: Comparison, zone: ZoneInfo) -> TimeRange:
    """The range directly before, as long by the local clock, or the same dates of the year before.

    By the clock, so that what comes before a week in which the clocks change is a week too.
    """
    start, end = _local(span.start, zone), _local(span.end, zone)
    try:
        if comparison is Comparison.PREVIOUS_PERIOD:
            return TimeRange(_instant(start - (end - start), zone), span.start)
        return TimeRange(_instant(_year_before(start), zone), _instant(_year_before(end), zone))
    except (ValueError, OverflowError) as error:
        raise InvalidWindow("Invalid parameter: compare reaches beyond the calendar") from error


def _year_before(local: datetime) -> datetime:
    if (local.month, local.day) == _FEBRUARY_29:
        local -= timedelta(days=1)
    return local.replace(year=local.year - 1)


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)
