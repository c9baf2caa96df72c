"""The figures of a selection by the values of one dimension.

How somebody came and where is a fact of the session, so these dimensions are those of its entry;
all others are the event's own, and a session counts for every value that its chosen events have.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.answers import EXACT
from schemas.figures import BreakdownAnswer, BreakdownQuestion, BreakdownRow, percentage
from storage.lake.tables import EVENTS
from storage.query.bots import count_bots
from storage.query.engine import Cursor
from storage.query.fields import field_sql
from storage.query.lake import Lake
from storage.query.rows import Rows

# Dimensions of a session, and the column of `sessions` that holds them.
OF_SESSIONS = {
    "entryPath": "entry_path",
    "exitPath": "exit_path",
    "referrer": "referrer_domain",
    "channel": "channel",
    "utm_source": "utm_source",
    "utm_medium": "utm_medium",
    "utm_campaign": "utm_campaign",
    "utm_term": "utm_term",
    "utm_content": "utm_content",
}
SORTS = {
    "value": "value",
    "visitors": "visitors",
    "pageviews": "pageviews",
    "events": "events",
    "sessions": "sessions",
    "bounceRate": "bounce_rate",
    "avgSessionDuration": "duration",
}
_BY_SESSION = """
SELECT {value} AS value, count(DISTINCT person) FILTER (person <> '') AS visitors, sum(pageviews) AS pageviews,
    sum(events) AS events, count(*) AS sessions, count(*) FILTER (is_bounce) AS bounces, avg(duration) AS duration
FROM sessions WHERE {value} IS NOT NULL GROUP BY ALL
"""
_BY_EVENT = """
SELECT value, visitors, pageviews, events, coalesce(sessions, 0) AS sessions, coalesce(bounces, 0) AS bounces,
    coalesce(duration, 0) AS duration
FROM (
    SELECT value, count(DISTINCT person) FILTER (person <> '') AS visitors,
        count(*) FILTER (is_pageview) AS pageviews, count(*) AS events
    FROM seen WHERE is_chosen GROUP BY ALL
) AS counted LEFT JOIN (
    SELECT value, count(*) AS sessions, count(*) FILTER (is_bounce) AS bounces, avg(duration) AS duration
    FROM (SELECT DISTINCT value, track, visit FROM numbered WHERE is_chosen)
    JOIN (SELECT track, visit, is_bounce, duration FROM sessions) AS known USING (track, visit) GROUP BY value
) AS begun USING (value) WHERE value IS NOT NULL
"""


def answer_breakdown(
    cursor: Cursor, lake: Lake, question: BreakdownQuestion, aliases: Mapping[str, str]
) -> BreakdownAnswer:
    """A page of the dimension's values. `path` counts pageviews alone, as every list of pages does."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=True)
    is_text = question.sort == "value"
    found = cursor.rows(
        f"{_grouped(rows, question.dimension)}"
        f" ORDER BY {SORTS[question.sort]} {'ASC' if is_text else 'DESC'} NULLS LAST, value"
        f" LIMIT {question.limit} OFFSET {question.offset}",
        rows.parameters.values,
    )
    listed = tuple(map(_row, found))
    return BreakdownAnswer(
        listed,
        # Beyond the last page nobody says how many there are.
        found[0][-1] if found else _count(cursor, lake, question, aliases) if question.offset else 0,
        count_bots(cursor, lake, question.selection),
        EXACT,
        rows.version,
        _other(cursor, lake, question, aliases, [row.value for row in listed]) if question.with_other else None,
    )


def _grouped(rows: Rows, dimension: str, without: Sequence[str] | None = None) -> str:
    """A SELECT of one row a value; instead of the values in `without`, one row for all others."""
    column = OF_SESSIONS.get(dimension)
    if column is not None:
        ctes = rows.sessions({column: column} if column in EVENTS.names else {})
        grouped = _BY_SESSION.format(value=_rest(column, without, rows))
    else:
        field = field_sql(dimension, rows.parameters)
        value = f"CASE WHEN is_pageview THEN {field} END" if dimension == "path" else field
        ctes, grouped = rows.sessions({"value": _rest(value, without, rows)}), _BY_EVENT
    return f"WITH {ctes} SELECT *, bounces / sessions AS bounce_rate, count(*) OVER () FROM ({grouped})"


def _rest(value: str, without: Sequence[str] | None, rows: Rows) -> str:
    if without is None:
        return value
    listed = rows.parameters.bind(list(without))
    return f"CASE WHEN ({value}) IS NOT NULL AND NOT list_contains({listed}::VARCHAR[], {value}) THEN 'other' END"


def _other(
    cursor: Cursor, lake: Lake, question: BreakdownQuestion, aliases: Mapping[str, str], listed: Sequence[str]
) -> BreakdownRow | None:
    rows = Rows(lake, question.selection, aliases, sees_sessions=True)
    found = cursor.rows(_grouped(rows, question.dimension, listed), rows.parameters.values)
    return _row(found[0]) if found else None


def _count(cursor: Cursor, lake: Lake, question: BreakdownQuestion, aliases: Mapping[str, str]) -> int:
    rows = Rows(lake, question.selection, aliases, sees_sessions=True)
    found = cursor.rows(f"{_grouped(rows, question.dimension)} LIMIT 1", rows.parameters.values)
    return found[0][-1] if found else 0


def _row(found: tuple[Any, ...]) -> BreakdownRow:
    value, visitors, pageviews, events, sessions, bounces, duration = found[:7]
    return BreakdownRow(
        value, visitors, int(pageviews), int(events), sessions, percentage(bounces, sessions), round(duration)
    )
