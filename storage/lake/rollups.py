"""Hourly partials of the events table, under application transactions of their own.

A partial says what one flush added to one project, hour and event. Counts add, people merge only
as sketches. Whatever the events table has and the rollups lack is computed again from its rows.
"""

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from storage.lake import snapshot
from storage.lake.columns import Chunk, countable, of_partitions
from storage.lake.commit import FencedTable, Span, Unclear
from storage.lake.tables import ROLLUPS
from storage.sketches import STORED_LG_K, People

_HOUR = 3_600_000_000  # us
_NAMES = ["project_id", "event", "distinct_id", "timestamp", "is_bot", "is_system"]


def partials(rows: Chunk) -> pa.Table:
    """One row for each project, hour and event of the countable rows."""
    table = countable(rows.select(_NAMES))
    # Whole numbers: to floor instants costs eight times as much.
    hours = np.floor_divide(table["timestamp"].cast(pa.int64()).to_numpy(), _HOUR)
    table = table.append_column("hour", pa.array(hours))
    groups = table.group_by(["project_id", "hour", "event"], use_threads=False).aggregate(
        [([], "count_all"), ("distinct_id", "list")]
    )
    hour = pa.array(groups["hour"].to_numpy() * _HOUR).view(ROLLUPS.field("hour").type)
    people = []
    for ids in groups["distinct_id_list"].to_pylist():
        sketch = People(STORED_LG_K)
        sketch.add(ids)
        people.append(sketch.to_bytes())
    size = len(groups)
    columns = {
        "project_id": groups["project_id"],
        "date": hour.cast(pa.date32()),
        "hour": hour,
        "event": groups["event"],
        "dimension": pa.repeat("", size),
        "value": pa.repeat("", size),
        "count": groups["count_all"],
        "sums": pa.nulls(size, pa.string()),
        "people": pa.array(people, pa.binary()),
        "lg_k": pa.repeat(pa.scalar(STORED_LG_K, pa.int32()), size),
    }
    return pa.table(columns, schema=ROLLUPS).sort_by(
        [("date", "ascending"), ("project_id", "ascending"), ("hour", "ascending")]
    )


def catch_up(
    rollups: FencedTable, events: FencedTable, covered: Mapping[int, Span], rows: Chunk | None
) -> Unclear | None:
    """Bring the rollups to `covered[p].next` of every partition, in one fenced commit.

    `rows` are those of the flush that moved the positions from `covered[p].held`; where the rollups
    do not stand exactly there (or `rows` is None) they are read from the events table, whose handle
    must be at a version that covers the positions.
    """
    spans: dict[int, Span] = {}
    chunks: list[Chunk] = []
    flushed: set[int] = set()
    for partition, span in covered.items():
        stood = rollups.position(partition)
        if stood is not None and stood >= span.next:
            continue
        spans[partition] = Span(stood, span.next)
        start = stood or 0
        if rows is not None and start == (span.held or 0):
            flushed.add(partition)
        else:
            chunks.append(stored_rows(events, partition, start, span.next))
    if not spans:
        return None
    if rows is not None and flushed:
        # All of them, as a rule, and then nothing is moved.
        few = rows.select([*_NAMES, "kafka_partition"])
        chunks.append(few if flushed == covered.keys() else of_partitions(few, flushed))
    table = partials(pa.concat_tables([chunk.select(_NAMES) for chunk in chunks], promote_options="default"))
    return rollups.append(table, spans, {}, json.dumps({"rollup": {p: [s.held, s.next] for p, s in spans.items()}}))


def stored_rows(events: FencedTable, partition: int, start: int, end: int) -> Chunk:
    """Rows of one partition of the log with start <= offset < end, from the version the handle is at."""
    pinned = snapshot.snapshot_of(
        events.table, "events", f"kafka_partition = {partition} AND kafka_offset >= {start} AND kafka_offset < {end}"
    )
    return snapshot.read(
        pinned,
        ", ".join(_NAMES),
        "kafka_log = ? AND kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?",
        [events.chain, partition, start, end],
    )
