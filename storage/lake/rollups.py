"""Hourly partials of the events table, under application transactions of their own.

A partial says what one flush added to one project, hour and event. Counts add, people merge only
as sketches. Whatever the events table has and the rollups lack is computed again from its rows.
"""

import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from storage.lake import snapshot
from storage.lake.columns import Chunk, countable, of_partition
from storage.lake.commit import FencedTable, Span, Unclear
from storage.lake.tables import ROLLUPS
from storage.sketches import STORED_LG_K, People

_COLUMNS = "project_id, event, distinct_id, timestamp, is_bot, is_system, kafka_partition, kafka_offset"


def partials(rows: Chunk) -> pa.Table:
    """One row for each project, hour and event of the countable rows."""
    table = countable(rows.select(["project_id", "event", "distinct_id", "timestamp", "is_bot", "is_system"]))
    table = table.append_column("hour", pc.floor_temporal(table["timestamp"], unit="hour"))
    groups = table.group_by(["project_id", "hour", "event"], use_threads=False).aggregate(
        [([], "count_all"), ("distinct_id", "list")]
    )
    people = []
    for ids in groups["distinct_id_list"].to_pylist():
        sketch = People(STORED_LG_K)
        sketch.add(ids)
        people.append(sketch.to_bytes())
    size = len(groups)
    columns = {
        "project_id": groups["project_id"],
        "date": groups["hour"].cast(pa.date32()),
        "hour": groups["hour"],
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
    names = [name.strip() for name in _COLUMNS.split(",")]
    few = rows.select(names) if rows is not None else None  # before it is split: the other columns are most of it
    for partition, span in covered.items():
        stood = rollups.position(partition)
        if stood is not None and stood >= span.next:
            continue
        spans[partition] = Span(stood, span.next)
        start = stood or 0
        if few is not None and start == (span.held or 0):
            chunks.append(of_partition(few, partition, start, span.next))
        else:
            chunks.append(stored_rows(events, partition, start, span.next))
    if not spans:
        return None
    table = partials(pa.concat_tables([chunk.select(names) for chunk in chunks]))
    return rollups.append(table, spans, {}, json.dumps({"rollup": {p: [s.held, s.next] for p, s in spans.items()}}))


def stored_rows(events: FencedTable, partition: int, start: int, end: int) -> Chunk:
    """Rows of one partition of the log with start <= offset < end, from the version the handle is at."""
    pinned = snapshot.snapshot_of(
        events.table, "events", f"kafka_partition = {partition} AND kafka_offset >= {start} AND kafka_offset < {end}"
    )
    return snapshot.read(
        pinned,
        _COLUMNS,
        "kafka_log = ? AND kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?",
        [events.chain, partition, start, end],
    )
