"""Instants as integers of unix milliseconds, and their ISO 8601 text."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Events happen, and questions are about, what is from the first to before the last: the whole calendar but a margin,
# so that no time zone and no look at the month around leads out of it.
FIRST = datetime(1, 3, 1, tzinfo=UTC)
LAST = datetime(9999, 11, 1, tzinfo=UTC)
_FIRST = (FIRST - _EPOCH) // _MILLISECOND
_LAST = (LAST - _EPOCH) // _MILLISECOND


def to_millis(instant: datetime) -> int:
    """Unix milliseconds, finer parts cut off; a naive instant is taken as UTC."""
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - _EPOCH) // _MILLISECOND


def from_millis(millis: int) -> datetime:
    """The UTC instant of unix milliseconds; OverflowError outside the years 1 to 9999."""
    return _EPOCH + millis * _MILLISECOND


def parse_instant(text: str) -> int:
    """Unix milliseconds of an ISO 8601 date or date-time; without a zone it is UTC.

    A leap second (`:60`) is the first instant of the next minute. Raises ValueError, also for what is
    not from FIRST to before LAST.
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        if ":60" not in text:
            raise
        millis = to_millis(datetime.fromisoformat(text.replace(":60", ":59"))) + 1000
    else:
        # As `to_millis`, at half its cost: this runs for every event.
        since = (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)) - _EPOCH
        millis = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    if not _FIRST <= millis < _LAST:
        raise ValueError(f"instant out of range: {text!r}")
    return millis


def format_instant(millis: int) -> str:
    """ISO 8601 in UTC with `Z`; milliseconds only where they are not zero."""
    instant = from_millis(millis)
    timespec = "milliseconds" if millis % 1000 else "seconds"
    return instant.replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def format_millis(millis: int) -> str:
    """ISO 8601 in UTC with `Z`, always to the millisecond (the `receivedAt` of an answer)."""
    return from_millis(millis).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
