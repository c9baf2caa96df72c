"""Checks of the service by itself: one a minute, whoever makes it, and days of them."""

from datetime import UTC, date, datetime, timedelta

from storage.meta.checks import Check, CheckedDay, checked_days, latest_check, record_check
from storage.meta.engine import Metadata

NOW = datetime(2026, 3, 2, 0, 5, 30, tzinfo=UTC)


def test_one_check_a_minute_is_kept(metadata: Metadata) -> None:
    assert latest_check(metadata) is None
    assert record_check(metadata, Check(NOW, True, 4))
    assert not record_check(metadata, Check(NOW + timedelta(seconds=20), False, 9))
    assert latest_check(metadata) == Check(NOW.replace(second=0), True, 4)
    assert record_check(metadata, Check(NOW + timedelta(seconds=40), False, 9))
    assert latest_check(metadata) == Check(NOW.replace(minute=6, second=0), False, 9)


def test_days_are_added_up_and_dropped_after_ninety(metadata: Metadata) -> None:
    for minutes, is_ok, latency in ((0, True, 2), (1, False, 4), (-6, True, 7), (-120 * 24 * 60, True, 1)):
        record_check(metadata, Check(NOW + timedelta(minutes=minutes), is_ok, latency))
    today, yesterday = CheckedDay(date(2026, 3, 2), 2, 1, 3.0), CheckedDay(date(2026, 3, 1), 1, 1, 7.0)
    assert checked_days(metadata, 90, NOW) == [yesterday, today]
    assert checked_days(metadata, 1, NOW) == [today]
    assert today.uptime_percent == 50.0
    assert len(checked_days(metadata, 1000, NOW)) == 3
    record_check(metadata, Check(NOW + timedelta(minutes=2), True, 1))
    assert len(checked_days(metadata, 1000, NOW)) == 2
