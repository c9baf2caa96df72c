"""Slots of equal length hold what the bounds of buckets say."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instants import to_millis
from schemas.windows import Interval, TimeRange, buckets
from storage.query.buckets import slots

_ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")


@given(
    st.integers(157_766_400, 2_051_222_400),  # 1975 to 2035
    st.integers(1, 60 * 86_400_000),
    st.sampled_from(Interval),
    st.sampled_from(_ZONES),
    st.lists(st.floats(0, 1, exclude_max=True), max_size=20),
)
def test_every_instant_is_in_the_bucket_of_its_slot(
    start: int, millis: int, interval: Interval, zone: str, places: list[float]
) -> None:
    begun = datetime.fromtimestamp(start, UTC)
    span = TimeRange(begun, begun + timedelta(milliseconds=millis))
    parts = list(buckets(span, interval, ZoneInfo(zone)))
    found = slots(parts)
    assert found is not None
    starts = [to_millis(bucket.start) for bucket in parts]
    for instant in (*starts, starts[0] + millis - 1, *(starts[0] + int(place * millis) for place in places)):
        assert found.buckets[(instant - found.origin) // found.length] == bisect_right(starts, instant) - 1


@pytest.mark.parametrize(("zone", "has_slots"), [("UTC", True), ("Africa/Monrovia", False)])
def test_a_clock_that_was_seconds_off_has_too_many_slots(zone: str, has_slots: bool) -> None:
    """Liberia's was until 1972."""
    span = TimeRange(datetime(1971, 1, 1, tzinfo=UTC), datetime(1974, 1, 1, tzinfo=UTC))
    assert (slots(list(buckets(span, Interval.DAY, ZoneInfo(zone)))) is not None) is has_slots
