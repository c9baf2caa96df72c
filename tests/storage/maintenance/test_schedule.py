"""Which task is due, across restarts and a clock that jumps."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.errors import Unavailable
from storage.lake.durability import NotDurable
from storage.maintenance.process import take_turn
from storage.maintenance.schedule import PeriodicTask, Schedule

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _task(name: str, log: list[str], remembered: bool = False, error: Exception | None = None) -> PeriodicTask:
    def run(now: datetime) -> None:
        log.append(name)
        if error:
            raise error

    return PeriodicTask(name, MINUTE, run, remembered)


def _names(schedule: Schedule, now: datetime) -> list[str]:
    return [task.name for task in schedule.due(now)]


def test_a_task_is_due_at_first_and_after_its_interval(tmp_path: Path) -> None:
    log: list[str] = []
    schedule = Schedule([_task("a", log), _task("b", log)], tmp_path / "memory.json")

    take_turn(schedule, NOW, threading.Event())
    take_turn(schedule, NOW + MINUTE / 2, threading.Event())
    take_turn(schedule, NOW + MINUTE, threading.Event())

    assert log == ["a", "b", "a", "b"]


def test_only_long_intervals_survive_a_restart(tmp_path: Path) -> None:
    tasks = [_task("short", []), _task("long", [], remembered=True)]
    take_turn(Schedule(tasks, tmp_path / "memory.json"), NOW, threading.Event())

    assert _names(Schedule(tasks, tmp_path / "memory.json"), NOW + MINUTE / 2) == ["short"]


@pytest.mark.parametrize("content", ["", "[]", '{"long": 3}', '{"long": "yesterday"}'])
def test_a_damaged_memory_makes_everything_due(tmp_path: Path, content: str) -> None:
    (tmp_path / "memory.json").write_text(content)

    assert _names(Schedule([_task("long", [], remembered=True)], tmp_path / "memory.json"), NOW) == ["long"]


def test_a_clock_that_was_set_back_makes_a_task_due(tmp_path: Path) -> None:
    schedule = Schedule([_task("a", [])], tmp_path / "memory.json")
    take_turn(schedule, NOW, threading.Event())

    assert _names(schedule, NOW - timedelta(days=400)) == ["a"]


@pytest.mark.parametrize("error", [Unavailable("full"), OSError(28, "No space left on device")])
def test_a_failing_task_is_told_and_does_not_keep_the_next_from_its_turn(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    schedule = Schedule([_task("a", log, error=error), _task("b", log)], tmp_path / "memory.json")

    take_turn(schedule, NOW, threading.Event())

    assert log == ["a", "b"]
    assert "a maintenance task failed" in caplog.text
    assert _names(schedule, NOW) == []


def test_a_disk_that_failed_ends_everything(tmp_path: Path) -> None:
    log: list[str] = []
    schedule = Schedule([_task("a", log, error=NotDurable("fsync")), _task("b", log)], tmp_path / "memory.json")

    with pytest.raises(NotDurable):
        take_turn(schedule, NOW, threading.Event())

    assert log == ["a"]


def test_no_task_starts_after_a_stop(tmp_path: Path) -> None:
    log: list[str] = []
    stop = threading.Event()
    stopping = PeriodicTask("a", MINUTE, lambda _: stop.set())

    take_turn(Schedule([stopping, _task("b", log)], tmp_path / "memory.json"), NOW, stop)

    assert log == []
