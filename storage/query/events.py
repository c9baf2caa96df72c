"""Single events: a page of them, newest first, and one by its id."""

from collections.abc import Mapping

from schemas.answers import EventDetail, EventItem, EventsAnswer, raw_json
from schemas.instants import format_instant, format_millis, from_millis, to_millis
from schemas.listing import EventCursor, EventsQuestion
from schemas.selection import Selection
from storage.lake.snapshot import relation
from storage.query.engine import Cursor, Row
from storage.query.lake import Lake
from storage.query.rows import Rows

_ITEM = "event_id, event, properties, distinct_id, identified_by, epoch_ms(timestamp) AS at, source"
_PLACE = "kafka_partition, kafka_offset, record_index"
# A total order: no two rows share a place in the log, so a cursor meets every row once.
_NEWEST = "ORDER BY timestamp DESC, kafka_partition DESC, kafka_offset DESC, record_index DESC"


def list_events(cursor: Cursor, lake: Lake, question: EventsQuestion, aliases: Mapping[str, str]) -> EventsAnswer:
    """One page and the count of all events that match, from one version of the lake."""
    rows = _matching(lake, question, aliases)
    chosen = rows.chosen("1 AS one", also=_conditions(question, rows, aliases))
    total: int = cursor.rows(f"WITH {chosen} SELECT count(*) FROM chosen", rows.parameters.values)[0][0]
    rows = _matching(lake, question, aliases)
    also = _conditions(question, rows, aliases)
    if question.after is not None:
        after = question.after
        place = (from_millis(after.timestamp), after.partition, after.offset, after.index)
        also += f" AND (timestamp, {_PLACE}) < ({', '.join(map(rows.parameters.bind, place))})"
    # One row more than asked for tells whether a page follows.
    found = cursor.rows(
        f"WITH {rows.chosen(f'{_ITEM}, {_PLACE}, timestamp', also=also)} SELECT * EXCLUDE (timestamp) FROM chosen"
        f" {_NEWEST} LIMIT {question.limit + 1}",
        rows.parameters.values,
    )
    page = found[: question.limit]
    following = _cursor(question, page[-1]) if len(found) > question.limit else None
    return EventsAnswer(tuple(map(_item, page)), total, following, rows.version)


def find_event(cursor: Cursor, lake: Lake, project: int, event_id: str) -> EventDetail | None:
    """The first stored event of this id, whatever it is (bots and system events too)."""
    snapshot = lake.snapshot("events", f"project_id = {project}")
    source, files = relation(snapshot)
    rows = cursor.rows(
        f"SELECT {_ITEM}, {_PLACE}, session_id, context, epoch_ms(received_at) FROM {source}"
        " WHERE project_id = ? AND event_id = ? ORDER BY received_at, kafka_partition, kafka_offset LIMIT 1",
        [*files, project, event_id],
    )
    if not rows:
        return None
    partition, offset, index, session_id, context, received = rows[0][7:]
    item = _item(rows[0])
    return EventDetail(
        event_id=item.event_id,
        state="in_lake",
        partition=partition,
        offset=offset,
        index=index,
        lake_version=snapshot.version,
        event=item.event,
        properties=item.properties,
        user_id=item.user_id,
        timestamp=item.timestamp,
        source=item.source,
        session_id=session_id,
        context=None if context is None else raw_json(context),
        received_at=format_millis(received),
    )


def _matching(lake: Lake, question: EventsQuestion, aliases: Mapping[str, str]) -> Rows:
    selection = Selection(question.project, question.span, question.filters, question.includes_bots)
    return Rows(lake, selection, aliases, sees_sessions=False)


def _conditions(question: EventsQuestion, rows: Rows, aliases: Mapping[str, str]) -> str:
    found = ["true"] if question.user_id is None else ["identified_by = 'user'"]
    for column, value in (
        ("event", question.event),
        ("distinct_id", question.user_id),
        ("session_id", question.session_id),
        ("source", question.source),
        ("person", None if question.person is None else aliases.get(question.person, question.person)),
    ):
        if value is not None:
            found.append(f"{column} = {rows.parameters.bind(value)}")
    return " AND ".join(found)


def _item(row: Row) -> EventItem:
    event_id, event, properties, distinct_id, identified_by, timestamp, source = row[:7]
    return EventItem(
        event_id=event_id,
        event=event,
        properties=raw_json(properties or "{}"),
        user_id=distinct_id if identified_by == "user" else None,
        timestamp=format_instant(timestamp),
        source=source,
    )


def _cursor(question: EventsQuestion, row: Row) -> EventCursor:
    span = question.span
    return EventCursor(to_millis(span.start), to_millis(span.end), row[5], *row[7:10])
