"""What came from each source of a project: when the last of it, and how much since an instant."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from schemas.instants import from_millis
from schemas.kept import SourceActivity
from schemas.selection import Selection
from schemas.windows import ALWAYS
from storage.query.engine import Cursor
from storage.query.lake import Lake
from storage.query.rows import Rows


def source_activity(
    cursor: Cursor, lake: Lake, project: int, sources: Sequence[str], since: datetime
) -> Mapping[str, SourceActivity]:
    """By source; one that nothing came from is not among them."""
    rows = Rows(lake, Selection(project, ALWAYS), {}, sees_sessions=False)
    bind = rows.parameters.bind
    found = cursor.rows(
        f"SELECT source, epoch_ms(max(received_at)), count(*) FILTER (timestamp >= {bind(since)} AND NOT is_system)"
        f" FROM ({rows.source()}) WHERE list_contains({bind(list(sources))}::VARCHAR[], source) GROUP BY source",
        rows.parameters.values,
    )
    return {source: SourceActivity(from_millis(last), today) for source, last, today in found}
