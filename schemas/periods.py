"""Ranges by a short name: `24h` rolls, `7d` are calendar days of a zone with today as the last."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.windows import InvalidWindow, TimeRange, day_start

_LONGEST_DAYS = 3660


def period_range(period: str, zone: ZoneInfo, now: datetime) -> TimeRange:
    """The range that `Nh` or `Nd` means now; raises InvalidWindow."""
    number, unit = period[:-1], period[-1:]
    if not (number.isascii() and number.isdecimal() and len(number) <= 4 and 1 <= int(number) <= _LONGEST_DAYS):
        raise InvalidWindow("Invalid parameter: period")
    if unit == "h":
        return TimeRange(now - timedelta(hours=int(number)), now)
    if unit != "d":
        raise InvalidWindow("Invalid parameter: period")
    today = now.astimezone(zone).date()
    first = today - timedelta(days=int(number) - 1)
    return TimeRange(day_start(first, zone), day_start(today + timedelta(days=1), zone))
