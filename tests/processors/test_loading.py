"""What a worker checks before the first record: identity of the log, its range, what was left undone."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.errors import NeedsPerson, Restart
from processors.loading import Loaded, WindowPolicy, load, skip
from schemas.deadletters import DeadLetter
from storage.lake.commit import Span
from storage.lake.deadletters import dead_letters_table
from storage.lake.tables import EVENTS, create_tables
from tests.processors.harness import Bench, FakeLog
from tests.processors.judge import frame, places, position
from tests.processors.records import CHAIN, event_line

WINDOW = WindowPolicy(10**6, 10**6)


class Setting:
    """A lake that has read `read` records of a log, by a worker that is gone."""

    def __init__(self, root: Path) -> None:
        self.lake = root / "lake"
        self.lake.mkdir()
        create_tables(self.lake)
        self.log = FakeLog()
        self.benches: list[Bench] = []

    def bench(self) -> Bench:
        self.benches.append(Bench(self.lake, self.log))
        return self.benches[-1]

    async def read(self, records: int) -> None:
        for _ in range(records):
            self.log.append(0, [event_line(eventId=f"e{self.log.end[0]}", userId="u")])
        bench = self.bench()
        bench.worker.assign({0})
        await bench.deliver(0, 0, self.log.end[0])
        await bench.flush()

    def load(self) -> tuple[Bench, Loaded]:
        bench = self.bench()
        return bench, load(bench.flusher, self.log, 0, WINDOW, pause=lambda _: None)


@pytest.fixture
def setting(tmp_path: Path) -> Iterator[Setting]:
    made = Setting(tmp_path)
    yield made
    for bench in made.benches:
        bench.close()


def _read(setting: Setting, records: int) -> None:
    asyncio.run(setting.read(records))


def test_new_log_starts_at_its_earliest_offset(setting: Setting) -> None:
    for _ in range(5):
        setting.log.append(0, [event_line()])
    setting.log.retain_from(0, 3)
    bench, loaded = setting.load()
    assert (loaded.next, loaded.rejected) == (3, frozenset())
    assert bench.flusher.stored[0].held is None
    assert bench.flusher.stored[0].totals["first"] == 3


def test_load_goes_on_at_the_position_with_the_ids_of_the_rows(setting: Setting) -> None:
    _read(setting, 4)
    _, loaded = setting.load()
    assert loaded.next == 4
    assert loaded.window.add([(7, 0, 1)], ["e2"]) == [0]
    assert loaded.window.add([(7, 0, 1)], ["e4"]) == []


def test_load_catches_the_rollups_up(setting: Setting) -> None:
    _read(setting, 2)
    bench = setting.bench()
    load(bench.flusher, setting.log, 0, WINDOW)
    setting.log.append(0, [event_line(eventId="late")])
    rows = setting.bench()
    rows.worker.assign({0})
    rows.flusher.rollups.faults = ["refuse"] * 100  # events go in, rollups stay behind

    async def story() -> None:
        await rows.deliver(0, 2, 3)
        await rows.flush()

    asyncio.run(story())
    assert (position(setting.lake, "events", CHAIN, 0), position(setting.lake, "rollups", CHAIN, 0)) == (3, 2)
    setting.load()
    assert position(setting.lake, "rollups", CHAIN, 0) == 3
    assert frame(setting.lake, "rollups")["count"].sum() == 3


def test_load_is_bound_by_dead_letters_ahead_of_the_position(setting: Setting) -> None:
    _read(setting, 2)
    bench = setting.bench()
    letter = DeadLetter(0, 3, 1, "malformed", b"{", 0)
    assert bench.flusher.dead_letters.append(dead_letters_table([letter]), {0: Span(None, 4)}, {}, "test") is None
    _, loaded = setting.load()
    assert loaded.rejected == {(3, 1)}


def test_log_that_ends_below_the_position_needs_a_person(setting: Setting) -> None:
    _read(setting, 4)
    setting.log.end[0] = 3
    with pytest.raises(NeedsPerson, match="read up to 4, but the log ends at 3"):
        setting.load()


def test_log_whose_end_lags_is_asked_again(setting: Setting) -> None:
    _read(setting, 4)
    setting.log.end[0] = 3
    asked: list[float] = []

    def pause(seconds: float) -> None:
        asked.append(seconds)
        if len(asked) == 3:
            setting.log.end[0] = 4

    assert load(setting.bench().flusher, setting.log, 0, WINDOW, pause=pause).next == 4
    assert len(asked) == 3


def test_log_with_other_content_needs_a_person(setting: Setting) -> None:
    _read(setting, 4)
    del setting.log.records[0][3]
    setting.log.end[0] = 3
    setting.log.append(0, [event_line("another")])
    with pytest.raises(NeedsPerson, match="the record at 3 is not the one that was read"):
        setting.load()


def test_log_that_compacted_the_last_record_away_is_believed(setting: Setting) -> None:
    _read(setting, 4)
    del setting.log.records[0][3]
    assert setting.load()[1].next == 4


def test_another_log_is_read_from_its_start_and_old_dead_letters_do_not_bind_it(setting: Setting) -> None:
    setting.log.append(0, [b"{"])
    _read(setting, 3)
    setting.log = FakeLog()
    setting.log.name = "cluster/recreated"
    setting.log.append(0, [event_line(eventId="new")])
    _, loaded = setting.load()
    assert (loaded.next, loaded.rejected) == (0, frozenset())
    _read(setting, 0)
    assert position(setting.lake, "events", CHAIN, 0) == 4
    assert position(setting.lake, "events", "cluster/recreated", 0) == 1
    assert sorted(frame(setting.lake, "events")["event_id"]) == ["e1", "e2", "e3", "new"]


def test_event_that_an_older_log_brought_already_is_a_duplicate(setting: Setting) -> None:
    _read(setting, 3)
    setting.log = FakeLog()
    setting.log.name = "cluster/mirrored"
    _read(setting, 3)
    assert frame(setting.lake, "events").height == 3
    assert position(setting.lake, "events", "cluster/mirrored", 0, "duplicates") == 3


def test_gap_found_at_load_is_recorded_once(setting: Setting) -> None:
    _read(setting, 4)
    for _ in range(4):
        setting.log.append(0, [event_line()])
    setting.log.retain_from(0, 6)
    for _ in range(2):
        bench, loaded = setting.load()
        assert loaded.next == 6
        assert bench.flusher.stored[0].held == 6
    letters = frame(setting.lake, "dead_letters").to_dicts()
    assert [(x["kafka_offset"], x["record_index"], x["reason"]) for x in letters] == [(4, -1, "gap")]
    assert json.loads(letters[0]["raw"]) == {"from": 4, "to": 6}
    assert position(setting.lake, "events", CHAIN, 0, "gaps") == 2
    assert position(setting.lake, "rollups", CHAIN, 0) == 6


def test_gap_whose_second_commit_failed_is_finished_by_the_next_load(setting: Setting) -> None:
    _read(setting, 4)
    for _ in range(4):
        setting.log.append(0, [event_line()])
    setting.log.retain_from(0, 6)
    bench = setting.bench()
    bench.flusher.events.faults = ["refuse"]
    with pytest.raises(Restart, match="cannot move past a gap"):
        load(bench.flusher, setting.log, 0, WINDOW)
    assert position(setting.lake, "events", CHAIN, 0) == 4
    assert setting.load()[1].next == 6
    assert places(frame(setting.lake, "dead_letters")) == {(0, 4, -1): 1}
    assert position(setting.lake, "events", CHAIN, 0, "gaps") == 2


def test_skip_that_another_owner_did_first_restarts(setting: Setting) -> None:
    _read(setting, 2)
    bench, _ = setting.load()
    other = setting.bench()
    assert other.flusher.events.append(EVENTS.empty_table(), {0: Span(2, 9)}, {}, "test") is None
    with pytest.raises(Restart):
        skip(bench.flusher, 0, 2, 5, "void")
    assert position(setting.lake, "events", CHAIN, 0) == 9
