"""The tasks of maintenance on a real lake: merging, retention, rebuilding, vacuum, and when they must not go on."""

import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from schemas.deadletters import DeadLetter
from storage.lake.audit import REMOVED, audit
from storage.lake.commit import Span
from storage.lake.durability import NotDurable, SyncedVersions
from storage.lake.rollups import catch_up
from storage.lake.tables import TableName, table_uri
from storage.maintenance.files import live_files
from storage.maintenance.maintainer import Maintainer
from storage.maintenance.merging import Resources
from storage.maintenance.policy import MergePolicy, RetentionPolicy
from storage.maintenance.rebuilding import rebuild_rollups
from storage.maintenance.swap import MAINTAIN, SwapRefused, merge
from storage.maintenance.vacuum import sweep, sweep_scratch, vacuum
from tests.storage.lakes import DAY, NOON, Writer, arrow, days, event_row, keys, make_lake, offsets

LATER = datetime.now(UTC) + timedelta(days=1)


def _table(lake: Path, name: TableName = "events") -> DeltaTable:
    return DeltaTable(table_uri(lake, name))


def _maintainer(
    lake: Path,
    retention: RetentionPolicy | None = None,
    merging: MergePolicy | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Maintainer:
    run = lake.parent / "run"
    run.mkdir(exist_ok=True)
    policy = merging or MergePolicy(files_per_date=3)
    keep = retention or RetentionPolicy(dead_letter_days=100_000)
    return Maintainer(lake, run, policy, keep, Resources(), is_stopping)


def _origins(lake: Path, name: TableName = "events") -> list[str]:
    return sorted(file.origin for file in live_files(_table(lake, name)))


def _filled(root: Path, flushes: int = 5) -> Path:
    lake = make_lake(root)
    writer = Writer(lake)
    for _ in range(flushes):
        writer.append(writer.rows(4))
    return lake


def test_crowded_dates_are_merged_in_every_table_and_brought_to_disk(tmp_path: Path) -> None:
    lake = _filled(tmp_path)

    _maintainer(lake).merge_due(datetime.now(UTC))

    assert (_origins(lake), _origins(lake, "rollups")) == (["merged"], ["merged"])
    assert keys(lake) == offsets(0, 20)
    assert audit(lake, "scan").failures == []
    synced = SyncedVersions(tmp_path / "run" / "synced.json").read()
    assert synced == {"events": _table(lake).version(), "rollups": _table(lake, "rollups").version()}


def test_closed_dates_are_sorted_once_and_then_left_alone(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for at in days(5):
        writer.append(writer.rows(4, at))
    maintainer = _maintainer(lake)

    maintainer.merge_due(LATER)
    versions = {name: _table(lake, name).version() for name in ("events", "rollups")}
    maintainer.merge_due(LATER)

    assert _origins(lake) == ["sorted"] * 5
    assert versions == {"events": 6, "rollups": 6}, "five dates share one swap"
    assert versions["events"] == _table(lake).version()
    assert audit(lake, "scan").failures == []


def test_duplicates_that_a_closed_date_loses_leave_the_rollups_too(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    one, two = Writer(lake, 0), Writer(lake, 1)
    one.append([event_row(0, n, event_id=f"id-{n}") for n in range(6)])
    two.append([event_row(1, n, event_id=f"id-{n}") for n in range(4)])

    _maintainer(lake).merge_due(LATER)

    assert keys(lake) == offsets(0, 6)
    assert sum(arrow(lake, "rollups")["count"].to_pylist()) == 6
    assert audit(lake, "scan").failures == []


def test_late_rows_reopen_a_closed_date(tmp_path: Path) -> None:
    lake = _filled(tmp_path)
    maintainer = _maintainer(lake)
    maintainer.merge_due(LATER)
    writer = Writer(lake)
    writer.append([event_row(0, writer.next, event_id="0-0")])

    maintainer.merge_due(LATER)

    assert _origins(lake) == ["sorted"]
    assert keys(lake) == offsets(0, 20), "the first one wins across both merges"


def test_retention_by_age_takes_dates_from_events_and_rollups(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for at in days(4):
        writer.append(writer.rows(4, at))
    now = datetime(2026, 3, 4, 1, tzinfo=UTC)

    _maintainer(lake, RetentionPolicy(days=1, dead_letter_days=100_000)).expire_due(now)

    assert keys(lake) == offsets(8, 16)
    assert sorted(set(arrow(lake, "rollups")["date"].to_pylist())) == [date(2026, 3, 3), date(2026, 3, 4)]
    assert _table(lake).transaction_version(REMOVED) == 8
    assert audit(lake, "scan").failures == []


def test_retention_by_bytes_takes_the_oldest_dates(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for at in days(4):
        writer.append(writer.rows(4, at))
    everything = sum(file.size for name in ("events", "rollups") for file in live_files(_table(lake, name)))

    _maintainer(lake, RetentionPolicy(bytes=everything // 2 + 100, dead_letter_days=100_000)).expire_due(LATER)

    assert keys(lake) == offsets(8, 16)
    assert audit(lake, "scan").failures == []


def test_a_retention_that_was_interrupted_after_events_is_finished(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for at in days(3):
        writer.append(writer.rows(4, at))
    gone = CommitProperties(app_transactions=[Transaction(MAINTAIN, 1), Transaction(REMOVED, 4)])
    _table(lake).delete("date = '2026-03-01'", commit_properties=gone)
    assert not audit(lake).is_ok

    _maintainer(lake).rebuild_due(LATER)

    assert audit(lake, "scan").failures == []


def test_dead_letters_end_after_their_days_and_are_counted(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    at = int(NOON.timestamp() * 1000)
    writer.append([], rejects=[DeadLetter(0, 0, 0, "malformed", b"{", at), DeadLetter(0, 1, -1, "gap", b"", at)])
    fresh = at + 20 * 86_400_000
    writer.append([], rejects=[DeadLetter(0, 2, 0, "malformed", b"{", fresh)])
    now = datetime(2026, 4, 5, tzinfo=UTC)

    _maintainer(lake, RetentionPolicy()).expire_due(now)

    assert [row["kafka_offset"] for row in arrow(lake, "dead_letters").to_pylist()] == [2]
    assert audit(lake, "scan").failures == []


def test_rollups_are_rebuilt_only_where_they_differ(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for at in days(2):
        writer.append([event_row(0, writer.next + n, at=at + timedelta(hours=n), bot=n == 2) for n in range(4)])
    assert rebuild_rollups(lake, LATER) == []
    _table(lake).delete("kafka_offset = 1")
    before = arrow(lake, "rollups").to_pylist()

    assert rebuild_rollups(lake, LATER) == [DAY]

    after = arrow(lake, "rollups").to_pylist()
    assert [row for row in after if row["date"] != DAY] == [row for row in before if row["date"] != DAY]
    assert sum(row["count"] for row in after if row["date"] == DAY) == 2
    assert sum(row["count"] for row in before if row["date"] == DAY) == 3


def test_rebuilding_beside_a_writer_counts_nothing_twice(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)

    def write() -> None:
        writer = Writer(lake)
        for _ in range(25):
            writer.append(writer.rows(3))

    thread = threading.Thread(target=write)
    thread.start()
    removed = rebuilt = 0
    while thread.is_alive():
        table = _table(lake)
        turn = (table.transaction_version(MAINTAIN) or 0) + 1
        gone = CommitProperties(app_transactions=[Transaction(MAINTAIN, turn), Transaction(REMOVED, removed + 1)])
        with suppress(CommitFailedError):
            if table.delete(f"kafka_offset = {removed}", commit_properties=gone)["num_deleted_rows"]:
                removed += 1
        with suppress(SwapRefused):
            rebuilt += bool(rebuild_rollups(lake, LATER))
    thread.join()
    rebuild_rollups(lake, LATER)

    assert removed > 0
    assert rebuilt > 0
    assert keys(lake) == offsets(removed, 75)
    assert audit(lake, "scan").failures == []


def test_rollups_wait_while_they_stand_behind_events(tmp_path: Path) -> None:
    lake = _filled(tmp_path)
    writer = Writer(lake)
    writer.append(writer.rows(1), rolled_up=False)

    assert rebuild_rollups(lake, LATER) == []


def test_maintenance_stops_while_rows_are_doubled_and_goes_on_after(tmp_path: Path) -> None:
    lake = _filled(tmp_path)
    maintainer = _maintainer(lake, RetentionPolicy(days=1))
    whole = _table(lake).version()
    for handle in (_table(lake), DeltaTable(table_uri(lake, "events"), version=whole)):
        handle.optimize.compact()
    audit_task = maintainer.tasks(timedelta(hours=1))[0]

    audit_task.run(LATER)
    doubled = _table(lake).version()
    for task in maintainer.tasks(timedelta(hours=1))[1:]:
        task.run(LATER)

    assert maintainer.is_halted
    assert _table(lake).version() == doubled, "nothing was rewritten, removed or vacuumed"

    _table(lake).restore(whole)
    audit_task.run(LATER)
    assert not maintainer.is_halted


def test_a_failed_audit_is_repeated_soon_and_a_clean_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("storage.lake.audit._PAUSE_SECONDS", 0.0)
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    writer.append(writer.rows(2), rolled_up=False)
    maintainer = _maintainer(lake)
    first, again = maintainer.tasks(timedelta(hours=1))[:2]

    again.run(LATER)
    assert caplog.text == "", "nothing is in doubt yet"
    first.run(LATER)
    again.run(LATER)
    assert caplog.text.count("the lake does not add up") == 2
    assert catch_up(writer.rollups, writer.events, {0: Span(None, 2)}, None) is None
    again.run(LATER)
    caplog.clear()
    writer.append(writer.rows(2), rolled_up=False)
    again.run(LATER)

    assert caplog.text == ""
    assert not maintainer.is_halted


def test_a_stop_ends_merging_between_two_swaps(tmp_path: Path) -> None:
    lake = _filled(tmp_path)

    _maintainer(lake, is_stopping=lambda: True).merge_due(datetime.now(UTC))

    assert _origins(lake) == ["flushed"] * 5


def test_a_stop_in_the_middle_of_a_swap_leaves_nothing_behind(tmp_path: Path) -> None:
    lake = _filled(tmp_path)
    answers = iter([False])  # the loop goes in, the first batch finds the stop
    before = set((lake / "events").rglob("*.parquet"))

    _maintainer(lake, is_stopping=lambda: next(answers, True)).merge_due(datetime.now(UTC))

    assert set((lake / "events").rglob("*.parquet")) == before


def test_a_merge_that_cannot_reach_the_disk_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = _filled(tmp_path)

    def fail(self: object, table: DeltaTable) -> None:
        raise NotDurable("fsync")

    monkeypatch.setattr("storage.lake.durability.Barrier.sync", fail)

    with pytest.raises(NotDurable):
        _maintainer(lake).merge_due(datetime.now(UTC))


def test_vacuum_frees_old_orphans_and_replaced_files_only(tmp_path: Path) -> None:
    lake = _filled(tmp_path)
    root = lake / "events"
    old = datetime.now(UTC).timestamp() - 3 * 86_400
    orphan, young = root / "date=2026-03-01" / "merged-dead.zstd.parquet", root / "date=2026-03-01" / "young.parquet"
    for path in (orphan, young):
        path.write_bytes(b"x")
    os.utime(orphan, (old, old))
    live = set(_table(lake).file_uris())

    removed, _ = vacuum(root, datetime.now(UTC))

    assert removed == 1
    assert not orphan.exists()
    assert young.exists(), "it may be about to be committed"
    assert all(Path(path).exists() for path in live)
    assert keys(lake) == offsets(0, 20)


def test_sweep_removes_temporaries_of_writers_that_died_long_ago(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old, young = tmp_path / "_delta_log" / "7.json#1", tmp_path / "date=x" / "a.parquet#1"
    for path in (old, young):
        path.parent.mkdir()
        path.touch()
    stamp = (now - timedelta(days=2)).timestamp()
    os.utime(old, (stamp, stamp))

    assert sweep(tmp_path, now) == 1

    assert (old.exists(), young.exists()) == (False, True)


def test_scratch_of_dead_processes_goes_and_that_of_living_ones_stays(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    for name in (str(dead.pid), str(os.getpid()), "1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sort.tmp").touch()

    sweep_scratch(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {str(os.getpid()), "1"}


def test_a_merge_makes_the_directory_for_what_outgrows_its_memory(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for _ in range(3):
        writer.append(writer.rows(4))
    table = _table(lake)

    merge(table, "events", live_files(table), LATER, Resources(scratch=tmp_path / "it's" / "here"))

    assert (tmp_path / "it's" / "here").is_dir()
    assert keys(lake) == offsets(0, 12)


def test_all_tasks_run_beside_a_writer_and_the_lake_adds_up(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    maintainer = _maintainer(lake, merging=replace(MergePolicy(), files_per_date=2))
    for turn in range(6):
        for at in days(3):
            writer.append(writer.rows(2, at))
        for task in maintainer.tasks(timedelta(hours=1)):
            task.run(datetime.now(UTC) + timedelta(seconds=turn))

    assert keys(lake) == offsets(0, 36)
    assert audit(lake, "scan").failures == []
    assert not maintainer.is_halted
