"""Reading a pinned version whose files are older than a column of the table."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from storage.lake.snapshot import Snapshot, read, snapshot_of
from storage.lake.tables import table_uri
from tests.storage.lakes import Writer, days, make_lake


@pytest.fixture
def pinned(tmp_path: Path) -> Snapshot:
    """Two dates of four rows; the first one's file was written before `utm_term` and `bot_rule` were added."""
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for at in days(2):
        writer.append(writer.rows(4, at))
    found = snapshot_of(DeltaTable(table_uri(lake, "events")), "events")
    old = next(file for file in found.files if "2026-03-01" in file)
    with pq.ParquetFile(old) as file:
        table: pa.Table = file.read()
    pq.write_table(table.drop_columns(["utm_term", "bot_rule"]), old)
    return found


def test_column_that_every_file_lacks_is_null(pinned: Snapshot) -> None:
    old = Snapshot("events", pinned.version, tuple(file for file in pinned.files if "2026-03-01" in file))

    found = read(old, "utm_term, kafka_offset", "bot_rule IS NULL ORDER BY kafka_offset", [])

    assert found.to_pydict() == {"utm_term": [None] * 4, "kafka_offset": [0, 1, 2, 3]}


def test_column_that_some_files_lack_is_null_there(pinned: Snapshot) -> None:
    found = read(pinned, "count(*) AS n, count(utm_term) AS terms", "true", [])

    assert found.to_pydict() == {"n": [8], "terms": [0]}


def test_columns_come_in_the_order_of_the_table_whatever_the_files_hold(pinned: Snapshot) -> None:
    empty = Snapshot("events", pinned.version, ())

    assert read(pinned, "*", "true", []).schema.names == read(empty, "*", "true", []).schema.names
