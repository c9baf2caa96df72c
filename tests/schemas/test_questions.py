"""Parameters of questions: clamped, refused, or taken."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.listing import EventCursor
from schemas.questions import InvalidQuestion, parse_flag, parse_interval, parse_limit
from schemas.series import Measure, Metric, parse_measure


@pytest.mark.parametrize(
    ("text", "limit"), [(None, 100), ("0", 1), ("-5", 1), ("1", 1), ("1000", 1000), ("1001", 1000), ("9" * 20, 1000)]
)
def test_limit_is_clamped(text: str | None, limit: int) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["abc", "", "1.5", " 1", "--1", "9" * 5000])
def test_limit_that_is_no_number(text: str) -> None:
    with pytest.raises(InvalidQuestion, match="Invalid parameter: limit"):
        parse_limit(text)


def test_measure() -> None:
    assert parse_measure("unique_users") == Measure(Metric.UNIQUE_USERS)
    for text in ("events_count", "bounce_rate", "sum:price", "p95:took ms"):
        assert str(parse_measure(text)) == text
    assert parse_measure("avg:properties.price") == Measure(Metric.AVG, "price")
    for nothing in (None, ""):
        with pytest.raises(InvalidQuestion, match="Missing required parameter: metric"):
            parse_measure(nothing)
    for bad in ("happiness", "sum", "sum:", "p", "p0:x", "p100:x", "p:x", "p²:x", "sessions:x", "avg:" + "x" * 300):
        with pytest.raises(InvalidQuestion, match="Invalid parameter: metric"):
            parse_measure(bad)


def test_interval() -> None:
    assert parse_interval(None) == "day"
    with pytest.raises(InvalidQuestion, match="Invalid parameter: interval"):
        parse_interval("year")


def test_flag() -> None:
    assert [parse_flag(text, "exact") for text in (None, "true", "1", "FALSE", "0")] == [
        False,
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(InvalidQuestion, match="Invalid parameter: exact"):
        parse_flag("maybe", "exact")


@given(st.tuples(*[st.integers(-(10**12), 10**13)] * 6))
def test_cursor_comes_back(values: tuple[int, int, int, int, int, int]) -> None:
    cursor = EventCursor(*values)
    assert EventCursor.decode(cursor.encode()) == cursor


def test_cursor_beyond_the_calendar_is_none() -> None:
    with pytest.raises(InvalidQuestion, match="Invalid parameter: cursor"):
        EventCursor.decode(EventCursor(0, 2**60, 0, 0, 0, 0).encode())


@pytest.mark.parametrize("text", ["", "!", "AAAA", base64.b64encode(b"\x96" + b"\xa1x" * 6).decode(), "é", "A"])
def test_cursor_that_is_none(text: str) -> None:
    with pytest.raises(InvalidQuestion, match="Invalid parameter: cursor"):
        EventCursor.decode(text)
