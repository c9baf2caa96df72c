"""The barrier and the boot check: after any loss of unsynced writes a whole prefix remains, and goes on."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from storage.errors import LakeBroken
from storage.lake import durability
from storage.lake.deltalog import DeltaLog, TornEntry, parse
from storage.lake.durability import Barrier, NotDurable, SyncedVersions, boot_check
from storage.lake.tables import TABLES, TableName, table_uri
from tests.storage.lakes import Writer, keys, make_lake, offsets

BATCH = 5
TRIALS = 64


@pytest.fixture(scope="module")
def unsynced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[Path], int]:
    """A data directory, the files written since its last barrier, and how many rows that barrier covered."""
    root = tmp_path_factory.mktemp("power")
    lake = make_lake(root)
    (root / "run").mkdir()
    for name in TABLES:
        DeltaTable(table_uri(lake, name)).alter.set_table_properties({"delta.checkpointInterval": "4"})
    writer = Writer(lake)
    for _ in range(4):
        writer.append(writer.rows(BATCH))
    for name in TABLES:
        _barrier(root, name).sync(DeltaTable(table_uri(lake, name)))
    before = {path: path.stat().st_mtime_ns for path in _files(lake)}
    covered = writer.next
    for _ in range(6):
        writer.append(writer.rows(BATCH))
    changed = {path.relative_to(root) for path in _files(lake) if before.get(path) != path.stat().st_mtime_ns}
    assert any("checkpoint" in path.name for path in changed), "a checkpoint must be at risk too"
    return root, changed, covered


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())


def _barrier(root: Path, name: TableName = "events") -> Barrier:
    return Barrier(Path(table_uri(root / "lake", name)), root / "run" / "synced.json")


def _damage(path: Path, kind: str) -> None:
    size = path.stat().st_size
    match kind:
        case "missing":
            path.unlink()
        case "empty":
            os.truncate(path, 0)
        case "half":
            os.truncate(path, size // 2)
        case "zeros":
            path.write_bytes(b"\0" * size)


@pytest.mark.parametrize("seed", range(TRIALS))
def test_boot_check_leaves_a_prefix_after_random_loss(
    seed: int, unsynced: tuple[Path, set[Path], int], tmp_path: Path
) -> None:
    source, changed, covered = unsynced
    root = tmp_path / "data"
    shutil.copytree(source, root)
    dice = random.Random(seed)
    risk = dice.choice((0.05, 0.3, 1.0))
    for path in sorted(changed):
        if dice.random() < risk:
            _damage(root / path, dice.choice(("missing", "empty", "half", "zeros")))

    boot_check(root / "lake", root / "run")

    writer = Writer(root / "lake")
    assert writer.next >= covered
    assert keys(root / "lake") == offsets(0, writer.next), "rows and position are of one version"
    assert writer.events.total(0, "rows") == writer.next
    writer.append(writer.rows(BATCH), rolled_up=False)
    assert keys(root / "lake") == offsets(0, writer.next)
    assert boot_check(root / "lake", root / "run") == []


def test_a_damaged_lake_without_boot_check_cannot_be_read(
    unsynced: tuple[Path, set[Path], int], tmp_path: Path
) -> None:
    """The control: the damage of the trials above does bite."""
    source, changed, _ = unsynced
    root = tmp_path / "data"
    shutil.copytree(source, root)
    for path in changed:
        _damage(root / path, "zeros")

    with pytest.raises(BaseException):  # noqa: B017, PT011  # delta-rs may panic, which is no Exception
        keys(root / "lake")


def test_boot_check_says_nothing_where_all_is_whole(unsynced: tuple[Path, set[Path], int], tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(unsynced[0], root)

    assert boot_check(root / "lake", root / "run") == []

    head = DeltaTable(table_uri(root / "lake", "events")).version()
    assert SyncedVersions(root / "run" / "synced.json").read()["events"] == head


def test_boot_check_checks_everything_of_an_older_copy(unsynced: tuple[Path, set[Path], int], tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(unsynced[0], root)
    SyncedVersions(root / "run" / "synced.json").raise_to("events", 10_000)

    assert boot_check(root / "lake", root / "run") == []

    assert SyncedVersions(root / "run" / "synced.json").read()["events"] < 10_000


def test_boot_check_keeps_what_it_takes_out(unsynced: tuple[Path, set[Path], int], tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(unsynced[0], root)
    log = DeltaLog(root / "lake" / "events")
    head = log.versions()[-1]
    log.entry_path(head).write_bytes(b"")

    lines = boot_check(root / "lake", root / "run")

    assert lines[0] == f"events: versions {head} to {head} were torn and left the log"
    assert (root / "run" / "quarantine" / "events" / log.entry_path(head).name).exists()


def test_boot_check_needs_a_person_when_no_version_is_whole(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    writer = Writer(lake)
    for _ in range(2):
        writer.append(writer.rows(1))
    log = DeltaLog(lake / "events")
    log.entry_path(0).write_bytes(b"\0" * 100)

    with pytest.raises(LakeBroken, match="restore a backup"):
        boot_check(lake, tmp_path / "run")


@pytest.mark.parametrize("torn", ["file", "entry"])
def test_boot_check_drops_nothing_of_a_damaged_copy(tmp_path: Path, torn: str) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    writer = Writer(lake)
    for _ in range(durability.YOUNG_VERSIONS):
        writer.append(writer.rows(1), rolled_up=False)
    log = DeltaLog(lake / "events")
    victim = lake / "events" / log.entry(15).added[0].path if torn == "file" else log.entry_path(15)
    _damage(victim, "zeros")

    with pytest.raises(LakeBroken, match="lake restore 14" if torn == "file" else "restore a backup"):
        boot_check(lake, tmp_path / "run")

    assert log.versions() == list(range(durability.YOUNG_VERSIONS + 1))


def test_boot_check_looks_at_every_live_file_when_entries_were_cleaned_up(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    writer = Writer(lake)
    for _ in range(4):
        writer.append(writer.rows(2), rolled_up=False)
    log = DeltaLog(lake / "events")
    oldest, newest = (lake / "events" / log.entry(version).added[0].path for version in (1, 4))
    DeltaTable(table_uri(lake, "events"), version=3).create_checkpoint()
    for version in range(3):
        log.entry_path(version).unlink()
    assert boot_check(lake, tmp_path / "run") == []

    (tmp_path / "run" / "synced.json").unlink()
    _damage(newest, "half")
    assert "restored version 3" in boot_check(lake, tmp_path / "run")[0]
    assert keys(lake) == offsets(0, 6)

    (tmp_path / "run" / "synced.json").unlink()
    _damage(oldest, "half")
    with pytest.raises(LakeBroken, match="events: "):
        boot_check(lake, tmp_path / "run")


def test_boot_check_makes_way_for_a_table_whose_creation_was_torn(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    DeltaLog(lake / "sessions").entry_path(0).write_bytes(b"")

    assert boot_check(lake, tmp_path / "run") == ["sessions: its creation was torn; it will be made again"]

    make_lake(tmp_path)
    assert DeltaTable(table_uri(lake, "sessions")).version() == 0


def test_restored_positions_that_did_not_exist_are_zero(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    Writer(lake, partition=0).append(Writer(lake, partition=0).rows(3))
    boot_check(lake, tmp_path / "run")
    second = Writer(lake, partition=1)
    second.append(second.rows(4), rolled_up=False)
    newest = DeltaLog(lake / "events").entry(second.events.table.version())
    (lake / "events" / newest.added[0].path).unlink()

    assert "restored version" in boot_check(lake, tmp_path / "run")[0]

    assert keys(lake) == offsets(0, 3)
    assert Writer(lake, partition=1).next == 0
    assert Writer(lake, partition=0).next == 3


class _Disk:
    """Counts what is brought to disk, and fails where told."""

    def __init__(self) -> None:
        self.synced: list[Path] = []
        self.failing: str | None = None

    def sync_file(self, path: Path) -> None:
        if self.failing and self.failing in path.name:
            raise OSError(5, "Input/output error", str(path))
        path.stat()  # as the real one, it needs something to be there
        self.synced.append(path)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> _Disk:
    disk = _Disk()
    monkeypatch.setattr(durability, "sync_file", disk.sync_file)
    return disk


def test_barrier_syncs_data_before_the_log_and_only_once(tmp_path: Path, disk: _Disk) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    writer = Writer(lake)
    writer.append(writer.rows(3))
    barrier = _barrier(tmp_path)

    barrier.sync(writer.events.table)
    first = list(disk.synced)
    barrier.sync(writer.events.table)

    data = next(number for number, path in enumerate(first) if path.suffix == ".parquet")
    entry = next(number for number, path in enumerate(first) if path.suffix == ".json")
    assert data < entry
    assert first.index(lake / "events" / "_delta_log") > entry
    assert disk.synced == first


def test_barrier_covers_commits_of_other_processes(tmp_path: Path, disk: _Disk) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    mine, theirs = Writer(lake, 0), Writer(lake, 1)
    theirs.append(theirs.rows(2), rolled_up=False)
    mine.append(mine.rows(2), rolled_up=False)

    _barrier(tmp_path).sync(mine.events.table)

    assert len([path for path in disk.synced if path.suffix == ".parquet"]) == 2


def test_synced_versions_never_fall_when_the_slower_process_is_behind(tmp_path: Path) -> None:
    file = SyncedVersions(tmp_path / "synced.json")
    file.raise_to("events", 12)
    file.raise_to("rollups", 3)

    file.raise_to("events", 10)

    assert json.loads((tmp_path / "synced.json").read_bytes()) == {"events": 12, "rollups": 3}
    assert (tmp_path / "synced.json").stat().st_mode & 0o777 == 0o600


def test_a_torn_synced_file_knows_nothing(tmp_path: Path) -> None:
    (tmp_path / "synced.json").write_bytes(b"\0\0\0")

    assert SyncedVersions(tmp_path / "synced.json").read() == {}


@pytest.mark.parametrize("failing", [".parquet", ".json", "_delta_log"])
def test_a_failed_fsync_ends_the_barrier_and_moves_nothing(tmp_path: Path, disk: _Disk, failing: str) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    writer = Writer(lake)
    writer.append(writer.rows(1))
    disk.failing = failing

    with pytest.raises(OSError, match="not safe on disk"):
        _barrier(tmp_path).sync(writer.events.table)

    assert SyncedVersions(tmp_path / "run" / "synced.json").read() == {}


@pytest.mark.parametrize("kind", ["missing", "half"])
def test_a_committed_file_that_is_gone_or_short_is_not_durable(tmp_path: Path, kind: str) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    writer = Writer(lake)
    writer.append(writer.rows(1))
    _damage(Path(writer.events.table.file_uris()[0]), kind)

    with pytest.raises(NotDurable):
        _barrier(tmp_path).sync(writer.events.table)


def test_barrier_looks_at_live_files_when_entries_were_cleaned_up(tmp_path: Path, disk: _Disk) -> None:
    lake = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    writer = Writer(lake)
    for _ in range(3):
        writer.append(writer.rows(1), rolled_up=False)
    DeltaTable(table_uri(lake, "events")).create_checkpoint()
    for version in range(2):
        DeltaLog(lake / "events").entry_path(version).unlink()

    _barrier(tmp_path).sync(3)

    assert len([path for path in disk.synced if path.suffix == ".parquet" and path.parent.name != "_delta_log"]) == 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\0\0",
        b"[1]",
        b'{"add":{"path":"a","si',
        b'{"commitInfo":{"operationMetrics":{"num_added_files":2}}}\n{"add":{"path":"a","size":1}}',
    ],
)
def test_a_torn_entry_is_recognised(data: bytes) -> None:
    with pytest.raises(TornEntry):
        parse(7, data)
