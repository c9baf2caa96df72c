"""Ranges and buckets in zones of every kind."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instants import parse_instant, to_millis
from schemas.windows import (
    MAX_BUCKETS,
    Interval,
    InvalidWindow,
    TimeRange,
    buckets,
    parse_range,
    whole_second_after,
    zone_named,
)
from tests.oracle import label

NOW = datetime(2026, 2, 22, 10, 30, tzinfo=UTC)
WEEK = timedelta(days=7)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Auckland"]


def _range(start: str | None, end: str | None, zone: str = "UTC") -> TimeRange:
    return parse_range(start, end, ZoneInfo(zone), NOW, WEEK)


def _labels(start: str, end: str, interval: Interval, zone: str = "UTC") -> list[str]:
    return [bucket.label for bucket in buckets(_range(start, end, zone), interval, ZoneInfo(zone))]


def test_range_defaults_to_the_week_before_now() -> None:
    assert _range(None, None) == TimeRange(NOW - WEEK, NOW)


def test_date_only_end_includes_its_day() -> None:
    assert _range("2026-02-15", "2026-02-22") == TimeRange(
        datetime(2026, 2, 15, tzinfo=UTC), datetime(2026, 2, 23, tzinfo=UTC)
    )


@pytest.mark.parametrize("end", ["2026-02-22", "2026-02-22T10:30:00Z", None])
def test_a_week_without_a_start_has_the_same_eight_days_however_its_end_is_named(end: str | None) -> None:
    days = [bucket.label for bucket in buckets(_range(None, end), Interval.DAY, ZoneInfo("UTC"))]
    assert days == _labels("2026-02-15", "2026-02-22", Interval.DAY)
    assert len(days) == 8


def test_a_week_before_a_day_begins_with_a_day_of_the_zone() -> None:
    span = _range(None, "2026-04-01", "Europe/Berlin")  # the clocks change on the 29th
    assert span == TimeRange(datetime(2026, 3, 24, 23, tzinfo=UTC), datetime(2026, 4, 1, 22, tzinfo=UTC))


def test_dates_are_days_of_the_zone() -> None:
    span = _range("2026-02-15", "2026-02-15", "Asia/Kolkata")
    assert span.start == datetime(2026, 2, 14, 18, 30, tzinfo=UTC)
    assert span.end - span.start == timedelta(days=1)


def test_instants_keep_their_zone_and_milliseconds() -> None:
    span = _range("2026-02-15T10:00:00.1239+02:00", "2026-02-15T09:00:00Z")
    assert span.start == datetime(2026, 2, 15, 8, 0, 0, 123000, tzinfo=UTC)
    assert span.end == datetime(2026, 2, 15, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("yesterday", None, "Invalid parameter: from"),
        ("", None, "Invalid parameter: from"),
        (None, "2026-02-30", "Invalid parameter: to"),
        ("2026-02-16", "2026-02-15", "Invalid parameter: from is after to"),
        ("2026-02-16T00:00:00Z", "2026-02-15", "Invalid parameter: from is after to"),
        ("2026-02-16", "2026-02-14", "Invalid parameter: from is after to"),
        ("0001-02-28", None, "Invalid parameter: from"),
        (None, "9999-11-01", "Invalid parameter: to"),
        (None, "0001-02-27", "Invalid parameter: to"),
    ],
)
def test_range_that_cannot_be_asked_for(start: str | None, end: str | None, message: str) -> None:
    with pytest.raises(InvalidWindow) as caught:
        _range(start, end)
    assert str(caught.value) == message


def test_the_longest_range_holds_every_event_there_can_be() -> None:
    span = _range("0001-03-01", "9999-10-31")
    assert to_millis(span.start) == parse_instant("0001-03-01T00:00:00Z")
    assert to_millis(span.end) == parse_instant("9999-10-31T23:59:59.999Z") + 1
    assert _range(None, "0001-03-01").start < span.start  # no year to go back to, and no error


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "../etc/passwd", "", "a\0b", "x" * 500, "localtime", "posix/UTC", "right/UTC", "Factory"]
)
def test_zone_that_does_not_exist(name: str) -> None:
    with pytest.raises(InvalidWindow, match="Invalid parameter: timezone"):
        zone_named(name)


def test_days_with_both_ends_in() -> None:
    assert _labels("2026-02-15", "2026-02-22", Interval.DAY) == [f"2026-02-{day}" for day in range(15, 23)]


def test_weeks_begin_on_monday_and_months_on_their_first() -> None:
    assert _labels("2026-02-15", "2026-02-22", Interval.WEEK) == ["2026-02-09", "2026-02-16"]
    assert _labels("2025-12-15", "2026-02-01", Interval.MONTH) == ["2025-12-01", "2026-01-01", "2026-02-01"]


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-02-15", "Asia/Kolkata", 24),
    ],
)
def test_hours_of_a_day(day: str, zone: str, hours: int) -> None:
    labels = _labels(day, day, Interval.HOUR, zone)
    assert len(labels) == len(set(labels)) == hours


def test_day_of_25_hours_is_one_bucket() -> None:
    [bucket] = buckets(_range("2026-10-25", "2026-10-25", "Europe/Berlin"), Interval.DAY, ZoneInfo("Europe/Berlin"))
    assert bucket.end - bucket.start == timedelta(hours=25)


def test_half_hour_zone_begins_its_hours_at_the_half() -> None:
    assert _labels("2026-02-15", "2026-02-15", Interval.HOUR, "Asia/Kolkata")[0] == "2026-02-14T18:30:00Z"


def test_clock_that_moves_by_half_an_hour() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    span = _range("2026-04-05", "2026-04-05", "Australia/Lord_Howe")
    lengths = [bucket.end - bucket.start for bucket in buckets(span, Interval.HOUR, zone)]
    assert sum(lengths, timedelta()) == timedelta(hours=24.5)
    assert lengths.count(timedelta(minutes=90)) == 1


def test_day_that_the_zone_skipped_is_no_bucket() -> None:
    assert _labels("2011-12-28", "2012-01-01", Interval.DAY, "Pacific/Apia") == [
        "2011-12-28",
        "2011-12-29",
        "2011-12-31",
        "2012-01-01",
    ]


def test_day_that_a_zone_lived_twice_does_not_hold_the_walk_up() -> None:
    assert _labels("1867-10-10", "1867-10-25", Interval.DAY, "America/Juneau")[-1] == "1867-10-25"


def test_empty_range_is_one_empty_bucket() -> None:
    [bucket] = buckets(TimeRange(NOW, NOW), Interval.DAY, ZoneInfo("UTC"))
    assert bucket.label == "2026-02-22"
    assert bucket.start == bucket.end == NOW


def test_too_many_buckets_are_refused() -> None:
    zone = ZoneInfo("UTC")
    span = TimeRange(NOW, NOW + timedelta(hours=MAX_BUCKETS - 1))
    assert len(buckets(span, Interval.HOUR, zone)) == MAX_BUCKETS
    with pytest.raises(InvalidWindow, match="more than 10000 points"):
        buckets(TimeRange(NOW, NOW + timedelta(hours=MAX_BUCKETS)), Interval.HOUR, zone)


@given(
    start=st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    length=st.timedeltas(timedelta(milliseconds=1), timedelta(days=90)),
    interval=st.sampled_from(list(Interval)),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    part=st.floats(0, 0.999),
)
def test_buckets_tile_the_range(
    start: datetime, length: timedelta, interval: Interval, zone: ZoneInfo, part: float
) -> None:
    span = TimeRange(start, start + length)
    found = buckets(span, interval, zone)
    assert (found[0].start, found[-1].end) == (span.start, span.end)
    assert all(left.end == right.start for left, right in pairwise(found))
    instant = span.start + part * length
    [inside] = [bucket for bucket in found if bucket.start <= instant < bucket.end]
    assert inside.label == label(instant, interval, zone)


def test_now_as_a_bound_is_after_now_and_the_same_for_a_second() -> None:
    bounds = {whole_second_after(NOW.replace(microsecond=micro)) for micro in (0, 1, 999_999)}
    assert bounds == {NOW + timedelta(seconds=1)}
