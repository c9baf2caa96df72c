"""The service's checks of itself: one a minute, kept for 90 days, told by day."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from storage.meta.engine import Metadata
from storage.meta.models import checks

PERIOD_SECONDS = 60
KEPT = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Check:
    """One look: when, whether all was well, and how long the look took."""

    at: datetime
    is_ok: bool
    latency_ms: int


@dataclass(frozen=True, slots=True)
class CheckedDay:
    """The checks of a UTC day together."""

    day: date
    total: int
    ok: int
    mean_latency_ms: float

    @property
    def uptime_percent(self) -> float:
        """Good checks of all, with two decimals."""
        return round(100 * self.ok / self.total, 2)


def record_check(metadata: Metadata, check: Check) -> bool:
    """Store the check of its minute and drop those that are too old; False where another process was first."""
    minute = int(check.at.timestamp()) // PERIOD_SECONDS
    oldest = int((check.at - KEPT).timestamp()) // PERIOD_SECONDS
    try:
        with metadata.write() as connection:
            connection.execute(checks.delete().where(checks.c.minute < oldest))
            row = {"minute": minute, "is_ok": check.is_ok, "latency_ms": check.latency_ms}
            connection.execute(checks.insert().values(row))
    except IntegrityError:
        return False
    return True


def latest_check(metadata: Metadata) -> Check | None:
    """The last one stored."""
    with metadata.read() as connection:
        row = connection.execute(select(checks).order_by(checks.c.minute.desc()).limit(1)).one_or_none()
    return None if row is None else Check(_instant(row.minute), row.is_ok, row.latency_ms)


def checked_days(metadata: Metadata, days: int, now: datetime) -> list[CheckedDay]:
    """The last days that have checks, today with them, in order."""
    first = now.astimezone(UTC).date() - timedelta(days=days - 1)
    since = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()) // PERIOD_SECONDS
    by_day: dict[date, list[tuple[bool, int]]] = {}
    with metadata.read() as connection:
        for row in connection.execute(select(checks).where(checks.c.minute >= since).order_by(checks.c.minute)):
            by_day.setdefault(_instant(row.minute).date(), []).append((row.is_ok, row.latency_ms))
    return [
        CheckedDay(day, len(found), sum(ok for ok, _ in found), sum(latency for _, latency in found) / len(found))
        for day, found in by_day.items()
    ]


def _instant(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * PERIOD_SECONDS, UTC)
