"""The data files of a table: those that are live, and new ones with the statistics the log shows."""

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from storage.lake.durability import sync_file
from storage.lake.place import Place
from storage.lake.tables import PACKED, PACKED_COLUMNS, SORTED_GROUP_ROWS, TABLES, TableName, writer_properties

# The state of a file is in its name, so that the policy needs no memory: `sorted` files belong to a closed
# date that was sorted and deduplicated as a whole; any other file of that date came later.
Origin = Literal["flushed", "merged", "sorted"]
COMPRESSION_LEVEL = 3
TARGET_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LiveFile:
    """One data file of a table's version."""

    path: str  # relative to the table
    size: int
    rows: int
    date: date
    written_at: datetime

    @property
    def origin(self) -> Origin:
        name = self.path.rsplit("/", 1)[-1]
        if name.startswith("sorted-"):
            return "sorted"
        return "merged" if name.startswith("merged-") else "flushed"


def live_files(table: DeltaTable) -> list[LiveFile]:
    """Every file of the handle's version, oldest first."""
    actions = pa.table(table.get_add_actions(flatten=True)).select(
        ["path", "size_bytes", "num_records", "partition.date", "modification_time"]
    )
    files = (
        LiveFile(path, size, rows or 0, day, datetime.fromtimestamp(written / 1000, UTC))
        for path, size, rows, day, written in zip(*(column.to_pylist() for column in actions.columns), strict=True)
    )
    return sorted(files, key=lambda file: (file.written_at, file.path))


def wide(schema: pa.Schema) -> pa.Schema:
    """The same columns with 64-bit offsets: a row group of large properties may pass 2 GB."""
    widened = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    return pa.schema([column.with_type(widened.get(column.type, column.type)) for column in schema])


@dataclass(slots=True)
class _Statistics:
    """What the log will say about one file."""

    columns: tuple[str, ...]
    rows: int = 0
    nulls: dict[str, int] = field(default_factory=dict)
    low: dict[str, Any] = field(default_factory=dict)
    high: dict[str, Any] = field(default_factory=dict)

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += len(batch)
        for name in self.columns:
            column = batch[name]
            self.nulls[name] = self.nulls.get(name, 0) + column.null_count
            bounds = pc.min_max(column).as_py()
            if bounds["min"] is not None:
                self.low[name] = min(self.low.get(name, bounds["min"]), bounds["min"])
                self.high[name] = max(self.high.get(name, bounds["max"]), bounds["max"])

    def json(self) -> str:
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {name: _shown(value, is_upper=False) for name, value in self.low.items()},
                "maxValues": {name: _shown(value, is_upper=True) for name, value in self.high.items()},
                "nullCount": self.nulls,
            }
        )


def _shown(value: Any, is_upper: bool) -> Any:
    """A bound as the log writes it; instants are kept to the millisecond, rounded outwards."""
    if not isinstance(value, datetime):
        return value
    milliseconds, rest = divmod((value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1), 1000)
    milliseconds += 1 if is_upper and rest else 0
    rounded = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return rounded.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class DateFiles:
    """Writes rows that come sorted by date into new files, on disk before anything names them."""

    def __init__(
        self,
        table: Place,
        name: TableName,
        schema: pa.Schema,
        origin: Origin,
        target_bytes: int = TARGET_BYTES,
        label: str = "",
    ) -> None:
        """`label` comes into the names of the files, after their origin."""
        self.table = table
        self.schema = wide(pa.schema([column for column in schema if column.name != "date"]))
        self.written: list[AddAction] = []
        self._name = name
        self._prefix = f"{origin}-{label}"
        self._target_bytes = target_bytes
        self._open: _OpenFile | None = None
        self._group_bytes = 0

    def write(self, batches: Iterable[pa.RecordBatch]) -> int:
        """Write all batches and close; how many rows. On any failure the new files are removed."""
        rows = 0
        try:
            for batch in batches:
                rows += len(batch)
                for day, part in _by_date(batch):
                    self._write_part(day, part)
            self._close()
        except BaseException:
            self.discard()
            raise
        return rows

    def _write_part(self, day: date, part: pa.RecordBatch) -> None:
        if self._open and (self._open.day != day or self._open.size + self._group_bytes > self._target_bytes):
            self._close()
        if self._open is None:
            self._open = _OpenFile.create(self.table, self._name, self.schema, day, self._prefix)
        before = self._open.size
        self._open.write(pa.RecordBatch.from_arrays([part[name] for name in self.schema.names], schema=self.schema))
        self._group_bytes = max(self._group_bytes, self._open.size - before)

    def write_empty(self, day: date) -> None:
        """A file without rows, which says that a date has none."""
        self._open = _OpenFile.create(self.table, self._name, self.schema, day, self._prefix)
        self._close()

    def _close(self) -> None:
        if self._open:
            self.written.append(self._open.close())
            self._open = None

    def discard(self) -> None:
        """Remove the new files: nothing names them."""
        if self._open:
            self._open.discard()
        for action in self.written:
            (self.table / action.path).unlink(missing_ok=True)


@dataclass(slots=True)
class _OpenFile:
    day: date
    path: str
    place: Place
    sink: pa.NativeFile
    writer: pq.ParquetWriter
    statistics: _Statistics

    @classmethod
    def create(cls, table: Place, name: TableName, schema: pa.Schema, day: date, prefix: str) -> "_OpenFile":
        path = f"date={day}/{prefix}{uuid.uuid4()}.zstd.parquet"
        place = table / path
        named = writer_properties(name).column_properties or {}
        columns = TABLES[name].statistics
        sink = _sink(place)
        writer = pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=[column for column in schema.names if column not in named],
            column_encoding={column: PACKED for column in PACKED_COLUMNS if column in schema.names},
            write_statistics=list(columns),
            store_schema=False,  # the wide types are ours, not the table's
        )
        return cls(day, path, place, sink, writer, _Statistics(columns))

    @property
    def size(self) -> int:
        position: int = self.sink.tell()
        return position

    def write(self, batch: pa.RecordBatch) -> None:
        self.writer.write_batch(batch, row_group_size=SORTED_GROUP_ROWS)
        self.statistics.add(batch)

    def close(self) -> AddAction:
        self.writer.close()
        size = self.size
        self.sink.close()
        if isinstance(self.place, Path):
            sync_file(self.place)
            sync_file(self.place.parent)
        return AddAction(
            path=self.path,
            size=size,
            partition_values={"date": str(self.day)},
            modification_time=int(time.time() * 1000),
            data_change=False,
            stats=self.statistics.json(),
        )

    def discard(self) -> None:
        with suppress(OSError):  # the disk may be what failed
            self.writer.close()
        self.writer.is_open = False  # or it tries again when it is collected
        self.sink.close()
        self.place.unlink(missing_ok=True)


def _sink(place: Place) -> pa.NativeFile:
    if not isinstance(place, Path):
        return place.open_to_write()
    place.parent.mkdir(exist_ok=True)
    return pa.OSFile(str(place), "wb")


def _by_date(batch: pa.RecordBatch) -> Iterator[tuple[date, pa.RecordBatch]]:
    """The runs of one date in a batch that is sorted by date."""
    if not len(batch):
        return
    runs = pc.run_end_encode(batch["date"])
    start = 0
    for day, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield day, batch.slice(start, end - start)
        start = end
