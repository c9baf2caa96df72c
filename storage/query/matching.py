"""Which rows of a flush pass which filters, judged by the same SQL as every question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from schemas.filters import Filter
from schemas.questions import InvalidQuestion
from storage.errors import LakeUnreadable
from storage.lake import snapshot
from storage.lake.columns import Chunk
from storage.query.fields import number_sql, property_sql
from storage.query.filters import filter_sql
from storage.query.parameters import Parameters

# Of one filter in one flush: a receiver of messages takes them one by one.
MOST_MATCHES: Final = 10_000
_THREADS: Final = 1

_COLUMNS: Final = (
    "project_id, kafka_partition, kafka_offset, record_index, event_id, event, timestamp, received_at, distinct_id,"
    " identified_by, anonymous_id, session_id, source, is_pageview, is_system, is_bot, properties, url, path, title,"
    " referrer, referrer_domain, channel, utm_source, utm_medium, utm_campaign, utm_term, utm_content, country,"
    " browser, browser_version, os, device"
)


_NAMES: Final = [name.strip() for name in _COLUMNS.split(",")]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Ordinary events of a project, received at or after an instant, that pass a filter."""

    project: int
    filters: Filter
    since: datetime


@dataclass(frozen=True, slots=True)
class Match:
    """What is told of an event; nothing in it says who it was."""

    partition: int
    offset: int
    index: int
    event_id: str
    event: str
    timestamp: int
    received: int
    url: str | None
    path: str | None
    referrer: str | None
    source: str | None
    country: str | None
    device: str | None
    browser: str | None
    category: str | None
    label: str | None
    value: float | None


def matching(rows: Sequence[Chunk], patterns: Sequence[Pattern]) -> tuple[dict[Pattern, list[Match]], list[Pattern]]:
    """The matches of each pattern in the order of the log, and the patterns that cannot be asked."""
    found: dict[Pattern, list[Match]] = {}
    wrong: list[Pattern] = []
    chunks = [chunk.select(_NAMES) for chunk in rows if chunk.num_rows]
    if not patterns or not chunks:
        return found, wrong
    with duckdb.connect(":memory:", config={"threads": _THREADS}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("flushed", pa.concat_tables(chunks, promote_options="permissive"))
        projects = sorted({pattern.project for pattern in patterns})
        connection.execute(
            f"CREATE TEMP TABLE mine AS SELECT {_COLUMNS} FROM flushed"
            " WHERE list_contains(?, project_id) AND NOT is_bot AND NOT is_system",
            [projects],
        )
        connection.unregister("flushed")
        for pattern in patterns:
            try:
                found[pattern] = _matches(connection, pattern)
            except (InvalidQuestion, duckdb.Error):
                wrong.append(pattern)
    return found, wrong


def stored(
    uri: str, chain: str, ranges: Mapping[int, tuple[int, int]], projects: Sequence[int], since: datetime
) -> list[Chunk]:
    """Rows of projects and partitions with start <= offset < end that were received since then, as they are now.

    Opens a handle of its own, so that it may run beside the thread that writes. Raises LakeUnreadable.
    """
    try:
        table = DeltaTable(uri)
    except (DeltaError, OSError) as error:
        raise LakeUnreadable(f"cannot read the events table: {error}") from error
    return [_stored(table, chain, partition, span, projects, since) for partition, span in ranges.items()]


def _stored(
    table: DeltaTable, chain: str, partition: int, span: tuple[int, int], projects: Sequence[int], since: datetime
) -> Chunk:
    start, end = span
    pinned = snapshot.snapshot_of(
        table,
        "events",
        f"kafka_partition = {partition} AND kafka_offset >= {start} AND kafka_offset < {end}"
        f" AND received_at >= '{since.isoformat()}'",
    )
    return snapshot.read(
        pinned,
        _COLUMNS,
        "kafka_log = ? AND kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ? AND received_at >= ?"
        " AND list_contains(?, project_id)",
        [chain, partition, start, end, since, list(projects)],
    )


def _matches(connection: duckdb.DuckDBPyConnection, pattern: Pattern) -> list[Match]:
    parameters = Parameters()
    bind = parameters.bind
    statement = (
        "SELECT kafka_partition, kafka_offset, record_index, event_id, event, epoch_ms(timestamp),"
        " epoch_ms(received_at), url, path, coalesce(referrer, referrer_domain),"
        " coalesce(utm_source, referrer_domain), country, device, browser,"
        f" {property_sql('category', parameters)}, {property_sql('label', parameters)},"
        f" {number_sql('value', parameters)}"
        f" FROM mine WHERE project_id = {bind(pattern.project)} AND received_at >= {bind(pattern.since)}"
        f" AND {filter_sql(pattern.filters, parameters)}"
        f" ORDER BY kafka_partition, kafka_offset, record_index LIMIT {MOST_MATCHES}"
    )
    return [Match(*row) for row in connection.execute(statement, parameters.values).fetchall()]
