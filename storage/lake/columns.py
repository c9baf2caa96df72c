"""All per-event Arrow work: rows to columns, sorting, and the groups that counters are made of."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from schemas.rows import Row, WebFields
from storage.lake.tables import EVENTS, LOG_COLUMN, TABLES, TableName

# Processors hold chunks without knowing what they are.
Chunk: TypeAlias = pa.Table

_ROW_COLUMNS = frozenset(Row.__struct_fields__)
_WEB_COLUMNS = frozenset(WebFields.__struct_fields__)
_INSTANTS = ("timestamp", "received_at")
_JSON = ("properties", "context")
# Everything but the log's identity, which the commit adds.
_CHUNK = pa.schema([column for column in EVENTS if column.name != LOG_COLUMN])


def rows_table(rows: Sequence[Row]) -> Chunk:
    """Columns of accepted rows, by the schema of `events`; made for hundreds of rows a call."""
    webs = [row.web for row in rows]
    is_web = any(web is not webs[0] for web in webs) or webs[0] != WebFields()
    columns: dict[str, pa.Array] = {}
    for column in EVENTS:
        if column.name in _ROW_COLUMNS:
            columns[column.name] = _array(column, list(map(attrgetter(column.name), rows)))
        elif column.name in _WEB_COLUMNS:
            columns[column.name] = (
                _array(column, list(map(attrgetter(column.name), webs))) if is_web else _absent(column, len(rows))
            )
    columns["date"] = columns["timestamp"].cast(pa.date32())
    return pa.Table.from_arrays([columns[name] for name in _CHUNK.names], schema=_CHUNK)


def _array(column: pa.Field, values: list[Any]) -> pa.Array:
    if column.name in _INSTANTS:
        return pa.array(values, pa.timestamp("ms", tz="UTC")).cast(column.type)
    if column.name in _JSON:
        return pa.array(values, pa.binary()).cast(pa.string())
    return pa.array(values, column.type)


def _absent(column: pa.Field, rows: int) -> pa.Array:
    return pa.nulls(rows, column.type) if column.nullable else pa.repeat(pa.scalar(False), rows)


def merged(chunks: Sequence[Chunk], name: TableName = "events") -> Chunk:
    """One table of all chunks, sorted as the table is sorted on disk."""
    if not chunks:
        return (_CHUNK if name == "events" else TABLES[name].schema).empty_table()
    table = pa.concat_tables(chunks)
    sort = TABLES[name].sort
    order = pc.sort_indices(table.select(sort).combine_chunks(), [(column, "ascending") for column in sort])
    return pa.table([_taken(column, order) for column in table.columns], schema=table.schema)


def _taken(column: pa.ChunkedArray, order: pa.Array) -> pa.Array:
    # Most columns are absent in every row of a server's events, and moving nothing cost three quarters of the sort.
    if column.null_count == len(column):
        return pa.nulls(len(column), column.type)
    return column.combine_chunks().take(order)


def from_position(chunk: Chunk, partition: int, position: int) -> Chunk:
    """The chunk without rows of `partition` that lie below `position`."""
    keep = pc.or_(pc.not_equal(chunk["kafka_partition"], partition), pc.greater_equal(chunk["kafka_offset"], position))
    return chunk.filter(keep)


def of_partition(chunk: Chunk, partition: int, start: int, end: int) -> Chunk:
    """The rows of `partition` with start <= offset < end."""
    offset = chunk["kafka_offset"]
    keep = pc.and_(
        pc.equal(chunk["kafka_partition"], partition),
        pc.and_(pc.greater_equal(offset, start), pc.less(offset, end)),
    )
    return chunk.filter(keep)


def dates_of(chunk: Chunk) -> set[int]:
    """Days since 1970 that a chunk touches: each becomes a file when it is written."""
    return set(pc.unique(chunk["date"].cast(pa.int32())).to_pylist())


def countable(chunk: Chunk) -> Chunk:
    """The rows that count: no bots, no system events."""
    return chunk.filter(pc.invert(pc.or_(chunk["is_bot"], chunk["is_system"])))


@dataclass(slots=True)
class LiveGroup:
    """What a chunk adds to one slot of one project."""

    project: int
    slot: int
    ids: list[str] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    pageviews: int = 0
    paths: dict[str, int] = field(default_factory=dict)
    referrers: dict[str, int] = field(default_factory=dict)
    countries: dict[str, int] = field(default_factory=dict)


def live_groups(chunk: Chunk, slot_seconds: int, first: int, last: int) -> list[LiveGroup]:
    """Group the countable rows with first <= event time < last (unix seconds) by project and slot."""
    groups = live_groups_by_partition(_as_one_partition(chunk), slot_seconds, first, last)
    return groups.get(0, [])


def live_groups_by_partition(chunk: Chunk, slot_seconds: int, first: int, last: int) -> dict[int, list[LiveGroup]]:
    """`live_groups` of each partition, in one pass: four of them apart cost three times as much."""
    seconds = pc.divide(chunk["timestamp"].cast(pa.int64()), 1_000_000)
    slot = pc.multiply(pc.divide(seconds, slot_seconds), slot_seconds)
    table = chunk.select(
        ["kafka_partition", "project_id", "event", "distinct_id", "is_pageview", "path", "referrer_domain", "country"]
    ).append_column("slot", slot)
    recent = pc.and_(pc.greater_equal(seconds, first), pc.less(seconds, last))
    table = table.filter(pc.and_(recent, pc.invert(pc.or_(chunk["is_bot"], chunk["is_system"]))))
    groups: dict[tuple[int, int, int], LiveGroup] = {}
    by_partition: dict[int, list[LiveGroup]] = {}
    for partition, project, at, ids, pageviews in _grouped(
        table, [], [("distinct_id", "list"), ("is_pageview", "sum")]
    ):
        group = groups[partition, project, at] = LiveGroup(project, at, ids, pageviews=pageviews)
        by_partition.setdefault(partition, []).append(group)
    for partition, project, at, value, number in _counted(table, "event"):
        groups[partition, project, at].events[value] = number
    pages = table.filter(table["is_pageview"])
    parts: list[tuple[pa.Table, str, Callable[[LiveGroup], dict[str, int]]]] = [
        (pages, "path", attrgetter("paths")),
        (pages, "referrer_domain", attrgetter("referrers")),
        (table, "country", attrgetter("countries")),
    ]
    for source, column, counts in parts:
        if source[column].null_count == len(source):
            continue
        for partition, project, at, value, number in _counted(source, column):
            if value is not None:
                counts(groups[partition, project, at])[value] = number
    return by_partition


def _counted(table: pa.Table, column: str) -> Iterator[tuple[Any, ...]]:
    return _grouped(table, [column], [([], "count_all")])


def _grouped(table: pa.Table, keys: list[str], aggregates: list[Any]) -> Iterator[tuple[Any, ...]]:
    grouped = table.group_by(["kafka_partition", "project_id", "slot", *keys], use_threads=False).aggregate(aggregates)
    return zip(*(column.to_pylist() for column in grouped.columns), strict=True)


def project_totals(chunk: Chunk) -> list[tuple[int, int, int]]:
    """(project, events, pageviews) of the countable rows."""
    return project_totals_by_partition(_as_one_partition(chunk)).get(0, [])


def project_totals_by_partition(chunk: Chunk) -> dict[int, list[tuple[int, int, int]]]:
    """`project_totals` of each partition."""
    few = chunk.select(["kafka_partition", "project_id", "is_pageview", "is_bot", "is_system"])
    grouped = (
        countable(few)
        .group_by(["kafka_partition", "project_id"], use_threads=False)
        .aggregate([([], "count_all"), ("is_pageview", "sum")])
    )
    totals: dict[int, list[tuple[int, int, int]]] = {}
    for partition, *total in zip(*(column.to_pylist() for column in grouped.columns), strict=True):
        totals.setdefault(partition, []).append((total[0], total[1], total[2]))
    return totals


def _as_one_partition(chunk: Chunk) -> Chunk:
    at = chunk.schema.get_field_index("kafka_partition")
    return chunk.set_column(at, chunk.schema.field(at), pa.repeat(pa.scalar(0, pa.int32()), len(chunk)))
