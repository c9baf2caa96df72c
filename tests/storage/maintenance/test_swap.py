"""The fenced swap keeps every row once, whatever runs beside it; delta-rs' own compaction is the control."""

import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Field, Transaction, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.schema import PrimitiveType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import LakeBroken
from storage.lake.audit import REMOVED, audit
from storage.lake.columns import rows_table
from storage.lake.snapshot import TableReader, read
from storage.lake.tables import TABLES, TableName, table_uri
from storage.maintenance.files import DateFiles, live_files, wide
from storage.maintenance.merging import Resources, sorted_rows
from storage.maintenance.swap import MAINTAIN, Swapped, SwapRefused, merge, remove
from storage.sketches import PeopleUnion
from tests.storage.lakes import NOON, Writer, arrow, days, event_row, keys, make_lake, offsets

NOW = datetime(2026, 3, 5, tzinfo=UTC)


def _table(lake: Path, name: TableName = "events") -> DeltaTable:
    return DeltaTable(table_uri(lake, name))


def _merge(table: DeltaTable, name: TableName = "events", is_final: bool = False) -> Swapped:
    return merge(table, name, live_files(table), NOW, Resources(), is_final)


def _filled(root: Path, flushes: int = 4, rows: int = 5) -> tuple[Path, Writer]:
    lake = make_lake(root)
    writer = Writer(lake)
    for _ in range(flushes):
        writer.append(writer.rows(rows))
    return lake, writer


def test_a_merge_keeps_every_row_once_in_one_sorted_file(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for project in (3, 1, 2):
        writer.append([event_row(0, writer.next + n, project=project) for n in (2, 0, 1)])

    swapped = _merge(_table(lake))

    assert swapped == Swapped(files_in=3, files_out=1, rows_in=9, rows_out=9)
    assert keys(lake) == offsets(0, 9)
    [file] = live_files(_table(lake))
    assert file.origin == "merged"
    rows = pq.read_table(
        lake / "events" / file.path, columns=["project_id", "timestamp"], partitioning=None
    ).to_pylist()
    order = [(row["project_id"], row["timestamp"]) for row in rows]
    assert order == sorted(order)


def test_a_merge_moves_no_position_and_no_total(tmp_path: Path) -> None:
    lake, writer = _filled(tmp_path)
    _merge(_table(lake))

    fresh = Writer(lake)

    assert (fresh.next, fresh.events.total(0, "rows")) == (writer.next, writer.next)
    assert fresh.events.table.transaction_version(MAINTAIN) == 1
    assert fresh.events.table.transaction_version(REMOVED) == 0


def test_a_second_stale_swap_is_refused(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    first, second = _table(lake), _table(lake)
    _merge(first)

    with pytest.raises(SwapRefused):
        _merge(second)

    assert keys(lake) == offsets(0, 20)


def test_the_control_two_stale_optimizes_double_the_table(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    first, second = _table(lake), _table(lake)
    first.optimize.compact(commit_properties=CommitProperties(app_transactions=[Transaction(MAINTAIN, 1)]))
    second.optimize.compact(commit_properties=CommitProperties(app_transactions=[Transaction(MAINTAIN, 1)]))

    assert keys(lake).total() == 40


@pytest.mark.parametrize("name", ["events", "rollups", "dead_letters", "sessions"])
def test_a_table_without_files_needs_no_merge_and_survives_an_empty_commit(tmp_path: Path, name: TableName) -> None:
    lake = make_lake(tmp_path)

    assert live_files(_table(lake, name)) == []


def test_appends_beside_swaps_keep_every_row_once(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    stop = threading.Event()
    outcomes: Counter[str] = Counter()

    def swap_until_stopped() -> None:
        while not stop.is_set():
            table = _table(lake)
            if len(live_files(table)) < 2:
                continue
            try:
                _merge(table)
                outcomes["landed"] += 1
            except SwapRefused:
                outcomes["refused"] += 1

    def write(partition: int) -> None:
        writer = Writer(lake, partition)
        for _ in range(25):
            writer.append(writer.rows(3), rolled_up=False)

    threads = [threading.Thread(target=swap_until_stopped) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(partition,)) for partition in range(2)]
    for thread in threads + writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in threads:
        thread.join()

    assert keys(lake) == offsets(0, 75, 0) + offsets(0, 75, 1)
    assert outcomes["landed"] > 0
    assert outcomes["refused"] > 0, "two maintainers at once must have met"


def _write_in_child(lake: Path, partition: int, flushes: int) -> None:
    writer = Writer(lake, partition)
    for _ in range(flushes):
        writer.append(writer.rows(3))


def test_writers_in_other_processes_keep_every_row_and_rollup_beside_swaps(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    spawn = multiprocessing.get_context("spawn")
    children = [spawn.Process(target=_write_in_child, args=(lake, partition, 15)) for partition in range(2)]
    for child in children:
        child.start()
    swaps = 0
    names: list[TableName] = ["events", "rollups"]
    while any(child.is_alive() for child in children):
        for name in names:
            table = _table(lake, name)
            if len(live_files(table)) > 2:
                try:
                    _merge(table, name)
                    swaps += 1
                except SwapRefused:
                    continue
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0, 0]
    assert swaps > 0
    assert keys(lake) == offsets(0, 45, 0) + offsets(0, 45, 1)
    assert pa.compute.sum(arrow(lake, "rollups")["count"]).as_py() == 90


def test_a_swap_over_a_delete_is_refused_and_the_other_way_round(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    stale_swap, deleter = _table(lake), _table(lake)
    fence = CommitProperties(app_transactions=[Transaction(MAINTAIN, 1), Transaction(REMOVED, 3)])
    deleter.delete("kafka_offset < 3", commit_properties=fence)
    with pytest.raises(SwapRefused):
        _merge(stale_swap)
    assert keys(lake) == offsets(3, 20)

    swapper, stale_remover = _table(lake), _table(lake)
    _merge(swapper)
    with pytest.raises(SwapRefused):
        remove(stale_remover, live_files(stale_remover), NOW, "test")
    assert keys(lake) == offsets(3, 20)


def test_removing_files_counts_every_row_that_goes(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    table = _table(lake)

    assert remove(table, live_files(table)[:2], NOW, "test", {"extra": 7}) == 10

    fresh = _table(lake)
    assert (fresh.transaction_version(REMOVED), fresh.transaction_version("extra")) == (10, 7)
    assert keys(lake) == offsets(10, 20)


def test_a_final_merge_removes_later_copies_of_an_event_id_and_counts_them(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    one, two = Writer(lake, 0), Writer(lake, 1)
    one.append([event_row(0, 0, event_id="a"), event_row(0, 1, event_id="b")])
    one.append([event_row(0, 2, event_id="a"), event_row(0, 3, event_id="a", project=2)])
    two.append([event_row(1, 0, event_id="b"), event_row(1, 1, event_id="c")])
    two.append([event_row(1, 2, event_id="c", at=NOON + timedelta(days=1))])

    swapped = _merge(_table(lake), is_final=True)

    assert (swapped.rows_in, swapped.rows_out) == (7, 5)
    assert keys(lake) == Counter([(0, 0, 0), (0, 1, 0), (0, 3, 0), (1, 1, 0), (1, 2, 0)])
    assert _table(lake).transaction_version(REMOVED) == 2
    assert {file.origin for file in live_files(_table(lake))} == {"sorted"}


def test_an_append_beside_a_deduplicating_swap_is_refused_once_and_repeats(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake, 0)
    writer.append([event_row(0, 0, event_id="a"), event_row(0, 1, event_id="a")], rolled_up=False)
    other = Writer(lake, 1)
    _merge(_table(lake), is_final=True)

    other.append(other.rows(2), rolled_up=False)

    assert keys(lake) == Counter([(0, 0, 0), (1, 0, 0), (1, 1, 0)])


def test_rollups_merge_by_key_and_say_the_same(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path, flushes=6, rows=4)
    before = arrow(lake, "rollups")

    swapped = _merge(_table(lake, "rollups"), "rollups")

    after = arrow(lake, "rollups")
    assert swapped.rows_in == before.num_rows == 12
    assert swapped.rows_out == after.num_rows == 2
    assert _by_event(after) == _by_event(before)
    assert _table(lake, "rollups").transaction_version(REMOVED) == 0


def _by_event(rollups: pa.Table) -> dict[str, tuple[int, int]]:
    counts: Counter[str] = Counter()
    people: dict[str, PeopleUnion] = {}
    for row in rollups.to_pylist():
        counts[row["event"]] += row["count"]
        people.setdefault(row["event"], PeopleUnion()).merge(row["people"])
    return {event: (count, people[event].estimate) for event, count in counts.items()}


def test_rollup_sums_add_by_name(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path, flushes=1, rows=1)
    row = arrow(lake, "rollups").to_pylist()[0]
    table = _table(lake, "rollups")
    remove(table, live_files(table), NOW, "test")
    for sums in ('{"price": 2, "tax": 1}', None, '{"price": 3.5}'):
        rows = pa.Table.from_pylist([row | {"sums": sums}], schema=TABLES["rollups"].schema)
        write_deltalake(_table(lake, "rollups"), rows, mode="append")

    _merge(_table(lake, "rollups"), "rollups")

    assert arrow(lake, "rollups")["sums"].to_pylist() == ['{"price": 5.5, "tax": 1}']


def test_statistics_prune_and_never_exclude_a_row(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for project, at in zip((1, 2, 3), days(3), strict=True):
        writer.append([event_row(0, writer.next + n, project=project, at=at) for n in range(3)])
    _merge(_table(lake))
    reader = TableReader(lake, "events")

    for project in (1, 2, 3):
        found = reader.snapshot(f"project_id = {project}")
        assert len(found.files) == 1
        assert read(found, "count(*) AS n", "project_id = ?", [project])["n"].to_pylist() == [3]
    assert len(reader.snapshot("date = '2026-03-02'").files) == 1
    assert reader.snapshot("event > 'zzz'").files == ()
    assert len(reader.snapshot("timestamp >= '2026-03-02T12:00:00Z'").files) == 2


def test_instants_in_statistics_are_rounded_outwards(tmp_path: Path) -> None:
    row = event_row(0, 0)
    table = rows_table([row])
    stamp = pa.array([datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    table = table.set_column(table.schema.get_field_index("timestamp"), table.schema.field("timestamp"), stamp)
    writer = DateFiles(tmp_path, "events", table.schema, "merged")
    writer.write([table.cast(wide(table.schema)).to_batches()[0]])

    statistics = json.loads(writer.written[0].stats)
    assert statistics["minValues"]["timestamp"] == "2026-03-01T12:00:00.123Z"
    assert statistics["maxValues"]["timestamp"] == "2026-03-01T12:00:00.124Z"
    assert set(statistics["minValues"]) == set(TABLES["events"].statistics)


def test_the_log_and_the_footers_name_no_person(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    _merge(_table(lake))
    [file] = live_files(_table(lake))

    entry = sorted((lake / "events" / "_delta_log").glob("*.json"))[-1].read_text()
    assert "person-" not in entry
    metadata = pq.read_metadata(lake / "events" / file.path)
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    shown = {c.path_in_schema for g in groups for c in (g.column(i) for i in range(g.num_columns)) if c.is_stats_set}
    assert shown <= set(TABLES["events"].statistics)


def test_files_roll_at_the_target_size(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    writer.append(writer.rows(6000), rolled_up=False)
    table = _table(lake)

    swapped = merge(table, "events", live_files(table), NOW, Resources(), target_bytes=1)

    assert swapped.files_out == 1, "one row group never splits"
    assert keys(lake) == offsets(0, 6000)


def test_a_column_that_old_files_lack_becomes_null(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path, flushes=2)
    _table(lake).alter.add_columns([Field("later", PrimitiveType("string"))])

    _merge(_table(lake))

    assert arrow(lake, "events")["later"].null_count == 10
    assert keys(lake) == offsets(0, 10)


def test_a_file_that_holds_other_rows_than_its_log_says_stops_the_merge(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path, flushes=2)
    victim, other = (lake / "events" / file.path for file in live_files(_table(lake)))
    rows = pq.read_table(other, partitioning=None)
    pq.write_table(rows.slice(0, 3), victim)

    with pytest.raises(LakeBroken, match="lake verify"):
        _merge(_table(lake))

    assert _table(lake).transaction_version(MAINTAIN) is None


def test_a_failing_disk_leaves_no_half_written_file(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    before = set((lake / "events").rglob("*.parquet"))
    schema = pa.schema(_table(lake).schema().to_arrow())
    writer = DateFiles(lake / "events", "events", schema, "merged")

    def batches() -> Iterator[pa.RecordBatch]:
        yield from arrow(lake, "events").cast(wide(schema)).to_batches()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        writer.write(batches())

    assert set((lake / "events").rglob("*.parquet")) == before


def _die_before_the_commit(lake: Path) -> None:
    table = _table(lake)
    schema = pa.schema(table.schema().to_arrow())
    with sorted_rows(lake / "events", "events", schema, live_files(table), Resources()) as batches:
        DateFiles(lake / "events", "events", schema, "merged").write(batches)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_crash_between_files_and_commit_leaves_only_orphans(tmp_path: Path) -> None:
    lake, writer = _filled(tmp_path)
    before = set((lake / "events").rglob("*.parquet"))
    child = multiprocessing.get_context("spawn").Process(target=_die_before_the_commit, args=(lake,))
    child.start()
    child.join()

    orphans = set((lake / "events").rglob("*.parquet")) - before
    assert (child.exitcode, len(orphans)) == (-signal.SIGKILL, 1)
    assert keys(lake) == offsets(0, 20)
    writer.append(writer.rows(2))
    _merge(_table(lake))
    assert keys(lake) == offsets(0, 22)


def _swap_for_ever(lake: Path) -> None:
    while True:
        try:
            _merge(_table(lake))
        except SwapRefused:
            continue


def test_kills_at_any_moment_leave_a_lake_that_adds_up_and_goes_on(tmp_path: Path) -> None:
    lake, writer = _filled(tmp_path)
    spawn = multiprocessing.get_context("spawn")
    for _ in range(3):
        before = _table(lake).transaction_version(MAINTAIN) or 0
        child = spawn.Process(target=_swap_for_ever, args=(lake,))
        child.start()
        while (_table(lake).transaction_version(MAINTAIN) or 0) < before + 5:
            writer.append(writer.rows(1))
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL

    assert keys(lake) == offsets(0, writer.next)
    assert audit(lake, "scan").failures == []
    _merge(_table(lake))
    assert len(live_files(_table(lake))) == 1


class _Lost:
    """A handle whose commit lands while its answer is lost."""

    def __init__(self, table: DeltaTable) -> None:
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def create_write_transaction(self, *arguments: Any, **named: Any) -> None:
        self._table.create_write_transaction(*arguments, **named)
        raise DeltaError("no room for the checkpoint")


def test_a_commit_that_landed_although_it_raised_is_no_refusal(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)

    swapped = _merge(_Lost(_table(lake)))  # type: ignore[arg-type]  # a handle but for one method

    assert swapped.files_out == 1
    assert keys(lake) == offsets(0, 20)


def test_a_pinned_reader_keeps_its_version_during_a_swap_and_vacuum(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    pinned = TableReader(lake, "events").snapshot()
    table = _table(lake)
    merge(table, "events", live_files(table), datetime.now(UTC), Resources())
    _table(lake).vacuum(full=True, dry_run=False)

    assert read(pinned, "count(*) AS n", "true", [])["n"].to_pylist() == [20]
    assert len(TableReader(lake, "events").snapshot().files) == 1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["append", "merge", "final", "stale"]), max_size=8))
def test_any_sequence_of_appends_and_swaps_keeps_the_rows(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lake = make_lake(tmp_path_factory.mktemp("sequence"))
    writer = Writer(lake)
    stale = _table(lake)
    for step in steps:
        if step == "append":
            writer.append(writer.rows(2), rolled_up=False)
            continue
        table = stale if step == "stale" else _table(lake)
        if files := live_files(table):
            try:
                merge(table, "events", files, NOW, Resources(), is_final=step == "final")
            except SwapRefused:
                assert step == "stale"
        stale = table
    assert keys(lake) == offsets(0, writer.next)
