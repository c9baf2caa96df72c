"""A worker among revocations, holes, other owners and failing tables; no Kafka."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from processors.batch import FlushPolicy
from processors.errors import NeedsPerson, Restart
from processors.worker import HOLE_TRIES
from schemas.live import PartitionStatus, ProjectTotals, Refusal
from storage.lake.tables import create_tables
from tests.processors.harness import NEVER, Bench, FakeLog
from tests.processors.judge import Place, frame, judge, places, position
from tests.processors.records import CHAIN, event_line, foreign_record

Lines = list[tuple[Place, str | None]]


class Stage:
    """A log of two partitions, a lake, and as many workers as a test asks for."""

    def __init__(self, root: Path) -> None:
        self.lake = root / "lake"
        self.lake.mkdir()
        create_tables(self.lake)
        self.log = FakeLog()
        self.lines: Lines = []
        self.benches: list[Bench] = []

    def fill(self, partition: int, records: int, lines: int = 2) -> None:
        """Records of good lines with ids of their own."""
        for _ in range(records):
            offset = self.log.end[partition]
            ids = [f"{partition}-{offset}-{n}" for n in range(lines)]
            self.log.append(partition, [event_line(eventId=one, userId=one) for one in ids])
            self.lines += [((partition, offset, n), one) for n, one in enumerate(ids)]

    def fill_bad(self, partition: int) -> None:
        """A record with one bad line between two good ones."""
        offset = self.log.end[partition]
        self.log.append(partition, [event_line(eventId=f"{offset}a"), b"{", event_line(eventId=f"{offset}b")])
        ids = [f"{offset}a", None, f"{offset}b"]
        self.lines += [((partition, offset, n), one) for n, one in enumerate(ids)]

    def worker(self, flush: FlushPolicy = NEVER) -> Bench:
        bench = Bench(self.lake, self.log, f"w{len(self.benches)}", flush)
        self.benches.append(bench)
        return bench

    def judge(self) -> dict[int, int]:
        return judge(self.lake, self.log.name, 2, self.lines)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    for bench in made.benches:
        bench.close()


def test_rows_rejects_and_duplicates_of_two_partitions(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 3)
        stage.fill_bad(0)
        stage.fill(1, 2)
        stage.log.append(1, [event_line(eventId="1-0-0")])
        stage.lines.append(((1, 2, 0), "1-0-0"))
        bench = stage.worker()
        bench.worker.assign({0, 1})
        await bench.worker.take(bench.received(0, 0, 4) + bench.received(1, 0, 3))
        await bench.flush()
        assert stage.judge() == {0: 4, 1: 3}
        assert bench.consumer.commits == [{0: 4, 1: 3}]
        assert bench.exits == []

    asyncio.run(story())


def test_refused_lines_are_told_before_the_flush_and_a_flood_only_in_part(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 1)
        stage.fill_bad(0)
        stage.log.append(0, [b"{"] * 200)
        bench = stage.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2)
        told = [message for message in bench.publisher.latest.values() if isinstance(message, Refusal)]
        assert [(one.partition, one.offset, one.index, one.reason) for one in told] == [(0, 1, 1, "malformed")]
        assert stage.judge() == {0: 0, 1: 0}
        await bench.deliver(0, 2, 3)
        assert 10 < sum(isinstance(message, Refusal) for message in bench.publisher.latest.values()) <= 51

    asyncio.run(story())


def test_records_of_another_generation_or_partition_are_dropped(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 2)
        stage.fill(1, 2)
        bench = stage.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2, generation=0)
        await bench.deliver(1, 0, 2)
        await bench.flush()
        assert stage.judge() == {0: 0, 1: 0}
        await bench.deliver(0, 0, 2)
        await bench.flush()
        assert stage.judge() == {0: 2, 1: 0}

    asyncio.run(story())


def test_revocation_while_another_partition_loads_lets_nothing_into_the_next_batch(stage: Stage) -> None:
    """What was accepted before the wait used to reach the batch of the next generation, and the lake twice."""

    async def story() -> None:
        stage.fill(0, 3)
        stage.fill(1, 3)
        bench = stage.worker()
        bench.worker.assign({0, 1})
        await bench.deliver(0, 0, 1)
        await bench.flush()
        is_loading, may_go_on = threading.Event(), threading.Event()
        original = stage.log.range

        def blocking(partition: int) -> object:
            is_loading.set()
            assert may_go_on.wait(10)
            return original(partition)

        stage.log.range = blocking  # type: ignore[method-assign, assignment]
        taking = asyncio.create_task(bench.worker.take(bench.received(0, 1, 3) + bench.received(1, 0, 3)))
        await asyncio.to_thread(is_loading.wait, 10)
        revoking = asyncio.create_task(bench.worker.revoke())
        await asyncio.sleep(0)
        may_go_on.set()
        await asyncio.gather(taking, revoking)
        bench.consumer.now = 2
        bench.worker.assign({0, 1})
        await bench.worker.take(bench.received(0, 0, 3) + bench.received(1, 0, 3))
        await bench.flush()
        assert stage.judge() == {0: 3, 1: 3}
        assert bench.exits == []

    asyncio.run(story())


def test_batch_behind_a_flush_that_ran_out_of_time_is_not_committed(stage: Stage) -> None:
    """It would move the position past the records of the flush before."""

    async def story() -> None:
        stage.fill(0, 6)
        bench = stage.worker(FlushPolicy(rows=4, bytes=10**12, age_seconds=10**9, dates=10**9))
        bench.worker.assign({0})
        bench.flusher.patience = 0
        is_writing, may_go_on = threading.Event(), threading.Event()

        def block() -> None:
            is_writing.set()
            assert may_go_on.wait(10)

        bench.flusher.events.before = block
        bench.flusher.events.faults = ["refuse"]
        await bench.deliver(0, 0, 2)
        await asyncio.to_thread(is_writing.wait, 10)
        await bench.deliver(0, 2, 3)
        revoking = asyncio.create_task(bench.worker.revoke())
        await asyncio.sleep(0)
        may_go_on.set()
        await revoking
        assert stage.judge() == {0: 0, 1: 0}
        bench.consumer.now = 2
        bench.worker.assign({0})
        await bench.deliver(0, 0, 6)
        await bench.flush()
        assert stage.judge() == {0: 6, 1: 0}

    asyncio.run(story())


def test_write_that_hangs_while_partitions_are_revoked_ends_the_worker(stage: Stage) -> None:
    hanging, answer = threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        assert answer.wait(30)

    async def story() -> None:
        stage.fill(0, 2)
        bench, successor = stage.worker(), stage.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2)
        bench.flusher.events.before = hang
        try:
            await bench.worker.revoke(hangs_after=0.3)
            assert hanging.is_set()
            assert bench.exits == [Restart.exit_status]
            successor.worker.assign({0})
            await successor.deliver(0, 0, 2)
            await successor.flush()
        finally:
            answer.set()
        await bench.worker._flush_done()  # what the process would not live to see: the fence refuses it
        assert stage.judge() == {0: 2, 1: 0}

    asyncio.run(story())


def test_refused_and_unanswered_commits_are_settled(stage: Stage) -> None:
    async def story() -> None:
        bench = stage.worker()
        bench.worker.assign({0, 1})
        tables = (bench.flusher.events, bench.flusher.dead_letters, bench.flusher.rollups)
        for number, fault in enumerate(("refuse", "lose answer") * 3):
            stage.fill_bad(0)
            stage.fill(1, 1)
            tables[number // 2].faults = [fault]
            await bench.worker.take(bench.received(0, number, number + 1) + bench.received(1, number, number + 1))
            await bench.flush()
            assert tables[number // 2].faults == []
            assert stage.judge() == {0: number + 1, 1: number + 1}
        assert position(stage.lake, "rollups", CHAIN, 0) == 6
        assert bench.exits == []

    asyncio.run(story())


def test_two_owners_flush_the_same_records_once(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 6)
        stage.fill_bad(0)
        a, b = stage.worker(), stage.worker()
        for bench in (a, b):
            bench.worker.assign({0})
            await bench.deliver(0, 0, 3)
        await a.deliver(0, 3, 7)
        await b.flush()  # covers a prefix of what a holds
        await a.flush()
        assert stage.judge() == {0: 7, 1: 0}
        await b.deliver(0, 3, 5)
        await b.flush()  # everything is covered by a, who is ahead
        assert stage.judge() == {0: 7, 1: 0}
        assert b.worker.owned == {}
        assert (a.exits, b.exits) == ([], [])

    asyncio.run(story())


def test_position_that_went_back_ends_the_worker(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 2)
        bench = stage.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2)
        await bench.flush()
        bench.flusher.stored[0].held = 5
        stage.fill(0, 5)
        for offset in range(2, 7):
            await bench.deliver(0, offset, offset + 1)
        await bench.flush()
        assert bench.exits == [Restart.exit_status]
        assert stage.judge() == {0: 2, 1: 0}

    asyncio.run(story())


def test_hole_is_sought_until_the_record_arrives(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 5)
        bench = stage.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 1)
        await bench.deliver(0, 2, 5)
        await bench.worker.tick()
        assert bench.consumer.seeks == [(0, 1)]
        owned = bench.worker.owned[0]
        assert owned.hole is not None
        owned.hole.tried_at = 0.0
        await bench.worker.tick()  # lost: again, and the log still has it
        assert bench.consumer.seeks == [(0, 1), (0, 1)]
        await bench.deliver(0, 1, 5)
        assert bench.worker.owned[0].hole is None
        await bench.flush()
        assert stage.judge() == {0: 5, 1: 0}

    asyncio.run(story())


def test_hole_that_stays_ends_the_worker_with_its_offset_committed(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 3)
        bench = stage.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 1)
        await bench.deliver(0, 2, 3)
        owned = bench.worker.owned[0]
        assert owned.hole is not None
        owned.hole.tries = HOLE_TRIES
        with pytest.raises(Restart, match="offset 1 did not arrive"):
            await bench.worker.tick()
        assert bench.consumer.commits == [{0: 1}]

    asyncio.run(story())


def test_records_that_retention_took_while_running_are_a_gap(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 8)
        bench = stage.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2)
        stage.log.retain_from(0, 5)
        await bench.deliver(0, 5, 8)
        owned = bench.worker.owned[0]
        for _ in range(2):
            assert owned.hole is not None
            owned.hole.tried_at = 0.0
            await bench.worker.tick()
        await bench.deliver(0, 5, 8)
        await bench.flush()
        assert position(stage.lake, "events", CHAIN, 0) == 8
        assert position(stage.lake, "events", CHAIN, 0, "gaps") == 3
        assert {offset for _, offset, _ in places(frame(stage.lake, "events"))} == {0, 1, 5, 6, 7}
        letters = frame(stage.lake, "dead_letters").to_dicts()
        assert [(x["reason"], x["kafka_offset"], x["record_index"], x["raw"]) for x in letters] == [
            ("gap", 2, -1, b'{"from": 2, "to": 5}')
        ]
        assert bench.consumer.seeks[-1] == (0, 5)
        assert bench.exits == []

    asyncio.run(story())


def test_offsets_that_never_held_data_are_void(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 2)
        stage.log.put(foreign_record(event_line(projectId=7, eventId="late"), offset=4))
        bench = stage.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 5)
        owned = bench.worker.owned[0]
        for _ in range(2):
            assert owned.hole is not None
            owned.hole.tried_at = 0.0
            await bench.worker.tick()
        await bench.deliver(0, 4, 5)
        await bench.flush()
        assert position(stage.lake, "events", CHAIN, 0) == 5
        assert [x["reason"] for x in frame(stage.lake, "dead_letters").to_dicts()] == ["void"]
        assert (0, 4, 0) in places(frame(stage.lake, "events"))

    asyncio.run(story())


def test_live_state_is_rebuilt_from_the_lake_and_goes_on(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 4)
        first = stage.worker()
        first.worker.assign({0})
        await first.deliver(0, 0, 3)
        await first.flush()
        second = stage.worker()
        second.worker.assign({0})
        await second.deliver(0, 0, 4)
        await second.rest()
        await second.worker.tick()
        totals = [x for x in second.publisher.latest.values() if isinstance(x, ProjectTotals)]
        assert [(x.project, x.events, x.next) for x in totals] == [(7, 8, 4)]
        (status,) = [x for x in second.publisher.latest.values() if isinstance(x, PartitionStatus)]
        assert (status.next, status.durable, status.state, status.worker) == (4, 3, "live", "w1")

    asyncio.run(story())


def test_back_pressure_waits_for_the_flush_in_flight(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 4)
        bench = stage.worker(FlushPolicy(rows=2, bytes=10**12, age_seconds=10**9, dates=10**9))
        bench.worker.assign({0})
        is_writing, may_go_on = threading.Event(), threading.Event()

        def block() -> None:
            is_writing.set()
            assert may_go_on.wait(10)

        bench.flusher.events.before = block
        await bench.deliver(0, 0, 1)
        await asyncio.to_thread(is_writing.wait, 10)
        second = asyncio.create_task(bench.deliver(0, 1, 2))
        done, _ = await asyncio.wait([second], timeout=0.2)
        assert not done
        may_go_on.set()
        await second
        await bench.flush()
        assert stage.judge() == {0: 2, 1: 0}

    asyncio.run(story())


def test_recreated_log_ends_the_worker_at_the_next_load(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 2)
        bench = stage.worker()
        bench.worker.assign({0})
        stage.log.name = "cluster/other"
        with pytest.raises(Restart, match="another one"):
            await bench.deliver(0, 0, 2)
        assert bench.exits == [Restart.exit_status]

    asyncio.run(story())


def test_broken_lake_needs_a_person(stage: Stage) -> None:
    async def story() -> None:
        stage.fill(0, 2)
        bench = stage.worker()
        bench.worker.assign({0})
        await bench.deliver(0, 0, 2)
        for entry in (stage.lake / "events" / "_delta_log").iterdir():
            entry.unlink()
        bench.flusher.events.faults = ["refuse"]
        await bench.flush()
        assert set(bench.exits) == {NeedsPerson.exit_status}

    asyncio.run(story())
