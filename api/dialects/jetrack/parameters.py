"""Jetrack's parameters: `from` and `to` are dates in the website's zone, both days in."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from starlette.datastructures import QueryParams

from api.dialects.jetrack.envelope import InvalidParameters
from schemas.windows import TimeRange, day_start

_DEFAULT_DAYS = 30


def read_range(query: QueryParams, zone: ZoneInfo, now: datetime) -> TimeRange:
    """The days asked for, by default the last 30 with today; raises InvalidParameters."""
    wrong: list[str] = []
    until = _day(query.get("to"), "to", wrong) or now.astimezone(zone).date()
    since = _day(query.get("from"), "from", wrong) or until - timedelta(days=_DEFAULT_DAYS - 1)
    if not wrong and since > until:
        wrong.append("from must not be after to")
    if wrong:
        raise InvalidParameters(wrong)
    return TimeRange(day_start(since, zone), day_start(until + timedelta(days=1), zone))


def _day(text: str | None, name: str, wrong: list[str]) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
        # Other ISO forms of a date are not Jetrack's.
        if day.isoformat() == text and date(1, 3, 1) <= day <= date(9999, 10, 1):
            return day
    except ValueError:
        pass
    wrong.append(f"{name} must be YYYY-MM-DD")
    return None
