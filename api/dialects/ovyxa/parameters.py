"""Ovyxa's parameters, which most of its statistics share."""

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from starlette.datastructures import QueryParams

from api.dialects.ovyxa.envelope import invalid, missing
from schemas.windows import Bucket, Interval, InvalidWindow, TimeRange, buckets, day_start, zone_named

_REQUIRED = ("site_id", "date_from", "date_to")


@dataclass(frozen=True, slots=True)
class Period:
    """Days asked for, in the zone asked for, and whether the days before them are too."""

    span: TimeRange
    buckets: tuple[Bucket, ...]
    zone: ZoneInfo
    since: date
    until: date
    is_compared: bool

    @property
    def timezone(self) -> str:
        return self.zone.key

    @property
    def before(self) -> tuple[date, date, TimeRange]:
        """The days of equal number directly before."""
        days = (self.until - self.since).days + 1
        since, until = self.since - timedelta(days=days), self.since - timedelta(days=1)
        return since, until, TimeRange(day_start(since, self.zone), self.span.start)


def demand_required(query: QueryParams) -> None:
    """Raises Failure for the first required parameter that is missing."""
    for name in _REQUIRED:
        if not query.get(name):
            raise missing(name)


def read_period(query: QueryParams, site_zone: str) -> Period:
    """Raises Failure for what cannot be read."""
    since, until = _day(query, "date_from"), _day(query, "date_to")
    if since > until:
        raise invalid("date_from")
    try:
        zone = zone_named(query.get("timezone") or site_zone)
    except InvalidWindow as error:
        raise invalid("timezone") from error
    span = TimeRange(day_start(since, zone), day_start(until + timedelta(days=1), zone))
    try:
        points = tuple(buckets(span, Interval(query.get("interval") or "day"), zone))
    except ValueError as error:  # InvalidWindow is one
        raise invalid("interval") from error
    return Period(span, points, zone, since, until, _flag(query, "compare"))


def _flag(query: QueryParams, name: str) -> bool:
    text = query.get(name) or "false"
    if text not in ("true", "false"):
        raise invalid(name)
    return text == "true"


def _day(query: QueryParams, name: str) -> date:
    text = query[name]
    try:
        day = date.fromisoformat(text)
        # Other ISO forms of a date are not Ovyxa's; far ends of the calendar leave no day before or after them.
        if day.isoformat() == text and date(2, 1, 1) <= day <= date(9999, 10, 1):
            return day
    except ValueError:
        pass
    raise invalid(name)
