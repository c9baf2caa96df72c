"""The rows of some files as one sorted stream: events without duplicates, rollups merged by their key."""

import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from storage.errors import Unavailable
from storage.lake.place import Place, let_read, store_failure
from storage.lake.tables import ROLLUP_GROUP_ROWS, SORTED_GROUP_ROWS, TABLES, TableName
from storage.maintenance.files import LiveFile, wide
from storage.sketches import PeopleUnion

_PLACE = ("kafka_partition", "kafka_offset", "record_index")
_ROLLUP_KEY = ("date", "project_id", "hour", "event", "dimension", "value", "lg_k")
_LARGEST_BATCH_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Resources:
    """What a merge may take beside writers and readers."""

    memory_mb: int = 512
    threads: int = 1
    scratch: Path | None = None  # where a sort that outgrows the memory goes


@dataclass(frozen=True, slots=True)
class Condition:
    """Which rows: SQL over the columns of a table."""

    sql: str
    parameters: tuple[object, ...]


@contextmanager
def sorted_rows(
    table: Place,
    name: TableName,
    schema: pa.Schema,
    files: Sequence[LiveFile],
    resources: Resources,
    is_deduplicated: bool = False,
    without: Condition | None = None,
) -> Iterator[Iterator[pa.RecordBatch]]:
    """Batches of all rows but those `without`, in the table's sort order; columns are the schema's, wide.

    Raises Unavailable where the files cannot be read or the sort finds no room.
    """
    try:
        with _reader(table, name, schema, files, resources, is_deduplicated, without) as batches:
            yield batches
    except duckdb.Error as error:
        raise Unavailable(f"cannot read {len(files)} files of {name}: {store_failure(error) or error}") from error


@contextmanager
def _reader(
    table: Place,
    name: TableName,
    schema: pa.Schema,
    files: Sequence[LiveFile],
    resources: Resources,
    is_deduplicated: bool,
    without: Condition | None,
) -> Iterator[Iterator[pa.RecordBatch]]:
    paths = [str(table / file.path) for file in files]
    with duckdb.connect(":memory:") as connection:
        configure(connection, resources)
        let_read(connection, paths[:1])
        connection.register("blank", wide(schema).empty_table())
        condition, losers = "true", _duplicates(connection, paths) if is_deduplicated else None
        if losers:
            connection.register("losers", losers)
            condition = "(filename, file_row_number) NOT IN (SELECT filename, file_row_number FROM losers)"
        if without:
            condition += f" AND NOT coalesce({without.sql}, false)"
        names = ", ".join(f'"{column}"' for column in schema.names)
        order = [*TABLES[name].sort, *(column for column in _ROLLUP_KEY if name == "rollups"), *_PLACE]
        sort = ", ".join(f'"{column}"' for column in dict.fromkeys(order) if column in schema.names)
        reader = connection.sql(
            f"SELECT {names} FROM ({_SOURCE} UNION ALL BY NAME FROM blank) WHERE {condition} ORDER BY {sort}",
            params=[paths, *(without.parameters if without else ())],
        ).to_arrow_reader(_batch_rows(name, files))
        batches = (pa.RecordBatch.from_arrays(batch.columns, schema=wide(schema)) for batch in reader)
        yield merged_rollups(batches, wide(schema)) if name == "rollups" else batches
        del reader, batches


# Old files lack columns that were added later; the empty relation beside them supplies these as nulls.
_SOURCE = (
    "FROM read_parquet(?, hive_partitioning=true, hive_types={'date': DATE}, union_by_name=true, "
    "filename=true, file_row_number=true)"
)


def configure(connection: duckdb.DuckDBPyConnection, resources: Resources) -> None:
    """Bind a connection to what it may take."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET arrow_large_buffer_size = true")
    connection.execute(f"SET threads = {resources.threads}")
    connection.execute(f"SET memory_limit = '{resources.memory_mb}MB'")
    if resources.scratch:
        resources.scratch.mkdir(parents=True, exist_ok=True)
        connection.execute(f"SET temp_directory = '{str(resources.scratch).replace(chr(39), chr(39) * 2)}'")


def _duplicates(connection: duckdb.DuckDBPyConnection, paths: list[str]) -> pa.Table | None:
    """Where the rows lie whose event id an earlier row of the date has; usually none.

    Rows are named by their place in a file, so that even two copies of one row leave one.
    """
    losers: pa.Table = connection.sql(
        f"""SELECT filename, file_row_number FROM (
            SELECT filename, file_row_number, row_number() OVER (
                PARTITION BY date, project_id, event_id ORDER BY {", ".join(_PLACE)}, filename, file_row_number) AS turn
            {_SOURCE}) WHERE turn > 1""",
        params=[paths],
    ).to_arrow_table()
    return losers if len(losers) else None


def count_rows(table: Place, paths: Sequence[str], condition: Condition) -> dict[str, int]:
    """How many rows of each file meet the condition, where any does; paths are relative. Raises Unavailable."""
    full = {str(table / path): path for path in paths}
    if not full:
        return {}
    try:
        with duckdb.connect(":memory:") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            let_read(connection, list(full)[:1])
            found = connection.execute(
                f"SELECT filename, count(*) {_SOURCE} WHERE {condition.sql} GROUP BY filename",
                [list(full), *condition.parameters],
            ).fetchall()
    except duckdb.Error as error:
        raise Unavailable(f"cannot read {len(full)} files of {table.name}: {store_failure(error) or error}") from error
    return {full[name]: rows for name, rows in found}


def _batch_rows(name: TableName, files: Sequence[LiveFile]) -> int:
    """Rows of one batch, which becomes one row group: fewer where rows are unusually large."""
    if name == "rollups":
        return ROLLUP_GROUP_ROWS
    row_bytes = 4 * sum(file.size for file in files) // max(1, sum(file.rows for file in files)) + 1  # unpacked
    return min(SORTED_GROUP_ROWS, max(2048, _LARGEST_BATCH_BYTES // row_bytes))


def merged_rollups(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """One row for each key of a stream sorted by key: counts and sums add, people merge as sketches."""
    rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
    groups = itertools.groupby(rows, key=lambda row: tuple(row[column] for column in _ROLLUP_KEY))
    merged = (_merged_row(list(partials)) for _, partials in groups)
    while batch := list(itertools.islice(merged, ROLLUP_GROUP_ROWS)):
        yield pa.RecordBatch.from_pylist(batch, schema=schema)


def _merged_row(partials: list[dict[str, Any]]) -> dict[str, Any]:
    first = partials[0]
    if len(partials) == 1:
        return first
    people = PeopleUnion(first["lg_k"])
    for partial in partials:
        people.merge(partial["people"])
    return first | {
        "count": sum(partial["count"] for partial in partials),
        "sums": _added([partial["sums"] for partial in partials]),
        "people": people.to_bytes(),
    }


def _added(texts: list[str | None]) -> str | None:
    sums: dict[str, float] = {}
    for text in texts:
        for key, value in json.loads(text or "{}").items():
            sums[key] = sums.get(key, 0) + value
    return json.dumps(sums, sort_keys=True) if sums else None
