"""The hours of a project as rollups have them; counts of a day whose files are the same are not read again."""

from datetime import UTC, date, datetime, time, timedelta

from schemas.instants import from_millis, to_millis
from schemas.selection import Selection
from schemas.windows import TimeRange
from storage.lake.snapshot import Snapshot, relation
from storage.query.engine import Cursor, Row
from storage.query.lake import Lake, within
from storage.query.partials import FilesByDate, Partials
from storage.query.planner import event_of

# The rule of schemas.kinds, over names as they are stored.
_PAGEVIEW = "lower(regexp_replace(event, '[$_ -]', '', 'g')) IN ('pageview', 'pageviewed')"


def hourly_people(cursor: Cursor, lake: Lake, selection: Selection, span: TimeRange) -> list[Row]:
    """(unix ms, sketch) of every partial in a range of whole hours."""
    snapshot = lake.snapshot("rollups", within(selection.project, span, "hour"))
    return _rows(cursor, snapshot, selection, span, "epoch_ms(hour), people")


def hourly_counts(
    cursor: Cursor, lake: Lake, selection: Selection, span: TimeRange, kept: Partials, *, is_pageview: bool
) -> list[Row]:
    """(unix ms, count) of the hours of a range that have some."""
    whole = TimeRange(_midnight(span.start.date()), _midnight(span.end.date()) + timedelta(days=1))
    snapshot = lake.snapshot("rollups", within(selection.project, whole, "hour"))
    days = FilesByDate(snapshot.files).each()
    about = ("hours", selection.project, event_of(selection.filters), is_pageview)
    known = {day: kept.get((*about, day), made_of, None) for day, made_of in days.items()}
    missing = [day for day, hours in known.items() if hours is None]
    if missing:
        few = Snapshot("rollups", snapshot.version, tuple(file for day in missing for file in days[day]))
        more = f"{_PAGEVIEW if is_pageview else 'true'} GROUP BY hour"
        read: dict[date, list[Row]] = {day: [] for day in missing}
        for row in _rows(cursor, few, selection, whole, "epoch_ms(hour), sum(count)::BIGINT", more):
            read[from_millis(row[0]).date()].append(row)
        for day, hours in read.items():
            known[day] = tuple(hours)
            kept.put((*about, day), days[day], None, tuple(hours))
    start, end = to_millis(span.start), to_millis(span.end)
    return [row for hours in known.values() for row in hours or () if start <= row[0] < end]


def _rows(
    cursor: Cursor, snapshot: Snapshot, selection: Selection, span: TimeRange, columns: str, more: str = "true"
) -> list[Row]:
    source, files = relation(snapshot)
    event = event_of(selection.filters)
    named, bound = ("true", []) if event is None else ("event = ?", [event])
    return cursor.rows(
        f"SELECT {columns} FROM {source} WHERE project_id = ? AND date >= ? AND date <= ? AND hour >= ? AND hour < ?"
        f" AND dimension = '' AND {named} AND {more}",
        [*files, selection.project, span.start.date(), span.end.date(), span.start, span.end, *bound],
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
