"""Sessions over time: by their id, else by 30 minutes of silence of a person."""

from datetime import timedelta

from schemas.questions import MetricQuestion
from schemas.windows import TimeRange
from storage.lake.snapshot import Snapshot, relation
from storage.query.buckets import bucket_rows
from storage.query.engine import Cursor
from storage.query.lake import DAWN, Lake, within

SILENCE = timedelta(minutes=30)
# How far back an unbroken visit without session ids is followed. One that lasts longer counts again.
LOOKBACK = timedelta(hours=24)

# System events extend a session and never make one: it counts in the bucket of its first ordinary event.
_FIRSTS = """
WITH visible AS (
    SELECT session_id, distinct_id, timestamp, is_system
    FROM {source} WHERE project_id = ? AND timestamp < ? AND date <= ? {bots}
),
named AS (
    SELECT min(timestamp) FILTER (NOT is_system) AS first FROM visible
    WHERE session_id IN (SELECT session_id FROM visible WHERE timestamp >= ? AND session_id <> '')
    GROUP BY session_id
),
visits AS (
    SELECT distinct_id, timestamp, is_system,
        count(*) FILTER (is_first) OVER (PARTITION BY distinct_id ORDER BY timestamp ROWS UNBOUNDED PRECEDING) AS visit
    FROM (
        SELECT distinct_id, timestamp, is_system,
            coalesce(timestamp - lag(timestamp) OVER persons > ?, true) AS is_first
        FROM visible WHERE coalesce(session_id, '') = '' AND distinct_id <> '' AND timestamp >= ?
        WINDOW persons AS (PARTITION BY distinct_id ORDER BY timestamp)
    )
),
silent AS (
    SELECT min(timestamp) FILTER (NOT is_system) AS first FROM visits GROUP BY distinct_id, visit
)
SELECT first AS timestamp FROM (SELECT first FROM named UNION ALL SELECT first FROM silent) WHERE first >= ?
"""


def count_sessions(cursor: Cursor, lake: Lake, question: MetricQuestion) -> tuple[list[int], Snapshot]:
    """How many sessions began in each bucket. An id may have begun at any time before the range."""
    span = question.span
    # All files up to the end: a named session that began long ago must not be counted again.
    snapshot = lake.snapshot("events", within(question.project, TimeRange(DAWN, span.end)))
    source, files = relation(snapshot)
    firsts = _FIRSTS.format(source=source, bots="" if question.includes_bots else "AND NOT is_bot")
    bound = [
        *files,
        question.project,
        span.end,
        span.end.date(),
        span.start,
        SILENCE,
        span.start - LOOKBACK,
        span.start,
    ]
    return bucket_rows(cursor, question.buckets, "count(*)", firsts, bound), snapshot
