"""A lake goes on with a copy of its log: nothing is read twice, nothing is left out, and what is no copy is refused."""

import asyncio
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from processors.adopt import adopt_copy
from processors.errors import NeedsPerson
from schemas.deadletters import DeadLetter
from storage.errors import Conflict
from storage.lake.audit import audit
from storage.lake.commit import Span
from storage.lake.deadletters import dead_letters_table
from storage.lake.tables import create_tables
from storage.maintenance.adoption import adopt, logs_of
from storage.maintenance.merging import Resources
from tests.processors.harness import Bench, FakeLog
from tests.processors.judge import frame, position
from tests.processors.records import CHAIN, event_line

NOW = datetime(2026, 4, 1, tzinfo=UTC)
MIRROR = "cluster/mirror"


class CopiedLog(FakeLog):
    """Another log that may hold the same records, at other offsets and times."""

    def __init__(self, original: FakeLog, shift: int = 0, later: int = 0) -> None:
        super().__init__(len(original.records))
        self.name = MIRROR
        for records in original.records.values():
            for offset, record in sorted(records.items()):
                if offset >= shift:
                    self.put(replace(record, offset=offset - shift, timestamp=record.timestamp + later))

    def partitions(self) -> int:
        return len(self.records)

    def find(self, partition: int, timestamp: int, crc: int) -> tuple[int, int] | None:
        for offset, record in sorted(self.records[partition].items()):
            if record.timestamp >= timestamp and zlib.crc32(record.value or b"") == crc:
                return offset, record.timestamp
        return None


class Stage:
    """A lake that has read four records of each partition of a log, by workers that are gone."""

    def __init__(self, root: Path) -> None:
        self.lake = root / "lake"
        self.lake.mkdir()
        create_tables(self.lake)
        self.log = FakeLog(2)
        self.benches: list[Bench] = []
        self.fill(4)
        asyncio.run(self.read(self.log))

    def fill(self, records: int) -> None:
        for partition in range(2):
            for _ in range(records):
                offset = self.log.end[partition]
                lines = [event_line(eventId=f"{partition}-{offset}", userId="u"), b"{"]
                self.log.append(partition, lines)

    def bench(self, log: FakeLog) -> Bench:
        self.benches.append(Bench(self.lake, log))
        self.benches[-1].worker.assign({0, 1})
        return self.benches[-1]

    async def read(self, log: FakeLog) -> None:
        bench = self.bench(log)
        for partition in range(2):
            await bench.worker.take(bench.received(partition, 0, log.end[partition]))
        await bench.flush()
        assert bench.exits == []

    def adopt(self, log: CopiedLog, old: str | None = None) -> dict[int, int]:
        return {p: start.position for p, start in adopt_copy(self.lake, log, old, NOW, Resources()).items()}

    def judge(self, records: int) -> None:
        rows, letters = frame(self.lake, "events"), frame(self.lake, "dead_letters")
        assert sorted(rows["event_id"]) == sorted(f"{p}-{n}" for p in range(2) for n in range(records))
        assert letters.height == 2 * records
        assert audit(self.lake, "scan").failures == []


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for bench in made.benches:
        bench.close()


@pytest.mark.parametrize(("shift", "later"), [(0, 0), (2, 0), (0, 60_000), (2, 60_000)])
def test_the_lake_goes_on_behind_what_it_read_wherever_the_mirror_put_it(stage: Stage, shift: int, later: int) -> None:
    stage.fill(3)
    mirror = CopiedLog(stage.log, shift, later)

    assert stage.adopt(mirror) == {0: 4 - shift, 1: 4 - shift}

    stage.judge(4)
    asyncio.run(stage.read(mirror))
    stage.judge(7)
    assert position(stage.lake, "events", MIRROR, 0, "duplicates") == 0, "nothing was read twice"


def test_a_log_that_is_no_copy_is_refused_and_nothing_is_written(stage: Stage) -> None:
    other = CopiedLog(FakeLog(2))
    other.append(0, [event_line()])
    with pytest.raises(NeedsPerson, match="partition 0: the log does not hold the record that was read last"):
        stage.adopt(other)
    assert set(logs_of(stage.lake)) == {CHAIN}


def test_a_log_of_fewer_partitions_is_refused(stage: Stage) -> None:
    with pytest.raises(NeedsPerson, match="1 partitions, and the lake has read 2"):
        stage.adopt(CopiedLog(FakeLog(1)))


def test_a_log_that_is_read_already_is_refused(stage: Stage) -> None:
    mirror = CopiedLog(stage.log)
    stage.adopt(mirror)
    with pytest.raises(NeedsPerson, match="reads this log already"):
        stage.adopt(mirror)
    with pytest.raises(Conflict, match="already"):
        adopt(stage.lake, CHAIN, MIRROR, {}, NOW, Resources())


def test_of_several_logs_one_must_be_named(stage: Stage) -> None:
    mirror = CopiedLog(stage.log)
    stage.adopt(mirror)
    mirror.name = "cluster/another"
    with pytest.raises(NeedsPerson, match=f"--from: {MIRROR}, {CHAIN}"):
        stage.adopt(mirror)
    with pytest.raises(NeedsPerson, match="has not read x/y"):
        stage.adopt(mirror, "x/y")
    assert stage.adopt(mirror, MIRROR) == {0: 4, 1: 4}


def test_rejected_lines_ahead_of_the_positions_are_not_there_twice(stage: Stage) -> None:
    stage.fill(1)
    letters = stage.bench(stage.log).flusher.dead_letters
    ahead = [DeadLetter(0, 4, 1, "malformed", b"{", 0)]
    assert letters.append(dead_letters_table(ahead), {0: Span(letters.position(0), 5)}, {}, "test") is None
    mirror = CopiedLog(stage.log, 1)

    stage.adopt(mirror)

    stage.judge(4)
    asyncio.run(stage.read(mirror))
    stage.judge(5)


def test_rollups_that_were_behind_are_brought_up(stage: Stage) -> None:
    stage.fill(1)
    bench = stage.bench(stage.log)
    bench.flusher.rollups.faults = ["refuse"] * 100

    async def story() -> None:
        await bench.worker.take(bench.received(0, 4, 5))
        await bench.flush()

    asyncio.run(story())
    assert position(stage.lake, "rollups", CHAIN, 0) < position(stage.lake, "events", CHAIN, 0) == 5
    mirror = CopiedLog(stage.log)

    assert stage.adopt(mirror) == {0: 5, 1: 4}

    assert audit(stage.lake, "scan").failures == []
    asyncio.run(stage.read(mirror))
    stage.judge(5)
