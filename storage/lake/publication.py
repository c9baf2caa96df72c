"""`lake.duckdb` and `lake.sql`: the lake for whoever has nothing but DuckDB, always over a pinned file list."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from storage.errors import LakeBroken
from storage.lake.place import Place
from storage.lake.script import script
from storage.lake.tables import TABLES, TableName, table_uri
from storage.lake.views import DERIVED, files_select, literal, view_select

logger = logging.getLogger(__name__)

# The oldest DuckDB that must open the file; a newer format would shut out command lines of last year.
STORAGE_VERSION = "v1.2.0"
DATABASE = "lake.duckdb"
SCRIPT = "lake.sql"
# A look costs 2 ms; it and the time to publish stay within the second that is promised, on a busy machine too.
STEP_SECONDS = 0.25
# In a store each look is four requests that somebody pays for.
STORE_STEP_SECONDS = 5.0
# A builder that was killed leaves its file behind; no build takes this long.
ABANDONED_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Pinned:
    """One table at one version, its files as paths below the table's directory."""

    version: int
    files: tuple[str, ...]
    rows: int | None  # None where another writer left a file without its row count
    removed_rows: int


def open_tables(lake: Place) -> dict[TableName, DeltaTable]:
    """A handle of each table; raises LakeBroken where one is missing."""
    try:
        return {name: DeltaTable(table_uri(lake, name)) for name in TABLES}
    except (DeltaError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise LakeBroken(f"no lake at {lake} ({reason}): the first start of Streamgauge makes its tables") from error


def pin(table: DeltaTable) -> Pinned:
    """What a handle's version holds; refuses what a plain Parquet reader would get wrong."""
    if table.protocol().min_reader_version > 1:
        raise LakeBroken(
            f"{table.table_uri} needs a Delta reader (deletion vectors or column mapping were switched on)"
        )
    added = pa.table(table.get_add_actions())
    counts = added["num_records"].to_pylist()
    return Pinned(
        version=table.version(),
        files=tuple(added["path"].to_pylist()),
        rows=None if None in counts else sum(counts),
        removed_rows=table.transaction_version("maintain#removed") or 0,
    )


def publish(
    lake: Path, shown_as: str | None = None, for_group: bool = False, tables: Place | None = None
) -> dict[TableName, int]:
    """Write both files anew for the newest version of each table; returns those versions.

    `tables` is where these are when not beside the files: a store takes the tables, and never the files.
    `shown_as` is where readers find the lake (a mount, an s3:// prefix); without it, where it is.
    `for_group` opens the lake to the group of its files, and to nobody else.
    """
    place = tables or lake
    return _publish(lake, place, open_tables(place), shown_as, for_group, datetime.now(UTC))


class Publisher:
    """Republishes when a table has a new version; one thread of the maintain process."""

    def __init__(
        self, lake: Path, shown_as: str | None = None, for_group: bool = False, tables: Place | None = None
    ) -> None:
        self._lake = lake
        self._place = tables or lake
        self._shown_as = shown_as
        self._for_group = for_group
        self._tables: dict[TableName, DeltaTable] = {}
        self._published: dict[TableName, int] | None = None

    def step(self, now: datetime) -> bool:
        """Publish if a version moved or a file is gone; true when it did. Costs a millisecond when nothing changed."""
        if not self._tables:
            self._tables = open_tables(self._place)
        try:
            for table in self._tables.values():
                table.update_incremental()
        except (DeltaError, OSError) as error:
            self._tables = {}  # a handle older than the cleaned log: start from fresh ones
            raise LakeBroken(f"cannot follow the lake at {self._place}: {error}") from error
        versions = {name: table.version() for name, table in self._tables.items()}
        if versions == self._published and all((self._lake / name).exists() for name in (DATABASE, SCRIPT)):
            return False
        self._published = _publish(self._lake, self._place, self._tables, self._shown_as, self._for_group, now)
        return True

    def run(self, stop: Event) -> None:
        """Step until told to stop. A failure is logged and tried again: readers keep the version they have."""
        failure = ""
        while not stop.is_set():
            try:
                self.step(datetime.now(UTC))
                failure = ""
            except Exception as error:  # the edge of a thread: whatever it is, the next step tries again
                if str(error) != failure:  # once, not at every step
                    logger.warning("the lake was not published: %s", error)
                failure = str(error)
            stop.wait(STEP_SECONDS if isinstance(self._place, Path) else STORE_STEP_SECONDS)


def _publish(
    lake: Path,
    place: Place,
    tables: Mapping[TableName, DeltaTable],
    shown_as: str | None,
    for_group: bool,
    now: datetime,
) -> dict[TableName, int]:
    root = (shown_as or str(place.absolute())).rstrip("/")
    pins = {name: pin(table) for name, table in tables.items()}
    _sweep(lake)
    if for_group and isinstance(place, Path):
        _share(lake, pins)
    # Nobody may write, the owner included: a client that opens the database to write locks all readers out.
    mode = 0o440 if for_group else 0o444
    try:
        _replace(lake / DATABASE, mode, lambda aside: _build(aside, pins, root, now))
        _replace(lake / SCRIPT, mode, lambda aside: aside.write_text(script(root), encoding="utf-8"))
    except duckdb.Error as error:
        raise LakeBroken(f"cannot build {lake / DATABASE}: {error}") from error
    return {name: pinned.version for name, pinned in pins.items()}


def _build(target: Path, pins: Mapping[TableName, Pinned], root: str, now: datetime) -> None:
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH {literal(str(target))} AS lake (STORAGE_VERSION '{STORAGE_VERSION}')")
        connection.execute("USE lake")
        create_views(connection, pins, root, now)


def create_views(
    connection: duckdb.DuckDBPyConnection, pins: Mapping[TableName, Pinned], root: str, now: datetime
) -> None:
    """The views of every table and of their versions, over macros that hold the file lists.

    DuckDB binds a view when it is made, and would open every footer, at paths that may exist only where
    readers are. A macro is bound when it is used, if its file list depends on a parameter; so the views are
    made over empty macros, which then get their lists.
    """
    for name in pins:
        connection.execute(f"CREATE MACRO {_macro(name, (), root)}")
    for name in pins:
        connection.execute(f"CREATE VIEW {name} AS {view_select(name, f'{name}_files()')}")
        for derived in DERIVED if name == "events" else ():
            connection.execute(f"CREATE VIEW {derived} AS {DERIVED[derived]}")
    for name, pinned in pins.items():
        connection.execute(f"CREATE OR REPLACE MACRO {_macro(name, pinned.files, root)}")
    connection.execute(f"CREATE VIEW lake_version AS {_versions(pins, now)}")


def _macro(name: TableName, files: Sequence[str], root: str) -> str:
    return f"{name}_files(root := {literal(root)}) AS TABLE {files_select(name, files, 'root')}"


def _versions(pins: Mapping[TableName, Pinned], now: datetime) -> str:
    rows = ", ".join(
        f"({literal(name)}, {p.version}::BIGINT, {literal(now.isoformat())}::TIMESTAMPTZ, "
        f"{'NULL' if p.rows is None else p.rows}::BIGINT, {p.removed_rows}::BIGINT)"
        for name, p in pins.items()
    )
    return f"SELECT * FROM (VALUES {rows}) AS pinned(table_name, version, published_at, row_count, removed_rows)"


def _replace(target: Path, mode: int, write: Callable[[Path], object]) -> None:
    """Make a file aside and rename it over: a reader sees the old one or the new one."""
    aside = target.with_name(f".{target.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        write(aside)
        aside.chmod(mode)
        # The log of a client that opened the old file for writing would be replayed into the new one.
        target.with_name(f"{target.name}.wal").unlink(missing_ok=True)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _share(lake: Path, pins: Mapping[TableName, Pinned]) -> None:
    """Let the group read what is pinned, whichever process wrote it and with what mask."""
    files = [lake / name / file for name, pinned in pins.items() for file in pinned.files]
    logs = [lake / name / "_delta_log" for name in pins]
    for folder in {lake, *logs, *(log.parent for log in logs), *(file.parent for file in files)}:
        folder.chmod(0o750)
    entries = [entry for log in logs for kind in ("*.json", "*.parquet") for entry in log.glob(kind)]
    for file in (*files, *entries):
        with suppress(FileNotFoundError):  # an entry that log clean-up just removed
            file.chmod(0o640)


def _sweep(lake: Path) -> None:
    """Remove what a killed builder left."""
    for left in lake.glob(".lake.*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                left.unlink()
