"""One pinned version of a table and its files: what every reader starts from. Never a glob."""

import threading
import time
from dataclasses import dataclass
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from storage.errors import LakeUnreadable, Unavailable
from storage.lake.erased import Erased, erased_of
from storage.lake.place import Place, let_read, store_failure
from storage.lake.tables import TableName, table_uri
from storage.lake.views import READ_OPTIONS, empty_select


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one table at one version; they stay on disk for a day after they were replaced."""

    table: TableName
    version: int
    files: tuple[str, ...]


class TableReader:
    """Follows one table: a held handle that moves forward when it is older than asked. Thread-safe."""

    def __init__(self, lake: Place | str, name: TableName) -> None:
        self.name = name
        self._table = DeltaTable(table_uri(lake, name))
        self._lock = threading.Lock()
        self._refreshed_at = time.monotonic()

    def snapshot(self, predicate: str | None = None, max_age_seconds: float = 0.0) -> Snapshot:
        """The newest version, at most `max_age_seconds` old, its files pruned by date and statistics."""
        with self._lock:
            self._refresh(max_age_seconds)
            return snapshot_of(self._table, self.name, predicate)

    def version(self, max_age_seconds: float = 0.0) -> int:
        """The newest version number, without listing files."""
        with self._lock:
            self._refresh(max_age_seconds)
            return self._table.version()

    def positions(self, chain: str, partitions: range) -> dict[int, int]:
        """The stored position of each partition that has one, at the handle's version."""
        with self._lock:
            found = {p: self._table.transaction_version(f"{chain}/{p}") for p in partitions}
        return {partition: position for partition, position in found.items() if position is not None}

    def erased(self, max_age_seconds: float) -> Erased:
        """Who was erased, as of a version at most so old."""
        with self._lock:
            self._refresh(max_age_seconds)
            return erased_of(self._table)

    def total(self, app: str) -> int:
        """One application transaction's version, 0 where it was never written."""
        with self._lock:
            return self._table.transaction_version(app) or 0

    def _refresh(self, max_age_seconds: float) -> None:
        now = time.monotonic()
        if now - self._refreshed_at > max_age_seconds:
            try:
                self._table.update_incremental()
            except (DeltaError, OSError) as error:
                raise Unavailable(f"the {self.name} table cannot be read now: {error}") from error
            self._refreshed_at = now


def snapshot_of(table: DeltaTable, name: TableName, predicate: str | None = None) -> Snapshot:
    """The files of a handle's version that may hold rows matching a predicate over statistics columns."""
    uris = table.file_uris(file_pruning_predicate=predicate)
    # A local path comes back percent-encoded; our own file names never need it.
    is_local = "://" not in table.table_uri or table.table_uri.startswith("file:")
    return Snapshot(name, table.version(), tuple(map(unquote, uris) if is_local else uris))


def relation(snapshot: Snapshot) -> tuple[str, list[object]]:
    """A FROM clause over the snapshot and its parameters: every column of the table, whatever its files hold.

    Files that are older than a column lack it; the empty relation beside them supplies it as null.
    """
    empty = empty_select(snapshot.table)
    if not snapshot.files:
        return f"({empty})", []
    return f"({empty} UNION ALL BY NAME SELECT * FROM read_parquet(?, {READ_OPTIONS}))", [list(snapshot.files)]


def read(snapshot: Snapshot, select: str, where: str, parameters: list[object]) -> pa.Table:
    """`SELECT select FROM snapshot WHERE where` as Arrow, in a DuckDB connection of its own."""
    source, bound = relation(snapshot)
    try:
        with duckdb.connect(":memory:") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            let_read(connection, snapshot.files[:1])
            rows: pa.Table = connection.sql(
                f"SELECT {select} FROM {source} WHERE {where}", params=[*bound, *parameters]
            ).to_arrow_table()
            return rows
    except duckdb.Error as error:
        said = store_failure(error) or error
        raise LakeUnreadable(f"cannot read {snapshot.table} at version {snapshot.version}: {said}") from error
