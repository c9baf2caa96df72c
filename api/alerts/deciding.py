"""When an alert goes off. Pure: figures in, a decision out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import ge, gt, le, lt
from statistics import fmean, pstdev
from typing import Final

from schemas.figures import change_percent
from schemas.kept import Alert
from schemas.windows import TimeRange

# An anomaly is what lies so many deviations from the same time of the days before.
DEVIATIONS: Final = {"low": 3.0, "medium": 2.5, "high": 2.0}
# Days that are looked back to, and how many of them must be known.
PAST_DAYS: Final = 14
LEAST_PAST: Final = 7
# Quiet series hardly deviate: a tenth of the mean, and one, are never an anomaly by themselves.
_LEAST_SHARE: Final = 0.1
_LEAST_DEVIATION: Final = 1.0

_COMPARE: Final = {">": gt, "<": lt, ">=": ge, "<=": le}
_LENGTHS: Final = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}
_SHIFTS: Final = {"previous_week": timedelta(days=7), "previous_month": timedelta(days=30)}


@dataclass(frozen=True, slots=True)
class Windows:
    """The time whose figure is looked at, and the times it is compared with, the latest first."""

    now: TimeRange
    before: tuple[TimeRange, ...] = ()


def windows_of(alert: Alert, now: datetime) -> Windows:
    """The last period up to this minute; of an anomaly up to the last full hour, so that it is asked once an hour."""
    length = _LENGTHS[alert.period]
    end = now.replace(second=0, microsecond=0)
    if alert.type == "anomaly":
        end = end.replace(minute=0)
    span = TimeRange(end - length, end)
    if alert.type == "comparison":
        return Windows(span, (_shifted(span, _SHIFTS.get(alert.compare_with or "", length)),))
    if alert.type == "anomaly":
        return Windows(span, tuple(_shifted(span, timedelta(days=day)) for day in range(1, PAST_DAYS + 1)))
    return Windows(span)


def is_silent(alert: Alert, now: datetime) -> bool:
    """Whether it went off so lately that it must not again."""
    last = alert.last_triggered_at
    return last is not None and now < last + timedelta(seconds=alert.cooldown)


def decide(alert: Alert, figure: float, before: Sequence[float] = ()) -> bool:
    """Whether it goes off at a figure; `before` are those of the windows before, as many as are known.

    A comparison is of percent: `> 50` where the figure rose by more than half, `< 50` where it fell by more than
    half; from nothing there is no percentage.
    """
    match alert.type:
        case "threshold":
            return alert.threshold is not None and bool(_COMPARE[alert.operator or ">"](figure, alert.threshold))
        case "comparison":
            change = change_percent(before[0], figure) if before else None
            if change is None or alert.threshold is None:
                return False
            limit = abs(alert.threshold)
            return change < -limit if alert.operator == "<" else change > limit
        case "anomaly":
            if len(before) < LEAST_PAST:
                return False
            mean = fmean(before)
            deviation = max(pstdev(before), _LEAST_SHARE * abs(mean), _LEAST_DEVIATION)
            return abs(figure - mean) > DEVIATIONS[alert.sensitivity] * deviation


def _shifted(span: TimeRange, shift: timedelta) -> TimeRange:
    return TimeRange(span.start - shift, span.end - shift)
