"""Retention of a selection's people, from their first event and every bucket they were back in."""

from collections.abc import Mapping

from schemas.retention import Cohort, RetentionAnswer, RetentionQuestion
from storage.lake.sessions import IN_TIME, PLACE
from storage.query.buckets import bucketed
from storage.query.engine import Cursor
from storage.query.filters import filter_sql
from storage.query.lake import Lake
from storage.query.rows import Rows


def answer_retention(
    cursor: Cursor, lake: Lake, question: RetentionQuestion, aliases: Mapping[str, str]
) -> RetentionAnswer:
    """Whoever is born in a bucket counts in its size, back or not."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=False)
    born = filter_sql(question.born, rows.parameters)
    back = filter_sql(question.back, rows.parameters)
    chosen = rows.chosen(
        f"{IN_TIME}, person, ({born}) AS is_born, ({back}) AS is_back", also=f"person <> '' AND (({born}) OR ({back}))"
    )
    found = cursor.rows(
        f"""WITH {chosen},
        placed AS (
            SELECT person, is_born, is_back, (timestamp, {PLACE}) AS moment, bucket AS number
            FROM {bucketed("chosen", question.buckets, rows.parameters)}
        ),
        born AS (SELECT person, min(number) AS number, min(moment) AS moment FROM placed WHERE is_born GROUP BY person),
        back AS (
            SELECT person, number, max(moment) AS moment FROM placed WHERE is_back GROUP BY person, number
        )
        SELECT born.number, back.number - born.number AS later, count(*)
        FROM born JOIN back USING (person)
        WHERE back.number > born.number OR (back.number = born.number AND back.moment > born.moment)
        GROUP BY ALL
        UNION ALL SELECT number, NULL, count(*) FROM born GROUP BY number""",
        rows.parameters.values,
    )
    counts = {(number, later): people for number, later, people in found}
    size = len(question.buckets)
    cohorts = tuple(
        Cohort(
            bucket.label,
            counts.get((number, None), 0),
            tuple(counts.get((number, later), 0) for later in range(size - number)),
        )
        for number, bucket in enumerate(question.buckets)
    )
    return RetentionAnswer(cohorts, rows.version)
