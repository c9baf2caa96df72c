"""Rows to columns and back, by other engines, and the groups that counters are made of."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.rows import Row, WebFields
from storage.lake.columns import (
    LiveGroup,
    countable,
    dates_of,
    from_position,
    live_groups,
    merged,
    of_partition,
    project_totals,
    rows_table,
)
from storage.lake.tables import EVENTS
from tests.storage.lakes import Writer, arrow, event_row, make_lake
from tests.storage.rows import placed, rows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TABLES = st.lists(rows, min_size=1, max_size=12)


def _instant(millis: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=millis)


def _changed(row: Row, **values: Any) -> Row:
    return msgspec.structs.replace(row, **values)


def _expected(row: Row) -> dict[str, object]:
    """The row as a dictionary of plain values, by the contract of the table."""
    values: dict[str, object] = {name: getattr(row, name) for name in Row.__struct_fields__ if name != "web"}
    values |= {name: getattr(row.web, name) for name in WebFields.__struct_fields__}
    return values | {
        "timestamp": _instant(row.timestamp),
        "received_at": _instant(row.received_at),
        "date": _instant(row.timestamp).date(),
        "properties": row.properties.decode(),
        "context": None if row.context is None else row.context.decode(),
    }


@given(_TABLES)
@settings(deadline=None)
def test_rows_table_holds_every_value_of_every_row(rows: list[Row]) -> None:
    table = rows_table(rows)
    assert [*table.schema, EVENTS.field("kafka_log")] == [*EVENTS]
    assert table.to_pylist() == [_expected(row) for row in rows]


@given(_TABLES)
@settings(deadline=None, max_examples=25)
def test_rows_table_is_read_back_alike_by_duckdb_and_polars(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    path = tmp_path_factory.mktemp("columns") / "part.parquet"
    pq.write_table(rows_table(rows), path)
    expected = [_expected(row) for row in rows]
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.sql("SELECT * FROM read_parquet(?)", params=[str(path)]).to_arrow_table().to_pylist()
    assert found == expected
    assert pl.read_parquet(path).to_dicts() == expected


def test_rows_table_without_web_fields_has_null_columns() -> None:
    table = rows_table([_changed(event_row(0, n), web=WebFields()) for n in range(2)])
    assert table.schema == rows_table([event_row(0, 1)]).schema
    assert all(table[name].null_count == 2 for name in WebFields.__struct_fields__ if name != "is_bot")
    assert table["is_bot"].to_pylist() == [False, False]


@pytest.mark.parametrize(
    ("millis", "day"),
    [
        (0, date(1970, 1, 1)),
        (-1, date(1969, 12, 31)),
        (-86_400_000, date(1969, 12, 31)),
        (-86_400_001, date(1969, 12, 30)),
        (86_399_999, date(1970, 1, 1)),
        (-62_135_596_800_000, date(1, 1, 1)),
        (253_402_300_799_999, date(9999, 12, 31)),
    ],
)
def test_date_is_the_utc_day_of_the_event_time(millis: int, day: date) -> None:
    table = rows_table([_changed(event_row(0, 0), timestamp=millis)])
    assert table["date"].to_pylist() == [day]
    assert dates_of(table) == {(day - date(1970, 1, 1)).days}


@given(st.lists(placed(), min_size=1, max_size=3))
@settings(deadline=None, max_examples=50)
def test_merged_sorts_and_loses_nothing(chunks: list[list[Row]]) -> None:
    table = merged([rows_table(chunk) for chunk in chunks])
    keys = list(
        zip(table["date"].to_pylist(), table["project_id"].to_pylist(), table["timestamp"].to_pylist(), strict=True)
    )
    assert keys == sorted(keys)
    expected = Counter((row.kafka_partition, row.kafka_offset, row.event_id) for chunk in chunks for row in chunk)
    columns = [table[name].to_pylist() for name in ("kafka_partition", "kafka_offset", "event_id")]
    assert Counter(zip(*columns, strict=True)) == expected


def test_merged_of_nothing_is_an_empty_table() -> None:
    assert merged([]).num_rows == 0
    assert [*merged([]).schema, EVENTS.field("kafka_log")] == [*EVENTS]


@given(placed(), st.integers(0, 2), st.integers(0, 8), st.integers(0, 8))
@settings(deadline=None, max_examples=50)
def test_cutting_by_position_keeps_other_partitions_whole(
    rows: list[Row], partition: int, start: int, end: int
) -> None:
    chunk = rows_table(rows)
    assert _places(from_position(chunk, partition, start)) == [
        (row.kafka_partition, row.kafka_offset)
        for row in rows
        if row.kafka_partition != partition or row.kafka_offset >= start
    ]
    assert _places(of_partition(chunk, partition, start, end)) == [
        (partition, row.kafka_offset)
        for row in rows
        if row.kafka_partition == partition and start <= row.kafka_offset < end
    ]


def _places(chunk: pa.Table) -> list[tuple[int, int]]:
    return list(zip(chunk["kafka_partition"].to_pylist(), chunk["kafka_offset"].to_pylist(), strict=True))


def _slots(rows: Iterable[Row], first: int, last: int) -> dict[tuple[int, int], LiveGroup]:
    """Live groups by the book."""
    groups: dict[tuple[int, int], LiveGroup] = {}
    for row in rows:
        seconds = row.timestamp // 1000
        if row.web.is_bot or row.is_system or not first <= seconds < last:
            continue
        key = (row.project_id, seconds // 10 * 10)
        group = groups.setdefault(key, LiveGroup(*key))
        group.ids.append(row.distinct_id)
        group.pageviews += row.is_pageview
        _count(group.events, row.event)
        _count(group.countries, row.web.country)
        if row.is_pageview:
            _count(group.paths, row.web.path)
            _count(group.referrers, row.web.referrer_domain)
    return groups


def _count(counts: dict[str, int], value: str | None) -> None:
    if value is not None:
        counts[value] = counts.get(value, 0) + 1


@given(_TABLES)
@settings(deadline=None, max_examples=100)
def test_live_groups_and_totals_equal_plain_counts(rows: list[Row]) -> None:
    first, last = 1_764_000_000, 1_764_000_000 + 3600
    found = {(group.project, group.slot): group for group in live_groups(rows_table(rows), 10, first, last)}
    expected = _slots(rows, first, last)
    assert found.keys() == expected.keys()
    for key, group in expected.items():
        assert Counter(found[key].ids) == Counter(group.ids)
        found[key].ids = group.ids
        assert found[key] == group
    counted = [row for row in rows if not row.web.is_bot and not row.is_system]
    totals = {
        project: (
            project,
            sum(row.project_id == project for row in counted),
            sum(row.project_id == project and row.is_pageview for row in counted),
        )
        for project in {row.project_id for row in counted}
    }
    assert sorted(project_totals(rows_table(rows))) == sorted(totals.values())
    assert countable(rows_table(rows)).num_rows == len(counted)


def test_columns_of_a_flush_survive_delta(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    written = [*writer.rows(5, at=datetime(1969, 12, 31, 12, tzinfo=UTC)), event_row(0, 5)]
    writer.append(written)
    table = arrow(lake, "events").select([name for name in EVENTS.names if name != "kafka_log"]).sort_by("kafka_offset")
    assert table.to_pylist() == [_expected(row) for row in written]
