"""The figures of a selection by the values of one dimension.

How somebody came and where is a fact of the session, so these dimensions are those of its entry;
all others are the event's own, and a session counts for every value that its chosen events have.
"""

from collections.abc import Mapping
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
SELECT {name} AS value, count(DISTINCT person) FILTER (person <> '') AS visitors, sum(pageviews) AS pageviews,
    sum(events) AS events, count(*) AS sessions, count(*) FILTER (is_bounce) AS bounces, avg(duration) AS duration
FROM sessions WHERE {name} IS NOT NULL GROUP BY ALL
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
    column = OF_SESSIONS.get(question.dimension)
    if column is not None:
        ctes = rows.sessions({column: column} if column in EVENTS.names else {})
        grouped = _BY_SESSION.format(name=column)
    else:
        field = field_sql(question.dimension, rows.parameters)
        is_page = question.dimension == "path"
        ctes = rows.sessions({"value": f"CASE WHEN is_pageview THEN {field} END" if is_page else field})
        grouped = _BY_EVENT
    found = cursor.rows(
        f"WITH {ctes} SELECT *, bounces / sessions AS bounce_rate, count(*) OVER () FROM ({grouped})"
        f" ORDER BY {SORTS[question.sort]} {'ASC' if question.sort == 'value' else 'DESC'} NULLS LAST, value"
        f" LIMIT {question.limit} OFFSET {question.offset}",
        rows.parameters.values,
    )
    total = found[0][-1] if found else 0
    bots = count_bots(cursor, lake, question.selection)
    return BreakdownAnswer(tuple(map(_row, found)), total, bots, EXACT, rows.version)


def _row(found: tuple[Any, ...]) -> BreakdownRow:
    value, visitors, pageviews, events, sessions, bounces, duration = found[:7]
    return BreakdownRow(
        value, visitors, int(pageviews), int(events), sessions, percentage(bounces, sessions), round(duration)
    )
