"""How many events of bots were left out of an answer."""

from dataclasses import replace

from schemas.selection import Selection
from storage.query.engine import Cursor
from storage.query.lake import Lake
from storage.query.rows import Rows


def count_bots(cursor: Cursor, lake: Lake, selection: Selection) -> int:
    """Bot-flagged ordinary events of the selection's range and filters."""
    rows = Rows(lake, replace(selection, includes_bots=True), {}, sees_sessions=False)
    found = cursor.rows(
        f"WITH {rows.chosen('1 AS one', also='is_bot')} SELECT count(*) FROM chosen", rows.parameters.values
    )
    count: int = found[0][0]
    return count
