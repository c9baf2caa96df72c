"""Short names of ranges."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from schemas.periods import period_range
from schemas.windows import InvalidWindow, TimeRange

NOW = datetime(2026, 3, 29, 22, 30, tzinfo=UTC)  # half past midnight on the 30th in Berlin, a day after 23 hours


def test_hours_roll() -> None:
    assert period_range("24h", ZoneInfo("UTC"), NOW) == TimeRange(datetime(2026, 3, 28, 22, 30, tzinfo=UTC), NOW)


def test_days_are_those_of_the_zone_and_today_is_the_last() -> None:
    found = period_range("2d", ZoneInfo("Europe/Berlin"), NOW)
    assert found == TimeRange(datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 30, 22, tzinfo=UTC))
    assert period_range("1d", ZoneInfo("UTC"), NOW) == TimeRange(
        datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC)
    )


@pytest.mark.parametrize("period", ["", "d", "0d", "7", "7w", "-1d", "99999d", "²d", "1.5h"])
def test_others(period: str) -> None:
    with pytest.raises(InvalidWindow, match="Invalid parameter: period"):
        period_range(period, ZoneInfo("UTC"), NOW)
