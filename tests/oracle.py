"""The same answers in plain Python over lists of rows, to hold queries against."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, tzinfo

from schemas.instants import from_millis
from schemas.rows import Row
from schemas.windows import Interval, TimeRange


def label(instant: datetime, interval: Interval, zone: tzinfo) -> str:
    """The bucket an instant is in, for zones of whole and half hours alike."""
    local = instant.astimezone(zone)
    match interval:
        case Interval.HOUR:
            begun = instant - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
            return begun.strftime("%Y-%m-%dT%H:%M:%SZ")
        case Interval.DAY:
            return local.date().isoformat()
        case Interval.WEEK:
            return (local.date() - timedelta(days=local.weekday())).isoformat()
        case Interval.MONTH:
            return local.date().replace(day=1).isoformat()


def is_counted(row: Row, project: int) -> bool:
    """Whether numbers and lists know the row at all."""
    return row.project_id == project and not row.web.is_bot and not row.is_system


def listed(rows: Iterable[Row], project: int, span: TimeRange) -> list[Row]:
    """The events of a project in the order of the list."""
    found = [row for row in rows if is_counted(row, project) and span.start <= from_millis(row.timestamp) < span.end]
    return sorted(
        found, key=lambda row: (row.timestamp, row.kafka_partition, row.kafka_offset, row.record_index), reverse=True
    )


def events_count(rows: Iterable[Row], project: int, span: TimeRange, name: Callable[[datetime], str]) -> dict[str, int]:
    """Events by bucket; `name` labels an instant."""
    counts: dict[str, int] = {}
    for row in listed(rows, project, span):
        bucket = name(from_millis(row.timestamp))
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


def unique_users(rows: Iterable[Row], project: int, span: TimeRange, name: Callable[[datetime], str]) -> dict[str, int]:
    """Distinct people by bucket."""
    people: dict[str, set[str]] = {}
    for row in listed(rows, project, span):
        if row.distinct_id:
            people.setdefault(name(from_millis(row.timestamp)), set()).add(row.distinct_id)
    return {bucket: len(ids) for bucket, ids in people.items()}
