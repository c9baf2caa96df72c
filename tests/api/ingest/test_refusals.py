"""What the door refused, written beside the loop and read by `tail`."""

import json
import os
from pathlib import Path

from api.cli.tail import RefusalTail
from api.ingest.refusals import FILE_NAME, Refusals


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_reason_index_and_project_but_no_payload(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path)
    refusals.note(1, "bad_request", "Missing required field: event", 3)
    refusals.close()
    [line] = _lines(tmp_path / FILE_NAME)
    assert line.pop("at")
    assert line == {"project": 1, "index": 3, "reason": "bad_request", "message": "Missing required field: event"}
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_file_is_replaced_when_it_is_large(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path, most_bytes=1000)
    for index in range(100):
        refusals.note(1, "bad_request", "x" * 50, index)
    refusals.close()
    current, before = tmp_path / FILE_NAME, tmp_path / f"{FILE_NAME}.1"
    assert max(current.stat().st_size, before.stat().st_size) < 1300
    assert _lines(before)[-1]["index"] == 99 - len(_lines(current))


def test_disk_that_fails_stops_nothing(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path / "missing")
    refusals.note(1, "bad_request", "lost")
    refusals.close()
    (tmp_path / "missing").mkdir()
    refusals.note(1, "bad_request", "kept")
    refusals.close()
    assert [line["message"] for line in _lines(tmp_path / "missing" / FILE_NAME)] == ["kept"]


def test_flood_is_left_out_and_never_blocks(tmp_path: Path) -> None:
    # Opening a pipe blocks its writer until somebody reads.
    os.mkfifo(tmp_path / FILE_NAME)
    refusals = Refusals(tmp_path, most_waiting=5)
    for index in range(1000):
        refusals.note(1, "bad_request", "much", index)
    reader = os.open(tmp_path / FILE_NAME, os.O_RDWR)
    refusals.close()
    written = os.read(reader, 65536).splitlines()
    os.close(reader)
    assert 5 <= len(written) <= 6
    assert json.loads(written[0])["index"] == 0


def test_tail_sees_what_comes_and_nothing_before(tmp_path: Path) -> None:
    refusals = Refusals(tmp_path)
    refusals.note(1, "bad_request", "before")
    refusals.close()
    tail = RefusalTail(tmp_path / FILE_NAME)
    assert tail.fresh() == []
    refusals.note(1, "bad_request", "after")
    refusals.close()
    assert [line["message"] for line in tail.fresh()] == ["after"]
    assert tail.fresh() == []


def test_tail_waits_for_the_file_and_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    tail = RefusalTail(path)
    assert tail.fresh() == []
    path.write_text('{"a":1}\n{"b"')
    assert tail.fresh() == [{"a": 1}]
    with path.open("a") as file:
        file.write(":2}\n")
    assert tail.fresh() == [{"b": 2}]


def test_tail_goes_on_with_a_replaced_file(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_text('{"a":1}\n')
    tail = RefusalTail(path)
    path.rename(tmp_path / "old")
    path.write_text('{"b":2}\n')
    assert tail.fresh() == [{"b": 2}]
