"""Starts without progress are counted across workers, and looked into at the third."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from processors.attempts import SUSPICIOUS, Attempts, PoisonRule
from processors.decode import LogRecord
from schemas.events import EventLimits
from tests.processors.records import door_record, event_line


def test_starts_at_one_position_are_counted_until_it_moves(tmp_path: Path) -> None:
    one, other = Attempts(tmp_path / "attempts"), Attempts(tmp_path / "attempts")
    assert [one.start("log", 0, 5, 9), other.start("log", 0, 5, 9), one.start("log", 0, 5, 9)] == [0, 1, 2]
    assert one.start("log", 1, 5, 9) == 0, "another partition"
    assert one.start("log", 0, 6, 9) == 0, "progress"
    assert one.start("another log", 0, 6, 9) == 0


def test_a_start_at_the_end_of_the_log_is_none(tmp_path: Path) -> None:
    attempts = Attempts(tmp_path)
    attempts.start("log", 0, 5, 9)
    assert attempts.start("log", 0, 5, 5) == 0
    assert attempts.start("log", 0, 5, 9) == 0


@pytest.mark.parametrize("torn", ["", "[]", '{"log": "log", "start": 5}', '{"log": "log", "start": 5, "n": "x"}'])
def test_a_torn_note_counts_as_none(tmp_path: Path, torn: str) -> None:
    (tmp_path / "0.json").write_text(torn)
    assert Attempts(tmp_path).start("log", 0, 5, 9) == 0
    assert json.loads((tmp_path / "0.json").read_text())["n"] == 0


def test_a_start_that_cannot_be_noted_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Attempts(tmp_path / "file").start("log", 0, 5, 9) == 0


class _Reading:
    """Counts what was read."""

    def __init__(self) -> None:
        self.offsets: list[int] = []

    def __call__(self, partition: int, start: int, end: int) -> Iterable[LogRecord]:
        for offset in range(start, end):
            self.offsets.append(offset)
            yield door_record(offset, [event_line()])


def test_nothing_is_read_before_there_is_a_suspicion_and_no_more_than_a_worker_takes(tmp_path: Path) -> None:
    reading = _Reading()
    size = len(door_record(0, [event_line()]).value or b"")
    rule = PoisonRule(Attempts(tmp_path), EventLimits(), most_bytes=3 * size)
    for _ in range(SUSPICIOUS):
        assert rule.examine("log", 0, 2, 50, reading) == {}
    assert reading.offsets == []

    assert rule.examine("log", 0, 2, 50, reading) == {}

    assert reading.offsets == [2, 3, 4, 5]
