"""The four Delta tables: explicit Arrow schemas, partitioning and properties, in one place."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa
from deltalake import ColumnProperties, DeltaTable, Transaction, WriterProperties

from storage.errors import Unavailable
from storage.lake.place import Place, names_in

TableName = Literal["events", "rollups", "sessions", "dead_letters"]

SCHEMA_VERSION = 1
_INSTANT = pa.timestamp("us", tz="UTC")


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


EVENTS = pa.schema(
    [
        _required("project_id", pa.int64()),
        _required("event_id", pa.string()),
        _required("event", pa.string()),
        _required("distinct_id", pa.string()),
        pa.field("identified_by", pa.string()),
        pa.field("anonymous_id", pa.string()),
        pa.field("session_id", pa.string()),
        _required("timestamp", _INSTANT),
        _required("received_at", _INSTANT),
        _required("date", pa.date32()),
        _required("source", pa.string()),
        _required("is_pageview", pa.bool_()),
        _required("is_system", pa.bool_()),
        _required("is_bot", pa.bool_()),
        pa.field("bot_rule", pa.string()),
        _required("properties", pa.string()),
        pa.field("context", pa.string()),
        pa.field("url", pa.string()),
        pa.field("path", pa.string()),
        pa.field("title", pa.string()),
        pa.field("referrer", pa.string()),
        pa.field("referrer_domain", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("utm_source", pa.string()),
        pa.field("utm_medium", pa.string()),
        pa.field("utm_campaign", pa.string()),
        pa.field("utm_term", pa.string()),
        pa.field("utm_content", pa.string()),
        pa.field("country", pa.string()),
        pa.field("browser", pa.string()),
        pa.field("browser_version", pa.string()),
        pa.field("os", pa.string()),
        pa.field("device", pa.string()),
        _required("kafka_partition", pa.int32()),
        _required("kafka_offset", pa.int64()),
        _required("record_index", pa.int32()),
        _required("kafka_log", pa.string()),
    ]
)

ROLLUPS = pa.schema(
    [
        _required("project_id", pa.int64()),
        _required("date", pa.date32()),
        _required("hour", _INSTANT),
        _required("event", pa.string()),
        _required("dimension", pa.string()),
        _required("value", pa.string()),
        _required("count", pa.int64()),
        pa.field("sums", pa.string()),
        _required("people", pa.binary()),
        _required("lg_k", pa.int32()),
    ]
)

SESSIONS = pa.schema(
    [
        _required("project_id", pa.int64()),
        _required("session_id", pa.string()),
        _required("distinct_id", pa.string()),
        _required("started_at", _INSTANT),
        _required("ended_at", _INSTANT),
        _required("date", pa.date32()),
        _required("duration_seconds", pa.int64()),
        _required("events", pa.int64()),
        _required("pageviews", pa.int64()),
        pa.field("entry_path", pa.string()),
        pa.field("exit_path", pa.string()),
        pa.field("referrer_domain", pa.string()),
        pa.field("country", pa.string()),
        pa.field("device", pa.string()),
        _required("is_bounce", pa.bool_()),
    ]
)

DEAD_LETTERS = pa.schema(
    [
        _required("kafka_partition", pa.int32()),
        _required("kafka_offset", pa.int64()),
        _required("record_index", pa.int32()),
        _required("reason", pa.string()),
        pa.field("detail", pa.string()),
        _required("raw", pa.binary()),
        pa.field("project_id", pa.int64()),
        pa.field("distinct_id", pa.string()),
        _required("received_at", _INSTANT),
        _required("date", pa.date32()),
        _required("kafka_log", pa.string()),
    ]
)
# Which log a position belongs to: offsets start again in a recreated topic. The table that commits knows it.
LOG_COLUMN = "kafka_log"


@dataclass(frozen=True, slots=True)
class TableSpec:
    """How one table is made: what it holds, and which columns its log may show statistics of."""

    schema: pa.Schema
    statistics: tuple[str, ...]
    sort: tuple[str, ...]


TABLES: dict[TableName, TableSpec] = {
    "events": TableSpec(
        EVENTS,
        ("project_id", "event", "timestamp", "received_at", "kafka_partition", "kafka_offset"),
        ("date", "project_id", "timestamp"),
    ),
    "rollups": TableSpec(ROLLUPS, ("project_id", "hour", "event", "dimension"), ("date", "project_id", "hour")),
    "sessions": TableSpec(SESSIONS, ("project_id", "started_at"), ("date", "project_id", "started_at")),
    "dead_letters": TableSpec(
        DEAD_LETTERS,
        ("kafka_partition", "kafka_offset", "record_index", "reason", "received_at"),
        ("date", "kafka_partition", "kafka_offset"),
    ),
}

# A row group is DuckDB's unit of parallelism, and of what it skips: in files sorted by project, which are read far
# more often than written, small groups let a question about one project decode little else.
ROW_GROUP_ROWS = 122_880
SORTED_GROUP_ROWS = 16_384
# Of rollups, whose sketches have up to 8 KB each.
ROLLUP_GROUP_ROWS = 1024
# Dictionaries and min/max of these cost time and bytes, and would lie readable in every file's footer.
_PLAIN_COLUMNS = (
    "event_id",
    "distinct_id",
    "anonymous_id",
    "session_id",
    "properties",
    "context",
    "url",
    "referrer",
    "people",
    "raw",
)
# Numbers that hardly repeat and lie near each other: a dictionary of them is larger than they are.
PACKED_COLUMNS = ("timestamp", "received_at", "kafka_offset", "started_at", "ended_at")
PACKED: Final = "DELTA_BINARY_PACKED"


def table_uri(lake: Place | str, name: TableName) -> str:
    """Where a table lives; `lake` is a directory or an s3:// prefix."""
    return f"{str(lake).rstrip('/')}/{name}"


def writer_properties(name: TableName, level: int = 1) -> WriterProperties:
    """Parquet settings of a table; level 1 at flush, 3 at compaction."""
    plain = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    packed = ColumnProperties(dictionary_enabled=False, encoding=PACKED)
    properties = dict.fromkeys(_PLAIN_COLUMNS, plain) | dict.fromkeys(PACKED_COLUMNS, packed)
    return WriterProperties(
        compression="ZSTD",
        compression_level=level,
        max_row_group_size=ROW_GROUP_ROWS,
        column_properties={column: how for column, how in properties.items() if column in TABLES[name].schema.names},
    )


def has_tables(lake: Place) -> bool:
    """Whether the lake was ever made. Raises Unavailable where its store does not answer."""
    if isinstance(lake, Path):
        return (lake / "events" / "_delta_log").is_dir()
    try:
        return bool(names_in(lake / "events" / "_delta_log"))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Unavailable(f"the lake at {lake} does not answer: {error}") from error


def create_tables(lake: Place | str) -> None:
    """Create the tables that are missing and add columns that are new; one process, before any writer."""
    for name, spec in TABLES.items():
        uri = table_uri(lake, name)
        if DeltaTable.is_deltatable(uri):
            _add_columns(uri, spec)
            continue
        if "://" not in uri:
            os.makedirs(uri, mode=0o700, exist_ok=True)
        DeltaTable.create(
            uri,
            schema=spec.schema,
            partition_by=["date"],
            name=name,
            configuration={
                "delta.checkpointInterval": "100",
                "delta.logRetentionDuration": "interval 2 days",
                "delta.deletedFileRetentionDuration": "interval 1 days",
                "delta.enableDeletionVectors": "false",
                "delta.dataSkippingStatsColumns": ",".join(spec.statistics),
            },
        )


def _add_columns(uri: str, spec: TableSpec) -> None:
    table = DeltaTable(uri)
    present = {field.name for field in table.schema().fields}
    missing = [field for field in spec.schema if field.name not in present]
    if missing:
        from deltalake import Schema

        table.alter.add_columns(Schema.from_arrow(pa.schema(missing)).fields)


def transactions(versions: dict[str, int]) -> list[Transaction]:
    """Application transactions from a dictionary, so that no app id comes twice in one commit."""
    return [Transaction(app, version) for app, version in versions.items()]
