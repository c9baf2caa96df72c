"""Goals over a selection: events that reach one, or sessions that last long enough."""

from collections.abc import Mapping, Sequence
from functools import partial

from schemas.goals import Conversion, GoalAnswer, GoalQuestion
from storage.lake.sessions import PLACE
from storage.lake.tables import EVENTS
from storage.query.bots import count_bots
from storage.query.breakdown import OF_SESSIONS
from storage.query.buckets import measured
from storage.query.engine import Cursor, Row
from storage.query.fields import field_sql
from storage.query.filters import filter_sql
from storage.query.lake import Lake
from storage.query.rows import Rows

_CONVERSION = (
    "coalesce(sum(completions), 0)::BIGINT",
    "count(DISTINCT person) FILTER (person <> '')",
    "count(DISTINCT person) FILTER (person <> '' AND completions > 0)",
)
_MEASURES = (*_CONVERSION, "coalesce(sum(value), 0)")


def answer_goal(cursor: Cursor, lake: Lake, question: GoalQuestion, aliases: Mapping[str, str]) -> GoalAnswer:
    """Exact; a rate is of all visitors of the selection, whatever they did."""
    rows = _rows(lake, question, aliases)
    found = measured(cursor, _reached(rows, question), "reached", _MEASURES, question.buckets, rows.parameters)
    *total, value = found.get(None, (0, 0, 0, 0.0))
    series = tuple(
        Conversion(bucket.label, *found.get(at, (0, 0, 0))[:3]) for at, bucket in enumerate(question.buckets)
    )
    top = partial(_top, cursor, lake, question, aliases)
    sources, pages, values = (
        ([], [], top("part")) if question.dimension is not None else (top("source"), top("path"), [])
    )
    return GoalAnswer(
        Conversion("", *total),
        float(value),
        series,
        _conversions(sources),
        _conversions(pages),
        _conversions(values),
        values[0][4] if values else 0,
        count_bots(cursor, lake, question.selection),
        rows.version,
    )


def _rows(lake: Lake, question: GoalQuestion, aliases: Mapping[str, str]) -> Rows:
    return Rows(lake, question.selection, aliases, sees_sessions=True)


def _reached(rows: Rows, question: GoalQuestion) -> str:
    """CTEs to `reached`: chosen rows with their page, their session's source, and what they complete.

    A session that lasts long enough completes at its first chosen event. Events of no session count too: those of
    nobody, and those of an id that is heard for more than a day.
    """
    bind = rows.parameters.bind
    attributes, of_session, of_event = _attributes(rows, question.dimension)
    if question.reached is not None:
        attributes["is_reached"] = f"({filter_sql(question.reached, rows.parameters)})"
        attributes["own_value"] = "TRY_CAST(properties ->> '/value' AS DOUBLE)"
        completes, value = "is_reached", f"coalesce(own_value, {bind(question.value)})"
    else:
        is_first = "row_number() OVER (PARTITION BY track, visit ORDER BY timestamp, kafka_partition, kafka_offset) = 1"
        completes, value = f"duration >= {bind(question.seconds)} AND {is_first}", bind(question.value)
    return f"""{rows.sessions(attributes)},
    begun AS (SELECT track, visit, duration, {of_session} FROM sessions),
    completing AS (
        SELECT seen.*, begun.* EXCLUDE (track, visit, duration), coalesce({completes}, false) AS completes
        FROM (SELECT *, NULL AS visit FROM seen ANTI JOIN numbered USING ({PLACE}) WHERE is_chosen
              UNION ALL BY NAME SELECT * FROM numbered WHERE is_chosen) AS seen
        LEFT JOIN begun USING (track, visit)
    ),
    reached AS (
        SELECT timestamp, person, {of_event}, completes::INTEGER AS completions,
            CASE WHEN completes THEN {value} ELSE 0 END AS value
        FROM completing
    )"""


def _attributes(rows: Rows, dimension: str | None) -> tuple[dict[str, str], str, str]:
    """What is kept of each row, what each session says of itself, and what is said of a completion."""
    if dimension is None:
        return {"referrer_domain": "referrer_domain"}, "referrer_domain AS source", "path, source"
    if (column := OF_SESSIONS.get(dimension)) is not None:
        return {column: column} if column in EVENTS.names else {}, f"{column} AS part", "part"
    return {"own_part": field_sql(dimension, rows.parameters)}, "NULL AS nothing", "own_part AS part"


def _top(cursor: Cursor, lake: Lake, question: GoalQuestion, aliases: Mapping[str, str], name: str) -> list[Row]:
    rows = _rows(lake, question, aliases)
    completions, visitors, people = _CONVERSION
    having, then = ("sum(completions) > 0", name) if question.dimension is None else ("true", f"visitors DESC, {name}")
    return cursor.rows(
        f"WITH {_reached(rows, question)} SELECT {name}, {completions} AS completions, {visitors} AS visitors,"
        f" {people}, count(*) OVER () FROM reached WHERE {name} IS NOT NULL GROUP BY {name} HAVING {having}"
        f" ORDER BY sum(completions) DESC, {then} LIMIT {question.top}",
        rows.parameters.values,
    )


def _conversions(found: Sequence[Row]) -> tuple[Conversion, ...]:
    return tuple(Conversion(*row[:4]) for row in found)
