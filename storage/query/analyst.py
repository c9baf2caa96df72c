"""One SELECT of an analyst over a pinned version of the lake, in a DuckDB that can open nothing else."""

import csv
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, BinaryIO, Literal

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb.sqltypes import BIGINT, BLOB

from storage.errors import Refused, StorageError, Unavailable
from storage.lake.place import Place, let_read, place_at, sizes, store_failure
from storage.lake.publication import create_views, open_tables, pin
from storage.lake.tables import table_uri
from storage.lake.views import literal
from storage.sketches import PeopleUnion

Format = Literal["csv", "json", "ndjson", "parquet", "arrow"]

# Rows that are in memory at once while an answer is written.
BATCH_ROWS = 10_000
_SKETCHES = duckdb.list_type(BLOB)
_GROUP_BYTES = 16 * 1024 * 1024
_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


class Answer:
    """The result of one statement, read once, by whoever asked."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        statement: str,
        files: Sequence[str],
        parameters: Mapping[str, object] = MappingProxyType({}),
        batch_rows: int = BATCH_ROWS,
        json_columns: Set[str] = frozenset(),
    ) -> None:
        """`json_columns` hold JSON, and are written as such where the format is JSON."""
        self._connection = connection
        self._files = files
        self._statement = statement
        self._parameters = dict(parameters) or None
        self._batch_rows = batch_rows
        self._json_columns = json_columns
        # Bound, so that a mistake shows before anything is written.
        self._relation = connection.sql(statement, params=self._parameters)
        self.columns = _unique(self._relation.columns)

    def first(self, limit: int) -> list[list[str]]:
        """At most `limit` rows, every cell as text."""
        with _translated(self._files):
            return [[_text(cell) for cell in row] for row in self._execute().fetchmany(limit)]

    def write(self, form: Format, sink: BinaryIO) -> None:
        """The whole answer in a format, without ever holding all of it."""
        with _translated(self._files):
            _WRITERS[form](self, sink)

    def write_csv(self, sink: BinaryIO) -> None:
        """A header and one line a row; null is empty, nested values are JSON."""
        text = io.TextIOWrapper(sink, encoding="utf-8", newline="", write_through=True)
        try:
            lines = csv.writer(text, lineterminator="\n")
            lines.writerow(self.columns)
            lines.writerows([_text(cell) for cell in row] for row in self._rows())
        finally:
            text.detach()

    def write_json(self, sink: BinaryIO) -> None:
        """An array of objects; what JSON has no number for (NaN, infinity) is null."""
        separator = b"[\n"
        for item in self._objects():
            sink.write(separator + item)
            separator = b",\n"
        sink.write(b"\n]\n" if separator == b",\n" else b"[]\n")

    def write_ndjson(self, sink: BinaryIO) -> None:
        """One object a line."""
        for item in self._objects():
            sink.write(item + b"\n")

    def write_arrow(self, sink: BinaryIO) -> None:
        """An Arrow IPC stream."""
        reader = self._batches()
        with pa.ipc.new_stream(sink, self._schema(reader)) as stream:
            for batch in reader:
                stream.write_batch(batch.rename_columns(self.columns))

    def write_parquet(self, sink: BinaryIO) -> None:
        """One Parquet file."""
        reader = self._batches()
        with pq.ParquetWriter(sink, self._schema(reader), compression="zstd") as file:
            for group in _groups(reader):
                file.write_table(group.rename_columns(self.columns))

    def _objects(self) -> Iterator[bytes]:
        nested = [place for place, name in enumerate(self.columns) if name in self._json_columns]
        for row in self._rows():
            if nested:
                cells = list(row)
                for place in nested:
                    if (text := cells[place]) is not None:
                        cells[place] = msgspec.Raw(text.encode())
                row = tuple(cells)
            yield _encoder.encode(dict(zip(self.columns, row, strict=True)))

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        result = self._execute()
        while rows := result.fetchmany(self._batch_rows):
            yield from rows

    def _execute(self) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(self._statement, self._parameters)

    def _batches(self) -> pa.RecordBatchReader:
        return self._relation.to_arrow_reader(self._batch_rows)

    def _schema(self, reader: pa.RecordBatchReader) -> pa.Schema:
        return pa.schema([field.with_name(name) for field, name in zip(reader.schema, self.columns, strict=True)])


@contextmanager
def ask(lake: Place, sql: str) -> Iterator[Answer]:
    """Ask one SELECT of the newest version; the answer is read inside the block.

    Raises LakeBroken where there is no lake, and Refused for anything but one SELECT that DuckDB accepts.
    """
    pins = {name: pin(table) for name, table in open_tables(lake).items()}
    root = str(lake.absolute())
    files = [f"{table_uri(root, name)}/{file}" for name, pinned in pins.items() for file in pinned.files]
    with tempfile.TemporaryDirectory() as spill, _database(spill) as connection:
        let_read(connection, [root])
        with _translated(files):
            create_views(connection, pins, root, datetime.now(UTC))
            _lock(connection, files)
            answer = Answer(connection, _only_select(connection, sql).query, files)
        yield answer


def _database(spill: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        ":memory:",
        config={
            "temp_directory": spill,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET python_enable_replacements = false")
    _add_sketches(connection)
    return connection


def _add_sketches(connection: duckdb.DuckDBPyConnection) -> None:
    """`hll_union(list(people))` and `hll_estimate(people)` over the sketches of the rollups; both are null for null."""
    connection.create_function("hll_union", hll_union, [_SKETCHES], BLOB)
    connection.create_function("hll_estimate", hll_estimate, [BLOB], BIGINT)


def hll_union(sketches: list[bytes | None]) -> bytes:
    """One sketch of everybody who is in any of them."""
    people = PeopleUnion()
    for sketch in sketches:
        if sketch is not None:
            people.merge(sketch)
    return people.to_bytes()


def hll_estimate(sketch: bytes) -> int:
    """About how many people are in a sketch."""
    return PeopleUnion().merge(sketch).estimate


def _lock(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    """From here on the pinned files can be read, and nothing else be opened or changed."""
    connection.execute(f"SET allowed_paths = [{', '.join(map(literal, files))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _only_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise Refused(f"give one statement, not {len(statements)}")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise Refused(f"only SELECT is possible here, not {statements[0].type.name}")
    return statements[0]


@contextmanager
def _translated(files: Sequence[str]) -> Iterator[None]:
    try:
        yield
    except (duckdb.IOException, duckdb.PermissionException) as error:
        # A pinned file that is gone is taken for a pattern, and a pattern is not allowed.
        if isinstance(error, duckdb.PermissionException) and None not in sizes([place_at(file) for file in files]):
            raise Refused(_first_line(error)) from error
        raise Unavailable(f"a file of the lake could not be read: {_first_line(error)}") from error
    except (duckdb.FatalException, duckdb.InternalException) as error:
        raise StorageError(f"DuckDB failed: {_first_line(error)}") from error
    except duckdb.Error as error:
        if said := store_failure(error):
            raise Unavailable(f"a file of the lake could not be read: {said}") from error
        raise Refused(_first_line(error)) from error


def _groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Batches gathered into row groups; a group for each would make a large and slow file."""
    gathered: list[pa.RecordBatch] = []
    size = 0
    for batch in reader:
        gathered.append(batch)
        size += batch.nbytes
        if size >= _GROUP_BYTES:
            yield pa.Table.from_batches(gathered)
            gathered, size = [], 0
    if gathered:
        yield pa.Table.from_batches(gathered)


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def _unique(names: Sequence[str]) -> list[str]:
    """Column names, a repeated one with a number: `SELECT 1 AS a, 2 AS a` has two columns everywhere."""
    found: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate in found:
            number += 1
            candidate = f"{name}_{number}"
        found.append(candidate)
    return found


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bytes):
        return cell.hex()
    if isinstance(cell, float):
        return repr(cell)
    encoded = _encoder.encode(cell).decode()
    return encoded if encoded[0] in "[{" else encoded.strip('"')


_WRITERS = {
    "csv": Answer.write_csv,
    "json": Answer.write_json,
    "ndjson": Answer.write_ndjson,
    "parquet": Answer.write_parquet,
    "arrow": Answer.write_arrow,
}
