"""Deadly lines found by real processes that die of them; what armed them kills only processes begun later."""

import pytest

from processors.poison import WHOLE
from processors.trial import Trial
from schemas.events import EventLimits
from tests.processors.records import PROJECT, door_record, event_line, foreign_record

DEADLY = event_line("deadly-marker")


@pytest.fixture(autouse=True)
def _armed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMGAUGE_CRASH_ON", "deadly-marker")


def test_deadly_lines_are_found_among_good_and_bad_ones() -> None:
    records = [
        door_record(0, [event_line()]),
        door_record(1, [event_line(), DEADLY, b"{", DEADLY]),
        foreign_record(b"\n".join([b"{", event_line(projectId=PROJECT), DEADLY]), 2),
        door_record(3, [event_line()]),
    ]
    with Trial(EventLimits()) as trial:
        assert trial.poison(records) == {1: {1, 3}, 2: {2}}


def test_a_record_full_of_deadly_lines_goes_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.trial._MOST_LINES", 1)  # each costs two processes
    with Trial(EventLimits()) as trial:
        assert trial.poison([door_record(0, [DEADLY, event_line(), DEADLY])]) == {0: {WHOLE}}


def test_a_line_that_hangs_is_deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.trial._HANGS_SECONDS", 0.0)
    with Trial(EventLimits()) as trial:
        assert trial.poison([door_record(0, [event_line()])]) == {0: {WHOLE}}
