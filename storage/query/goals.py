"""Goals over a selection: events that reach one, or sessions that last long enough."""

from collections.abc import Mapping

from schemas.goals import Conversion, GoalAnswer, GoalQuestion
from storage.query.buckets import measured
from storage.query.engine import Cursor, Row
from storage.query.filters import filter_sql
from storage.query.lake import Lake
from storage.query.rows import Rows

_MEASURES = (
    "coalesce(sum(completions), 0)::BIGINT",
    "count(DISTINCT person) FILTER (person <> '')",
    "count(DISTINCT person) FILTER (person <> '' AND completions > 0)",
    "coalesce(sum(value), 0)",
)


def answer_goal(cursor: Cursor, lake: Lake, question: GoalQuestion, aliases: Mapping[str, str]) -> GoalAnswer:
    """Exact; a rate is of all visitors of the selection, whatever they did."""
    rows = _rows(lake, question, aliases)
    found = measured(cursor, _reached(rows, question), "reached", _MEASURES, question.buckets, rows.parameters)
    completions, visitors, people, value = found.get(None, (0, 0, 0, 0.0))
    series = tuple(Conversion(bucket.label, *found.get(at, (0, 0))[:2]) for at, bucket in enumerate(question.buckets))
    sources = _top(cursor, lake, question, aliases, "source")
    pages = _top(cursor, lake, question, aliases, "path")
    return GoalAnswer(Conversion("", completions, visitors), people, float(value), series, sources, pages, rows.version)


def _rows(lake: Lake, question: GoalQuestion, aliases: Mapping[str, str]) -> Rows:
    return Rows(lake, question.selection, aliases, sees_sessions=True)


def _reached(rows: Rows, question: GoalQuestion) -> str:
    """CTEs to `reached`: chosen rows with their page, their session's source, and what they complete.

    A session that lasts long enough completes at its first chosen event.
    """
    bind = rows.parameters.bind
    attributes = {"referrer_domain": "referrer_domain"}
    if question.reached is not None:
        attributes["is_reached"] = f"({filter_sql(question.reached, rows.parameters)})"
        attributes["own_value"] = "TRY_CAST(properties ->> '/value' AS DOUBLE)"
        completes, value = "is_reached", f"coalesce(own_value, {bind(question.value)})"
    else:
        is_first = "row_number() OVER (PARTITION BY track, visit ORDER BY timestamp, kafka_partition, kafka_offset) = 1"
        completes, value = f"duration >= {bind(question.seconds)} AND {is_first}", bind(question.value)
    return f"""{rows.sessions(attributes)},
    begun AS (SELECT track, visit, duration, referrer_domain AS source FROM sessions),
    completing AS (
        SELECT seen.*, source, coalesce({completes}, false) AS completes
        FROM (SELECT *, NULL AS visit FROM seen WHERE is_chosen AND track IS NULL
              UNION ALL BY NAME SELECT * FROM numbered WHERE is_chosen) AS seen
        LEFT JOIN begun USING (track, visit)
    ),
    reached AS (
        SELECT timestamp, person, path, source, completes::INTEGER AS completions,
            CASE WHEN completes THEN {value} ELSE 0 END AS value
        FROM completing
    )"""


def _top(
    cursor: Cursor, lake: Lake, question: GoalQuestion, aliases: Mapping[str, str], name: str
) -> tuple[Conversion, ...]:
    rows = _rows(lake, question, aliases)
    found: list[Row] = cursor.rows(
        f"WITH {_reached(rows, question)} SELECT {name}, sum(completions)::BIGINT AS completions,"
        f" count(DISTINCT person) FILTER (person <> '') FROM reached WHERE {name} IS NOT NULL"
        f" GROUP BY {name} HAVING completions > 0 ORDER BY completions DESC, {name} LIMIT {question.top}",
        rows.parameters.values,
    )
    return tuple(Conversion(*row) for row in found)
