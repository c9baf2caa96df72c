"""The fenced swap: some files of a table leave, others with the same rows come, in one commit.

delta-rs' own `optimize` ignores application transactions, and two stale runs double the table. Here
the transaction `maintain` refuses the second, and `maintain#removed` counts every row that goes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from storage.errors import Conflict, LakeBroken
from storage.lake.audit import REMOVED
from storage.lake.place import place_at
from storage.lake.tables import TableName, transactions
from storage.maintenance.files import TARGET_BYTES, DateFiles, LiveFile
from storage.maintenance.merging import Condition, Resources, sorted_rows

MAINTAIN = "maintain"


class SwapRefused(Conflict):
    """Another commit came first, or the disk is full: nothing changed; plan again from a fresh handle."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """What one swap did."""

    files_in: int
    files_out: int
    rows_in: int
    rows_out: int


def merge(
    table: DeltaTable,
    name: TableName,
    files: Sequence[LiveFile],
    now: datetime,
    resources: Resources,
    is_final: bool = False,
    target_bytes: int = TARGET_BYTES,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Swapped:
    """Rewrite files, all of the handle's version, as few sorted ones; a final merge also deduplicates events.

    Raises SwapRefused; whatever it wrote by then is an orphan for vacuum, or already removed.
    """
    root, schema = place_at(table.table_uri), pa.schema(table.schema().to_arrow())
    writer = DateFiles(root, name, schema, "sorted" if is_final else "merged", target_bytes)
    is_deduplicated = is_final and name == "events"
    with sorted_rows(root, name, schema, files, resources, is_deduplicated) as batches:
        rows_out = writer.write(_until_stopped(batches, is_stopping))
    rows_in = sum(file.rows for file in files)
    if name != "rollups" and not is_deduplicated and rows_out != rows_in:
        raise LakeBroken(
            f"{name}: its files hold {rows_out} rows, its log says {rows_in}; run `streamgauge lake verify`"
        )
    removed = rows_in - rows_out if is_deduplicated else 0
    # Readers of changes must see rollups anew: their rows are other rows, though they say the same.
    is_change = removed > 0 or name == "rollups"
    _commit_files(table, files, writer, now, removed, is_change, f"merge {len(files)} files of {name}")
    return Swapped(len(files), len(writer.written), rows_in, rows_out)


def rewrite(
    table: DeltaTable,
    name: TableName,
    files: Sequence[LiveFile],
    now: datetime,
    resources: Resources,
    without: Condition,
    note: str,
    also: Callable[[int], dict[str, int]] = lambda removed: {},
) -> Swapped:
    """Rewrite files without the rows that meet a condition. Raises SwapRefused.

    `also` says which other application transactions change when so many rows go.
    """
    root, schema = place_at(table.table_uri), pa.schema(table.schema().to_arrow())
    is_sorted = all(file.origin == "sorted" for file in files)
    writer = DateFiles(root, name, schema, "sorted" if is_sorted else "merged")
    with sorted_rows(root, name, schema, files, resources, without=without) as batches:
        rows_out = writer.write(batches)
    rows_in = sum(file.rows for file in files)
    removed = rows_in - rows_out
    _commit_files(table, files, writer, now, removed, True, note, also(removed))
    return Swapped(len(files), len(writer.written), rows_in, rows_out)


def _commit_files(
    table: DeltaTable,
    files: Sequence[LiveFile],
    writer: DateFiles,
    now: datetime,
    removed: int,
    is_change: bool,
    note: str,
    extra: dict[str, int] | None = None,
) -> None:
    try:
        commit(table, files, writer.written, now, removed, is_change, note, extra)
    except SwapRefused:  # an erasure that came first must not leave a copy of what it erased
        writer.discard()
        raise


def _until_stopped(batches: Iterable[pa.RecordBatch], is_stopping: Callable[[], bool]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if is_stopping():
            raise SwapRefused("the process stops; nothing was swapped")
        yield batch


def remove(
    table: DeltaTable, files: Sequence[LiveFile], now: datetime, note: str, extra: dict[str, int] | None = None
) -> int:
    """Take whole files out, with every row in them; how many rows. Raises SwapRefused."""
    removed = sum(file.rows for file in files)
    commit(table, files, [], now, removed, True, note, extra)
    return removed


def commit(
    table: DeltaTable,
    old: Sequence[LiveFile],
    new: Sequence[AddAction],
    now: datetime,
    removed: int,
    is_change: bool,
    note: str,
    extra: dict[str, int] | None = None,
) -> None:
    """Commit on the handle the files were listed from. Raises SwapRefused when nothing is in."""
    turn = (table.transaction_version(MAINTAIN) or 0) + 1
    versions = {MAINTAIN: turn, REMOVED: (table.transaction_version(REMOVED) or 0) + removed} | (extra or {})
    at = int(now.timestamp() * 1000)
    gone = [RemoveAction(file.path, is_change, at, file.size, {"date": str(file.date)}) for file in old]
    try:
        table.create_write_transaction(
            [*gone, *(replace(action, data_change=is_change) for action in new)],
            "append",
            table.schema(),
            ["date"],
            commit_properties=CommitProperties(
                app_transactions=transactions(versions), custom_metadata={"streamgauge": note}
            ),
        )
    except (DeltaError, OSError) as error:
        if not _landed(table.table_uri, versions, old, new):
            raise SwapRefused(f"{note}: {error}") from error


def _landed(uri: str, versions: dict[str, int], old: Sequence[LiveFile], new: Sequence[AddAction]) -> bool:
    """Whether the commit is in although it raised, as when there was no room for the checkpoint after it.

    In doubt it is not: planning again from a fresh handle is harmless either way.
    """
    fresh = DeltaTable(uri)
    live = set(pa.table(fresh.get_add_actions())["path"].to_pylist())
    return (
        all(fresh.transaction_version(app) == version for app, version in versions.items())
        and all(action.path in live for action in new)
        and not any(file.path in live for file in old)
    )
