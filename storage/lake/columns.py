"""All per-event Arrow work: rows to columns, sorting, and the groups that counters are made of."""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.events import Context, Event
from schemas.rows import Events, Row, Web, WebFields
from storage.lake.tables import EVENTS, LOG_COLUMN, TABLES, TableName

# Processors hold chunks without knowing what they are.
Chunk: TypeAlias = pa.Table

_ROW_COLUMNS = frozenset(Row.__struct_fields__)
_WEB_COLUMNS = frozenset(WebFields.__struct_fields__)
_INSTANTS = ("timestamp", "received_at")
_JSON = ("properties", "context")
_MILLIS = pa.timestamp("ms", tz="UTC")
_MICROS = pa.timestamp("us", tz="UTC")
_ENCODER = msgspec.json.Encoder()
_NOTHING: dict[str, Any] = {}
_END_OF_LINE = ord("\n")
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


def events_table(found: Events, kind_of: Callable[[str], tuple[bool, bool]]) -> Chunk:
    """Columns of decoded events without those that were dropped; made for thousands of events a call.

    `kind_of` says of a name whether it is a pageview's and whether a system event's.
    """
    runs, events = found.runs, found.events
    names = pa.array([event.event for event in events], pa.string()).dictionary_encode()
    kinds = [kind_of(name) for name in names.dictionary.to_pylist()]
    run_of = pa.array(np.repeat(np.arange(len(runs)), [run.events for run in runs]))
    columns: dict[str, pa.Array] = {
        "project_id": pa.array([run.project for run in runs], pa.int64()).take(run_of),
        "event_id": pa.array(found.event_ids, pa.string()),
        "event": names.cast(pa.string()),
        "distinct_id": pa.array(found.distinct_ids, pa.string()),
        "identified_by": pa.array(found.identified_by, pa.string()),
        "anonymous_id": pa.array([event.anonymous_id for event in events], pa.string()),
        "session_id": pa.array([event.session_id or None for event in events], pa.string()),
        "timestamp": _instants(found.timestamps),
        "received_at": pa.array([run.received for run in runs], _MILLIS).cast(_MICROS).take(run_of),
        "source": _sources(events, pa.array([run.source for run in runs], pa.string()).take(run_of)),
        "is_pageview": pa.array([is_pageview for is_pageview, _ in kinds]).take(names.indices),
        "is_system": pa.array([is_system for _, is_system in kinds]).take(names.indices),
        "properties": _json([event.properties or _NOTHING for event in events]),
        "context": _contexts([event.context for event in events]),
        "kafka_partition": pa.array([run.partition for run in runs], pa.int32()).take(run_of),
        "kafka_offset": pa.array([run.offset for run in runs], pa.int64()).take(run_of),
        "record_index": pa.array(found.indices, pa.int32()),
    }
    columns["date"] = columns["timestamp"].cast(pa.date32())
    columns |= (
        _web_columns(found.webs)
        if found.webs
        else {name: _absent(_CHUNK.field(name), len(events)) for name in _WEB_COLUMNS}
    )
    table = pa.Table.from_arrays([columns[name] for name in _CHUNK.names], schema=_CHUNK)
    if not found.dropped:
        return table
    keep = np.ones(len(table), bool)
    keep[found.dropped] = False
    return table.filter(pa.array(keep))


def _sources(events: Sequence[Event], otherwise: pa.Array) -> pa.Array:
    """The source each event names itself, or its run's."""
    own = pa.array([event.source or None for event in events], pa.string())
    return otherwise if own.null_count == len(own) else pc.coalesce(own, otherwise)


def _instants(millis: Sequence[int] | memoryview) -> pa.Array:
    return pa.array(np.asarray(millis, np.int64), pa.int64()).view(_MILLIS).cast(_MICROS)


def _json(values: Sequence[Any]) -> pa.Array:
    """The JSON of each value. All are encoded together; what is UTF-8 is not checked again, which would cost more."""
    text = _ENCODER.encode_lines(values)
    # An end of line is written by nothing but the ends of lines.
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _END_OF_LINE)
    offsets = np.zeros(len(values) + 1, np.int32)
    np.subtract(ends, np.arange(len(values)), out=offsets[1:], casting="unsafe")
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(text.replace(b"\n", b"")))


def _contexts(contexts: Sequence[Context | None]) -> pa.Array:
    there = [context for context in contexts if context is not None]
    if not there:
        return _absent(_CHUNK.field("context"), len(contexts))
    found = _json(there)
    if len(there) == len(contexts):
        return found
    is_there = np.array([context is not None for context in contexts])
    return found.take(pa.array(np.cumsum(is_there) - 1, mask=~is_there))


def _web_columns(webs: Sequence[Web]) -> dict[str, pa.Array]:
    columns = {
        name: pa.array(list(map(attrgetter(name), webs)), pa.string())
        for name in ("url", "path", "title", "referrer", "country")
    }
    for part in ("arrival", "campaign", "agent"):
        shared = list(map(attrgetter(part), webs))
        keys = list(map(id, shared))
        distinct = dict(zip(keys, shared, strict=True))
        place = dict(zip(distinct, range(len(distinct)), strict=True))
        places = pa.array(list(map(place.__getitem__, keys)), pa.int32())
        for column in fields(shared[0]):
            kind = _CHUNK.field(column.name).type
            values = pa.array([getattr(one, column.name) for one in distinct.values()], kind)
            columns[column.name] = values.take(places)
    return columns


def _array(column: pa.Field, values: list[Any]) -> pa.Array:
    if column.name in _INSTANTS:
        return pa.array(values, pa.timestamp("ms", tz="UTC")).cast(column.type)
    if column.name in _JSON:
        return pa.array(values, pa.binary()).cast(pa.string())
    return pa.array(values, column.type)


def _absent(column: pa.Field, rows: int) -> pa.Array:
    if not column.nullable:
        return pa.repeat(pa.scalar(False), rows)
    return _nulls(column.type, 1 << rows.bit_length()).slice(0, rows)


@lru_cache(maxsize=64)
def _nulls(kind: pa.DataType, rows: int) -> pa.Array:
    """Shared by all columns that are absent, which most are in most events."""
    return pa.nulls(rows, kind)


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
        return _absent(pa.field("", column.type), len(column))
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


def of_partitions(chunk: Chunk, partitions: Set[int]) -> Chunk:
    """The rows of some partitions."""
    return chunk.filter(pc.is_in(chunk["kafka_partition"], pa.array(partitions, pa.int32())))


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


_LIVE = (
    "kafka_partition",
    "project_id",
    "event",
    "distinct_id",
    "timestamp",
    "is_pageview",
    "is_system",
    "is_bot",
    "path",
    "referrer_domain",
    "country",
)


def live_columns(chunks: Sequence[Chunk]) -> Chunk:
    """What live state needs of some chunks, in one."""
    return pa.concat_tables([chunk.select(_LIVE) for chunk in chunks])


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
