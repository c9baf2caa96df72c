"""Sessions one by one: a page of them, newest first, and one with its events."""

from collections.abc import Mapping
from datetime import timedelta

from schemas.answers import EventItem, raw_json
from schemas.instants import format_instant, from_millis, to_millis
from schemas.selection import Selection
from schemas.sessions import (
    SessionAnswer,
    SessionCursor,
    SessionItem,
    SessionPlace,
    SessionsAnswer,
    SessionsQuestion,
)
from schemas.windows import TimeRange
from storage.lake.sessions import IN_TIME
from storage.query.engine import Cursor, Row
from storage.query.lake import Lake
from storage.query.rows import Rows

_USER = {"user_id": "CASE WHEN identified_by = 'user' THEN person END"}
_ENTRY = {"referrer_domain": "referrer_domain", "country": "country", "device": "device"}
_ITEM = (
    "track, epoch_ms(timestamp), epoch_ms(ended), session_id, user_id, duration, pageviews, events, entry_path,"
    " exit_path, referrer_domain, country, device, is_bounce"
)
_MOST_EVENTS = 1000


def list_sessions(cursor: Cursor, lake: Lake, question: SessionsQuestion, aliases: Mapping[str, str]) -> SessionsAnswer:
    """One page and the number of all."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=True)
    bind = rows.parameters.bind
    ctes = rows.sessions(_USER | _ENTRY)
    who = "true" if question.user_id is None else f"person = {bind(aliases.get(question.user_id, question.user_id))}"
    after = "true"
    if question.after is not None:
        after = f"(timestamp, track) < ({bind(from_millis(question.after.began))}, {bind(question.after.track)})"
    found = cursor.rows(
        f"WITH {ctes}, listed AS (SELECT *, count(*) OVER () AS total FROM sessions WHERE {who})"
        f" SELECT {_ITEM}, total FROM listed WHERE {after} ORDER BY timestamp DESC, track DESC"
        f" LIMIT {question.limit + 1}",
        rows.parameters.values,
    )
    page = found[: question.limit]
    following = None
    if len(found) > question.limit:
        span = question.selection.span
        following = SessionCursor(to_millis(span.start), to_millis(span.end), page[-1][1], page[-1][0])
    return SessionsAnswer(tuple(map(_item, page)), found[0][-1] if found else 0, following, rows.version)


def find_session(
    cursor: Cursor, lake: Lake, project: int, place: SessionPlace, includes_bots: bool, aliases: Mapping[str, str]
) -> SessionAnswer | None:
    """The session that began there."""
    began = from_millis(place.began)
    span = TimeRange(began, began + timedelta(milliseconds=1))
    everything = Selection(project, span, includes_bots=includes_bots)
    rows = Rows(lake, everything, aliases, sees_sessions=True)
    track = rows.parameters.bind(place.track)
    found = cursor.rows(
        f"WITH {rows.sessions(_USER | _ENTRY)} SELECT {_ITEM} FROM sessions WHERE track = {track}",
        rows.parameters.values,
    )
    if not found:
        return None
    inside = Rows(lake, everything, aliases, sees_sessions=True)
    columns = {"event_id": "event_id", "properties": "properties", "source": "source"}
    ctes = inside.sessions(_USER | columns)
    events = cursor.rows(
        f"WITH {ctes} SELECT numbered.event_id, event, numbered.properties, numbered.user_id,"
        " epoch_ms(numbered.timestamp), numbered.source"
        f" FROM numbered JOIN (SELECT track, visit FROM sessions WHERE track = {inside.parameters.bind(place.track)})"
        f" USING (track, visit) WHERE NOT is_system ORDER BY {IN_TIME} LIMIT {_MOST_EVENTS}",
        inside.parameters.values,
    )
    return SessionAnswer(_item(found[0]), tuple(map(_event, events)), rows.version)


def _item(row: Row) -> SessionItem:
    track, began, ended, session_id, user_id, duration, *counts = row[:14]
    pageviews, events, entry, exit_, referrer, country, device, is_bounce = counts
    return SessionItem(
        SessionPlace(track, began).id,
        session_id or None,
        user_id,
        format_instant(began),
        format_instant(ended),
        round(duration),
        pageviews,
        events,
        entry,
        exit_,
        referrer,
        country,
        device,
        is_bounce,
    )


def _event(row: Row) -> EventItem:
    event_id, event, properties, user_id, timestamp, source = row
    return EventItem(event_id, event, raw_json(properties or "{}"), user_id, format_instant(timestamp), source)
