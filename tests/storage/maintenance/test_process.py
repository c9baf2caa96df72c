"""The maintenance process as `up` starts it: ready, at work beside a writer, and gone on SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from deltalake import DeltaTable

from storage.lake.audit import audit
from storage.lake.durability import SyncedVersions
from storage.lake.tables import table_uri
from storage.maintenance.files import live_files
from tests.storage.lakes import Writer, keys, make_lake, offsets

PATIENCE_SECONDS = 60


def _wait(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


@contextmanager
def _maintaining(root: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"STREAMGAUGE_DATA_DIR": str(root)} | settings
    command = [sys.executable, "-m", "storage.maintenance", "--name", "maintain"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _log(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (root / "logs" / "maintain.log").read_text().splitlines()]


def test_it_merges_beside_a_writer_publishes_and_ends_on_sigterm(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    with _maintaining(tmp_path, STREAMGAUGE_MERGE_FILES_PER_DATE="5") as process:
        ready = tmp_path / "run" / "maintain.ready"
        _wait(ready.exists)
        assert int(ready.read_text()) == process.pid
        for _ in range(12):
            writer.append(writer.rows(3))
        events = table_uri(lake, "events")
        _wait(lambda: len(live_files(DeltaTable(events))) <= 5)
        _wait(lambda: _published_rows(lake) == 36)

        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0

    assert not ready.exists()
    assert keys(lake) == offsets(0, 36)
    assert audit(lake, "scan").failures == []
    merged = [line for line in _log(tmp_path) if line["message"] == "merged"]
    assert merged
    assert {line["process"] for line in merged} == {"maintain"}
    synced = SyncedVersions(tmp_path / "run" / "synced.json").read()
    assert set(synced) == {"events", "rollups", "sessions", "dead_letters"}


def _published_rows(lake: Path) -> int:
    if not (lake / "lake.duckdb").exists():
        return 0
    with duckdb.connect(str(lake / "lake.duckdb"), read_only=True) as connection:
        row = connection.execute("SELECT count(*) FROM events").fetchone()
    return int(row[0]) if row else 0


def test_without_a_lake_it_says_so_in_one_line(tmp_path: Path) -> None:
    with _maintaining(tmp_path) as process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 1
    assert errors.startswith("streamgauge maintain: ")
    assert errors.count("\n") == 1


def test_a_setting_out_of_range_is_one_line(tmp_path: Path) -> None:
    with _maintaining(tmp_path, STREAMGAUGE_RETENTION_DAYS="0") as process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 1
    assert "STREAMGAUGE_RETENTION_DAYS" in errors
    assert errors.count("\n") == 1


def test_a_disk_that_refuses_ends_it_with_70(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    writer.append(writer.rows(1))
    Path(writer.events.table.file_uris()[0]).unlink()  # committed, and gone before the first barrier

    with _maintaining(tmp_path) as process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 70
    assert "not safe on disk" in errors
