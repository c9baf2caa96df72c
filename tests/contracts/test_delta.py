"""What delta-rs does, as far as exactly once stands on it. A failure here after an upgrade means: do not upgrade."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Field, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, RemoveAction

SCHEMA = pa.schema([pa.field("n", pa.int64(), nullable=False), pa.field("date", pa.string(), nullable=False)])


def _rows(*numbers: int, day: str = "2026-03-01") -> pa.Table:
    return pa.table({"n": list(numbers), "date": [day] * len(numbers)}, schema=SCHEMA)


def _fence(**versions: int) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction(app, version) for app, version in versions.items()])


def _append(table: DeltaTable, rows: pa.Table, **versions: int) -> None:
    write_deltalake(table, rows, mode="append", schema_mode="merge", commit_properties=_fence(**versions))


def _numbers(uri: str) -> list[int]:
    files = DeltaTable(uri).file_uris()
    return sorted(n for file in files for n in pq.read_table(file, partitioning=None)["n"].to_pylist())


def _replace(table: DeltaTable, is_change: bool, **versions: int) -> None:
    """Remove every file and add one of the same rows: the swap in its barest form."""
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    rows = pa.concat_tables(pq.read_table(file, partitioning=None) for file in table.file_uris())
    path = f"date=2026-03-01/new-{os.urandom(4).hex()}.parquet"
    place = Path(table.table_uri.removeprefix("file://")) / path
    pq.write_table(rows, place)
    gone = [RemoveAction(a["path"], is_change, 0, a["size_bytes"], {"date": a["partition.date"]}) for a in actions]
    new = AddAction(path, place.stat().st_size, {"date": "2026-03-01"}, 0, is_change, f'{{"numRecords":{len(rows)}}}')
    _commit(table, [*gone, new], **versions)


def _commit(table: DeltaTable, actions: Sequence[AddAction | RemoveAction], **versions: int) -> None:
    table.create_write_transaction(
        list(actions), "append", table.schema(), ["date"], commit_properties=_fence(**versions)
    )


@pytest.fixture
def uri(tmp_path: Path) -> str:
    place = str(tmp_path / "table")
    DeltaTable.create(
        place,
        schema=SCHEMA,
        partition_by=["date"],
        configuration={"delta.checkpointInterval": "100", "delta.deletedFileRetentionDuration": "interval 1 days"},
    )
    return place


def test_rows_and_many_transactions_appear_in_one_commit(uri: str) -> None:
    versions = {f"chain/{partition}": partition + 1 for partition in range(384)}
    _append(DeltaTable(uri), _rows(1, 2), **versions)

    fresh = DeltaTable(uri)

    assert fresh.version() == 1
    assert all(fresh.transaction_version(app) == version for app, version in versions.items())
    assert _numbers(uri) == [1, 2]


def test_an_empty_table_commits_transactions_alone(uri: str) -> None:
    _append(DeltaTable(uri), SCHEMA.empty_table(), a=7)

    assert (DeltaTable(uri).transaction_version("a"), DeltaTable(uri).file_uris()) == (7, [])


@pytest.mark.parametrize("version", [1, 10, 99])
def test_a_second_stale_handle_with_the_same_app_is_refused(uri: str, version: int) -> None:
    first, second, other = DeltaTable(uri), DeltaTable(uri), DeltaTable(uri)
    _append(first, _rows(1), a=10)
    _append(other, _rows(2), b=1)

    with pytest.raises(CommitFailedError):
        _append(second, _rows(1), a=version)

    assert _numbers(uri) == [1, 2]


def test_stale_handles_of_different_apps_both_land(uri: str) -> None:
    first, second = DeltaTable(uri), DeltaTable(uri)
    _append(first, _rows(1), a=1)
    _append(second, _rows(2), b=1)

    assert _numbers(uri) == [1, 2]


def test_a_success_moves_the_handle_over_foreign_commits_and_a_refusal_leaves_it(uri: str) -> None:
    mine, theirs = DeltaTable(uri), DeltaTable(uri)
    _append(theirs, _rows(1), theirs=5)
    assert mine.transaction_version("theirs") is None
    _append(mine, _rows(2), mine=1)
    assert (mine.version(), mine.transaction_version("theirs")) == (2, 5)

    with pytest.raises(CommitFailedError):
        _append(theirs, _rows(3), mine=2)
    assert theirs.version() == 1


def test_a_fresh_handle_accepts_a_lower_version(uri: str) -> None:
    """So the stored position is always compared with the one held, on the handle that commits."""
    _append(DeltaTable(uri), _rows(1), a=10)
    _append(DeltaTable(uri), _rows(1), a=10)
    _append(DeltaTable(uri), _rows(1), a=3)

    assert DeltaTable(uri).transaction_version("a") == 3


def test_missing_columns_are_padded_with_merge_and_refused_without(uri: str) -> None:
    stale = DeltaTable(uri)
    DeltaTable(uri).alter.add_columns([Field("later", PrimitiveType("string"))])
    with pytest.raises(CommitFailedError):
        _append(stale, _rows(1), a=1)  # refused once: the metadata changed
    with pytest.raises(SchemaMismatchError):
        write_deltalake(DeltaTable(uri), _rows(1), mode="append")

    _append(DeltaTable(uri), _rows(1), a=1)

    assert _numbers(uri) == [1]


def test_two_stale_optimizes_double_the_table(uri: str) -> None:
    """Why compaction is our own: they ignore application transactions. Should this fail, they may be fixed."""
    for n in range(4):
        _append(DeltaTable(uri), _rows(n))
    first, second = DeltaTable(uri), DeltaTable(uri)
    first.optimize.compact(commit_properties=_fence(maintain=1))
    second.optimize.compact(commit_properties=_fence(maintain=1))

    assert len(_numbers(uri)) == 8


def test_the_swap_is_fenced_and_does_not_move_its_handle(uri: str) -> None:
    _append(DeltaTable(uri), _rows(1, 2))
    first, second = DeltaTable(uri), DeltaTable(uri)
    _replace(first, False, maintain=1)
    assert first.version() == 1

    with pytest.raises(CommitFailedError):
        _replace(second, False, maintain=1)

    assert _numbers(uri) == [1, 2]


def test_a_swap_without_changes_lets_stale_appends_pass_on_both_sides(uri: str) -> None:
    _append(DeltaTable(uri), _rows(1))
    swapper, writer = DeltaTable(uri), DeltaTable(uri)
    _append(DeltaTable(uri), _rows(2), a=1)
    _replace(swapper, False, maintain=1)
    _append(writer, _rows(3), b=1)

    assert _numbers(uri) == [1, 2, 3]


@pytest.mark.parametrize("change", ["swap", "delete"])
def test_an_append_is_refused_once_after_rows_were_removed(uri: str, change: str) -> None:
    _append(DeltaTable(uri), _rows(1, 2))
    writer = DeltaTable(uri)
    if change == "swap":
        _replace(DeltaTable(uri), True, maintain=1)
    else:
        DeltaTable(uri).delete("n = 2", commit_properties=_fence(maintain=1))

    with pytest.raises(CommitFailedError):
        _append(writer, _rows(3), a=1)

    _append(DeltaTable(uri), _rows(3), a=1)
    assert _numbers(uri) == ([1, 2, 3] if change == "swap" else [1, 3])


def test_an_append_that_did_not_see_a_changed_property_is_refused(uri: str) -> None:
    writer = DeltaTable(uri)
    before = writer.metadata().id
    DeltaTable(uri).alter.set_table_properties({"ours": "1"}, raise_if_not_exists=False)

    with pytest.raises(CommitFailedError, match="Metadata changed"):
        _append(writer, _rows(1), a=1)

    writer = DeltaTable(uri)
    assert writer.metadata().configuration["ours"] == "1"
    assert writer.metadata().id == before
    _append(writer, _rows(1), a=1)
    DeltaTable(uri).restore(0)
    assert "ours" not in DeltaTable(uri).metadata().configuration, "restore brings back the older properties"


def test_delete_and_overwrite_honour_the_fence(uri: str) -> None:
    _append(DeltaTable(uri), _rows(1, 2))
    deleter, overwriter = DeltaTable(uri), DeltaTable(uri)
    _append(DeltaTable(uri), SCHEMA.empty_table(), maintain=1)

    with pytest.raises(CommitFailedError):
        deleter.delete("n = 1", commit_properties=_fence(maintain=2))
    with pytest.raises(CommitFailedError):
        write_deltalake(
            overwriter,
            _rows(9),
            mode="overwrite",
            predicate="date = '2026-03-01'",
            commit_properties=_fence(maintain=2),
        )

    assert _numbers(uri) == [1, 2]


def test_a_swap_over_a_removal_is_refused_even_without_the_fence(uri: str) -> None:
    _append(DeltaTable(uri), _rows(1, 2))
    swapper = DeltaTable(uri)
    DeltaTable(uri).delete("n = 2")

    with pytest.raises(CommitFailedError):
        _replace(swapper, False, maintain=1)

    assert _numbers(uri) == [1]


def test_a_swap_does_not_check_that_its_files_exist(uri: str) -> None:
    """Why the barrier does."""
    table = DeltaTable(uri)
    _commit(table, [AddAction("date=2026-03-01/nowhere.parquet", 10, {"date": "2026-03-01"}, 0, True, "{}")], a=1)

    assert len(DeltaTable(uri).file_uris()) == 1


def test_an_error_may_follow_a_commit_that_landed(uri: str) -> None:
    DeltaTable(uri).alter.set_table_properties({"delta.checkpointInterval": "2"})
    _append(DeltaTable(uri), _rows(1), a=4)
    table = DeltaTable(uri)
    (Path(uri) / "_delta_log" / f"{3:020}.checkpoint.parquet").mkdir()  # no checkpoint can be put there

    with pytest.raises((DeltaError, OSError)):
        _append(table, _rows(2), a=5)

    (Path(uri) / "_delta_log" / f"{3:020}.checkpoint.parquet").rmdir()
    assert (DeltaTable(uri).transaction_version("a"), _numbers(uri)) == (5, [1, 2])


def test_restore_brings_back_rows_but_positions_only_when_told(uri: str) -> None:
    _append(DeltaTable(uri), _rows(1), a=1)
    _append(DeltaTable(uri), _rows(2), a=2)
    stale = DeltaTable(uri)

    DeltaTable(uri).restore(1)
    assert (_numbers(uri), DeltaTable(uri).transaction_version("a")) == ([1], 2)

    DeltaTable(uri).restore(1, commit_properties=_fence(a=1))
    assert (_numbers(uri), DeltaTable(uri).transaction_version("a")) == ([1], 1)
    with pytest.raises(CommitFailedError):
        _append(stale, _rows(3), b=1)


def test_checkpoints_and_log_clean_up_run_by_themselves_and_keep_transactions(uri: str) -> None:
    log = Path(uri) / "_delta_log"
    DeltaTable(uri).alter.set_table_properties(
        {"delta.checkpointInterval": "5", "delta.logRetentionDuration": "interval 2 days"}
    )
    _append(DeltaTable(uri), _rows(0), old=3)
    table = DeltaTable(uri)
    old = (datetime.now(UTC) - timedelta(days=3)).timestamp()
    for n in range(1, 8):
        _append(table, _rows(n), a=n)
        for entry in log.glob("*.json"):
            os.utime(entry, (old, old))

    assert [path.name for path in sorted(log.glob("*.checkpoint.parquet"))][-1] == f"{9:020}.checkpoint.parquet"
    assert not (log / f"{0:020}.json").exists(), "entries below a checkpoint and older than the retention go"
    fresh = DeltaTable(uri)
    assert (fresh.transaction_version("old"), fresh.transaction_version("a")) == (3, 7)
    assert _numbers(uri) == list(range(8))


def test_a_handle_older_than_the_cleaned_log_cannot_fork_it(uri: str) -> None:
    stale = DeltaTable(uri)
    for n in range(4):
        _append(DeltaTable(uri), _rows(n), a=n)
    DeltaTable(uri).create_checkpoint()
    for version in range(4):
        (Path(uri) / "_delta_log" / f"{version:020}.json").unlink()

    with pytest.raises(DeltaError):
        _append(stale, _rows(9), b=1)

    assert _numbers(uri) == [0, 1, 2, 3]


def test_vacuum_removes_orphans_only_when_full_and_commits_twice(uri: str) -> None:
    _append(DeltaTable(uri), _rows(1))
    DeltaTable(uri).create_checkpoint()
    orphan = Path(uri) / "date=2026-03-01" / "orphan.parquet"
    orphan.write_bytes(b"x")
    old = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    os.utime(orphan, (old, old))

    DeltaTable(uri).vacuum(dry_run=False)
    assert orphan.exists()
    before = DeltaTable(uri).version()
    DeltaTable(uri).vacuum(full=True, dry_run=False)

    assert not orphan.exists()
    assert DeltaTable(uri).version() == before + 2
    assert _numbers(uri) == [1]


def test_vacuum_never_removes_temporaries_of_killed_writers(uri: str) -> None:
    """Why there is a sweep of our own."""
    left = Path(uri) / "date=2026-03-01" / "part-1.parquet#1"
    left.parent.mkdir()
    left.write_bytes(b"x")
    old = (datetime.now(UTC) - timedelta(days=9)).timestamp()
    os.utime(left, (old, old))

    DeltaTable(uri).vacuum(full=True, dry_run=False)

    assert left.exists()


def test_files_are_pruned_by_date_and_statistics(uri: str) -> None:
    _append(DeltaTable(uri), _rows(1, 2))
    _append(DeltaTable(uri), _rows(3, 4))
    _append(DeltaTable(uri), _rows(3, 4, day="2026-03-02"))
    table = DeltaTable(uri)

    assert len(table.file_uris(file_pruning_predicate="n = 3")) == 2
    assert len(table.file_uris(file_pruning_predicate="date = '2026-03-02'")) == 1
    assert len(table.file_uris(file_pruning_predicate="date = '2026-03-01' AND n >= 3")) == 1


def test_row_order_is_kept(uri: str) -> None:
    _append(DeltaTable(uri), _rows(3, 1, 2))

    [file] = DeltaTable(uri).file_uris()
    assert pq.read_table(file, partitioning=None)["n"].to_pylist() == [3, 1, 2]
