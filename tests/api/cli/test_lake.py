"""`streamgauge lake` as an operator meets it, on a lake with three days in nine files."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from api.cli.main import main
from api.cli.running import UpLock
from storage.lake.audit import audit
from storage.lake.tables import table_uri
from tests.storage.lakes import Writer, days, event_row, keys, make_lake, offsets


@pytest.fixture
def data(tmp_path: Path) -> Path:
    writer = Writer(make_lake(tmp_path))
    for at in days(3):
        for _ in range(3):
            writer.append(writer.rows(5, at))
    return tmp_path


def run(data: Path, *arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["lake", *arguments, "--data-dir", str(data)])
    return ended.value.code


def answer(data: Path, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = run(data, *arguments)
    out, err = capfd.readouterr()
    assert status == 0, err
    return out


def complaint(data: Path, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = run(data, *arguments)
    err = capfd.readouterr().err
    assert status == 1
    assert len(err.splitlines()) == 1
    return err


def test_files_are_listed_with_their_rows(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "9 files, 45 rows" in answer(data, capfd, "files")

    listed = json.loads(answer(data, capfd, "files", "--table", "rollups", "--json"))
    assert [file["date"] for file in listed] == sorted(file["date"] for file in listed)
    assert sum(file["rows"] for file in listed) == 18


def test_history_says_what_each_commit_was(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answer(data, capfd, "compact")

    commits = json.loads(answer(data, capfd, "history", "--limit", "2", "--json"))

    assert [(commit["version"], commit["note"]) for commit in commits] == [(10, "merge 9 files of events"), (9, "test")]
    assert "merge 9 files" in answer(data, capfd, "history")


def test_compact_merges_at_once_and_verify_agrees(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = answer(data, capfd, "compact")

    assert out.splitlines()[0].split() == ["events", "9", "files", "->", "3"]
    assert "FAIL" not in answer(data, capfd, "verify", "--scan")
    assert json.loads(answer(data, capfd, "verify", "--json"))["ok"]


def test_compact_deduplicates_dates_that_are_over_without_waiting(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lake = data / "lake"
    other = Writer(lake, 1)
    other.append([event_row(1, n, event_id=f"0-{n}") for n in range(4)])  # sent before by somebody else
    today = datetime.now(UTC)
    for partition in (2, 3):
        Writer(lake, partition).append([event_row(partition, 0, event_id="twice", at=today)])

    answer(data, capfd, "compact")

    assert keys(lake) == offsets(0, 45) + offsets(0, 1, 2) + offsets(0, 1, 3), "today's are still open"
    assert audit(lake, "scan").failures == []


def test_pins_are_made_listed_with_their_bytes_and_let_go(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "pinned version 9 as report: 9 files" in answer(data, capfd, "pin", "report")
    answer(data, capfd, "pin", "early", "--version", "2")
    answer(data, capfd, "compact")

    early, report = json.loads(answer(data, capfd, "pins", "--json"))

    assert (early["name"], early["version"], early["files"], early["filesErased"]) == ("early", 2, 2, 0)
    assert report["bytes"] == report["bytesKept"] > early["bytes"], "compaction replaced every file"
    assert answer(data, capfd, "pins").splitlines()[-1].split()[:2] == ["report", "9"]
    answer(data, capfd, "unpin", "report")
    assert "no pin report" in complaint(data, capfd, "unpin", "report")
    assert "no version 77" in complaint(data, capfd, "pin", "later", "--version", "77")


def test_compact_stores_the_sessions_of_dates_that_rest(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = answer(data, capfd, "compact")

    assert out.splitlines()[2].split() == ["sessions", "0", "files", "->", "3"]


def test_delete_user_gives_a_receipt_and_verify_agrees(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = answer(data, capfd, "delete-user", "person-3", "--project", "1")

    assert out.splitlines()[1].split()[:3] == ["events", "6", "0"]
    assert "person-3" not in out
    assert "FAIL" not in answer(data, capfd, "verify", "--scan")
    again = json.loads(answer(data, capfd, "delete-user", "person-3", "--project", "1", "--json"))
    assert [table["rows_before"] for table in again["tables"]] == [0, 0, 0]
    assert keys(data / "lake").total() == 45 - 6


def test_delete_user_without_an_id_is_refused(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "nobody's" in complaint(data, capfd, "delete-user", "", "--project", "1")


def test_verify_fails_in_one_line_when_rows_are_doubled(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for handle in [DeltaTable(table_uri(data / "lake", "events")) for _ in range(2)]:
        handle.optimize.compact()

    assert "rows of events: 90 live = 45 written - 0 removed" in complaint(data, capfd, "verify")


def test_vacuum_counts_what_it_removed(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    orphan = data / "lake" / "events" / "date=2026-03-01" / "orphan.parquet"
    orphan.write_bytes(b"x")
    old = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    os.utime(orphan, (old, old))

    assert answer(data, capfd, "vacuum") == "1 files removed\n"
    assert keys(data / "lake") == offsets(0, 45)


def test_restore_brings_back_rows_positions_and_rollups(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answer(data, capfd, "restore", "4")

    lake = data / "lake"
    assert keys(lake) == offsets(0, 20)
    writer = Writer(lake)
    assert writer.next == 20
    assert audit(lake, "scan").failures == []
    writer.append(writer.rows(5))
    assert keys(lake) == offsets(0, 25)
    assert audit(lake, "scan").failures == []


def test_restore_is_refused_beside_a_running_up(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (data / "run").mkdir()
    with UpLock(data / "run"):
        assert "stop it" in complaint(data, capfd, "restore", "4")

    assert keys(data / "lake") == offsets(0, 45)


def test_adopt_is_refused_beside_a_running_up_and_without_a_log(
    data: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert "KAFKA_BOOTSTRAP_SERVERS" in complaint(data, capfd, "adopt")

    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    (data / "run").mkdir()
    with UpLock(data / "run"):
        assert "stop it" in complaint(data, capfd, "adopt")


def test_restore_of_what_is_not_there_says_so(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "events has versions up to 9, not 99" in complaint(data, capfd, "restore", "99")

    answer(data, capfd, "compact")
    for file in DeltaTable(table_uri(data / "lake", "events"), version=4).file_uris():
        Path(file).unlink()
    assert "vacuumed already" in complaint(data, capfd, "restore", "4")


@pytest.mark.parametrize(
    "command",
    [
        ["files"],
        ["history"],
        ["compact"],
        ["vacuum"],
        ["verify"],
        ["restore", "1"],
        ["delete-user", "x", "--project", "1"],
        ["pin", "x"],
        ["pins"],
        ["unpin", "x"],
        ["adopt"],
    ],
)
def test_without_a_lake_every_command_says_what_to_do(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert "streamgauge up" in complaint(tmp_path, capfd, *command)
