"""When alerts go off."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.alerts.deciding import LEAST_PAST, PAST_DAYS, decide, is_silent, windows_of
from schemas.kept import Alert
from schemas.windows import TimeRange

NOW = datetime(2026, 2, 10, 9, 41, 23, 5000, tzinfo=UTC)
MINUTE = datetime(2026, 2, 10, 9, 41, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def alert(kind: str, **fields: Any) -> Alert:
    return Alert(name="a", type=kind, metric="pageviews", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operator", "figure", "goes_off"),
    [
        (">", 10, False), (">", 10.1, True),
        (">=", 10, True), (">=", 9.9, False),
        ("<", 10, False), ("<", 9.9, True),
        ("<=", 10, True), ("<=", 10.1, False),
    ],
)  # fmt: skip
def test_threshold(operator: str, figure: float, goes_off: bool) -> None:
    assert decide(alert("threshold", operator=operator, threshold=10), figure) is goes_off


@pytest.mark.parametrize(
    ("operator", "threshold", "before", "figure", "goes_off"),
    [
        (">", 50, [100], 150, False),
        (">", 50, [100], 151, True),
        (">", 50, [100], 10, False),
        ("<", 50, [100], 50, False),
        ("<", 50, [100], 49, True),
        ("<", -50, [100], 49, True),
        ("<", 50, [100], 200, False),
        (">", 50, [0], 1000, False),
        (">", 50, [], 1000, False),
    ],
)
def test_comparison(operator: str, threshold: float, before: list[float], figure: float, goes_off: bool) -> None:
    assert decide(alert("comparison", operator=operator, threshold=threshold), figure, before) is goes_off


WAVES = [90.0, 110.0] * 7  # mean 100, deviation 10


@pytest.mark.parametrize(
    ("sensitivity", "figure", "goes_off"),
    [
        ("low", 130, False), ("low", 131, True), ("low", 69, True),
        ("medium", 125, False), ("medium", 126, True), ("medium", 74, True),
        ("high", 120, False), ("high", 121, True), ("high", 79, True),
    ],
)  # fmt: skip
def test_anomaly(sensitivity: str, figure: float, goes_off: bool) -> None:
    assert decide(alert("anomaly", sensitivity=sensitivity), figure, WAVES) is goes_off


def test_anomaly_of_quiet_and_of_young_projects() -> None:
    medium = alert("anomaly")
    assert not decide(medium, 2, [0.0] * PAST_DAYS)
    assert decide(medium, 3, [0.0] * PAST_DAYS)
    assert not decide(medium, 1240, [1000.0] * PAST_DAYS)
    assert decide(medium, 1260, [1000.0] * PAST_DAYS)
    assert not decide(medium, 10_000, [100.0] * (LEAST_PAST - 1))
    assert decide(medium, 10_000, [100.0] * LEAST_PAST)


def test_windows() -> None:
    assert windows_of(alert("threshold", period="24h"), NOW).now == TimeRange(MINUTE - DAY, MINUTE)
    assert windows_of(alert("threshold", period="24h"), NOW).before == ()
    for compare_with, shift in (
        ("previous_period", HOUR),
        ("previous_week", 7 * DAY),
        ("previous_month", 30 * DAY),
    ):
        windows = windows_of(alert("comparison", compare_with=compare_with), NOW)
        assert windows.now == TimeRange(MINUTE - HOUR, MINUTE)
        assert windows.before == (TimeRange(MINUTE - HOUR - shift, MINUTE - shift),)
    anomaly = windows_of(alert("anomaly"), NOW)
    hour = MINUTE.replace(minute=0)
    assert anomaly.now == TimeRange(hour - HOUR, hour)
    assert anomaly.before == tuple(
        TimeRange(hour - HOUR - days * DAY, hour - days * DAY) for days in range(1, PAST_DAYS + 1)
    )


@pytest.mark.parametrize(("kind", "hours"), [("threshold", 1), ("comparison", 24), ("anomaly", 6)])
def test_silence_afterwards(kind: str, hours: int) -> None:
    assert not is_silent(alert(kind), NOW)
    last = alert(kind, last_triggered_at=NOW)
    assert is_silent(last, NOW + timedelta(hours=hours, seconds=-1))
    assert not is_silent(last, NOW + timedelta(hours=hours))
    assert not is_silent(alert(kind, last_triggered_at=NOW, cooldown_seconds=60), NOW + timedelta(minutes=1))
