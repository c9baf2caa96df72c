"""Instants: integers of milliseconds and back, with the odd corners of the calendar."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instants import FIRST, LAST, format_instant, format_millis, from_millis, parse_instant, to_millis

_FIRST, _LAST = to_millis(FIRST), to_millis(LAST) - 1
_MILLIS = st.integers(_FIRST, _LAST)


@given(_MILLIS)
def test_millis_survive_text_and_back(millis: int) -> None:
    assert to_millis(from_millis(millis)) == millis
    assert parse_instant(format_instant(millis)) == millis
    assert parse_instant(format_millis(millis)) == millis


@given(st.integers(_FIRST * 1000 + 10**12, _LAST * 1000 - 10**12), st.integers(-14 * 60, 14 * 60))
def test_parse_instant_reads_any_zone_and_cuts_finer_parts_off(micros: int, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    zoned = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).astimezone(zone)
    assert parse_instant(zoned.isoformat()) == micros // 1000


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2026-03-01", "2026-03-01T00:00:00Z"),
        ("2026-03-01T10:00:00", "2026-03-01T10:00:00Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T18:59:60-05:00", "2017-01-01T00:00:00Z"),
        ("1969-12-31T23:59:59.999Z", "1970-01-01T00:59:59.999+01:00"),
        # Clocks change in New York here: an instant with an offset does not care.
        ("2026-03-08T02:30:00-05:00", "2026-03-08T07:30:00Z"),
        ("2026-11-01T01:30:00-04:00", "2026-11-01T05:30:00Z"),
        ("2026-11-01T01:30:00-05:00", "2026-11-01T06:30:00Z"),
    ],
)
def test_parse_instant_agrees_on_the_same_instant(text: str, same_as: str) -> None:
    assert parse_instant(text) == parse_instant(same_as)


def test_parse_instant_before_1970_is_negative_and_floors() -> None:
    assert parse_instant("1969-12-31T23:59:59.9995Z") == -1
    assert parse_instant("1969-12-31T00:00:00Z") == -86_400_000


@pytest.mark.parametrize("text", ["", "now", "12", "2026-13-01", "2026-02-30", "2026-01-01T25:00:00Z", "10:60", "\x00"])
def test_parse_instant_refuses_other_texts(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_instant(text)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+10:00", "0001-02-28T23:59:59.999Z", "0001-03-01T00:00:00+00:01", "9999-11-01"]
)
def test_parse_instant_refuses_instants_that_cannot_be_asked_for(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        parse_instant(text)


def test_format_millis_always_shows_three_digits() -> None:
    assert format_millis(0) == "1970-01-01T00:00:00.000Z"
    assert format_instant(0) == "1970-01-01T00:00:00Z"
    assert format_instant(-1) == "1969-12-31T23:59:59.999Z"
