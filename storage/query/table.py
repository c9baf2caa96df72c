"""The newest events of a selection, with the columns that were asked for."""

from collections.abc import Mapping

from schemas.table import MAX_ROWS, TableAnswer, TableQuestion
from storage.lake.sessions import IN_TIME
from storage.query.engine import Cursor
from storage.query.fields import field_sql
from storage.query.lake import Lake
from storage.query.rows import Rows


def answer_table(cursor: Cursor, lake: Lake, question: TableQuestion, aliases: Mapping[str, str]) -> TableAnswer:
    """At most MAX_ROWS."""
    rows = Rows(lake, question.selection, aliases, sees_sessions=False)
    cells = [
        "epoch_ms(timestamp)" if name == "timestamp" else field_sql(name, rows.parameters) for name in question.columns
    ]
    named = ", ".join(f"{cell} AS c{place}" for place, cell in enumerate(cells))
    newest = ", ".join(f"{column} DESC" for column in IN_TIME.split(", "))
    wanted = ", ".join(f"c{place}" for place in range(len(cells)))
    found = cursor.rows(
        f"WITH {rows.chosen(f'{IN_TIME}, {named}')} SELECT {wanted} FROM chosen ORDER BY {newest}"
        f" LIMIT {min(question.limit, MAX_ROWS)}",
        rows.parameters.values,
    )
    return TableAnswer(tuple(found), rows.version)
