"""ZTA's parameters: a period or two dates, and pages of lists."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from starlette.datastructures import QueryParams

from api.dialects.zta.envelope import bad
from schemas.instants import format_millis, to_millis
from schemas.periods import period_range
from schemas.windows import Bucket, Interval, InvalidWindow, TimeRange, buckets, parse_range

PERIODS = ("24h", "7d", "30d", "90d", "365d")


@dataclass(frozen=True, slots=True)
class Period:
    """A range of a site, by its name where it has one."""

    name: str
    span: TimeRange
    zone: ZoneInfo

    @property
    def days(self) -> tuple[Bucket, ...]:
        """Its days in the site's zone."""
        try:
            return tuple(buckets(self.span, Interval.DAY, self.zone))
        except InvalidWindow as error:
            raise bad("Invalid time period") from error


def read_period(
    query: QueryParams, zone: str, now: datetime, default: str = "7d", allowed: tuple[str, ...] = PERIODS
) -> Period:
    """`startDate` and `endDate`, else `period`. Raises Failure."""
    place = ZoneInfo(zone)
    if query.get("startDate") or query.get("endDate"):
        try:
            span = parse_range(query.get("startDate"), query.get("endDate"), place, now, timedelta(days=30))
        except InvalidWindow as error:
            raise bad("Invalid time period") from error
        return Period("custom", span, place)
    return named_period(query.get("period") or default, place, now, allowed)


def named_period(name: str, zone: ZoneInfo, now: datetime, allowed: tuple[str, ...] = PERIODS) -> Period:
    """`24h` rolls; days are whole ones in the zone, today the last. Raises Failure."""
    if name not in allowed:
        raise bad("Invalid time period")
    return Period(name, period_range(name, zone, now), zone)


def instant(at: datetime) -> str:
    """As ZTA writes instants."""
    return format_millis(to_millis(at))
