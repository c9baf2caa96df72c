"""What came before and after, within sessions."""

from collections.abc import Mapping

from schemas.paths import Direction, PathsAnswer, PathsQuestion, SessionPath
from storage.lake.sessions import IN_TIME
from storage.query.engine import Cursor
from storage.query.fields import field_sql
from storage.query.filters import filter_sql
from storage.query.lake import Lake
from storage.query.rows import Rows


def answer_paths(cursor: Cursor, lake: Lake, question: PathsQuestion, aliases: Mapping[str, str]) -> PathsAnswer:
    """One path for each session that began in the range and holds the anchor."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=True)
    is_after = question.direction is Direction.AFTER
    anchor = filter_sql(question.anchor, rows.parameters)
    sessions = rows.sessions({"value": field_sql(question.dimension, rows.parameters), "is_anchor": f"({anchor})"})
    side = f"ORDER BY {IN_TIME} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    if not is_after:
        side = f"ORDER BY {IN_TIME} ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"
    length = rows.parameters.bind(question.length + 1)
    taken = f"steps[:{length}]" if is_after else f"steps[-{length}:]"
    found = cursor.rows(
        f"""WITH {sessions},
        near AS (
            SELECT track, visit, value, {IN_TIME}, bool_or(is_anchor) OVER (PARTITION BY track, visit {side}) AS is_near
            FROM numbered SEMI JOIN (SELECT track, visit FROM sessions) USING (track, visit)
            WHERE NOT is_system AND value IS NOT NULL
        ),
        changes AS (
            SELECT *, value IS DISTINCT FROM lag(value) OVER (PARTITION BY track, visit ORDER BY {IN_TIME}) AS is_new
            FROM near WHERE is_near
        ),
        walked AS (SELECT list(value ORDER BY {IN_TIME}) AS steps FROM changes WHERE is_new GROUP BY track, visit)
        SELECT {taken} AS path, count(*), sum(count(*)) OVER () FROM walked
        GROUP BY path ORDER BY count(*) DESC, path LIMIT {question.limit}""",
        rows.parameters.values,
    )
    paths = tuple(SessionPath(tuple(path), count) for path, count, _ in found)
    return PathsAnswer(paths, int(found[0][2]) if found else 0, rows.version)
