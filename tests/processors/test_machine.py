"""Everything that can happen to two workers of one log, in any order: each line is in the lake once.

Deliver, redeliver, hole, revoke, assign, flush with refused or unanswered commits, death at every
step of a flush, and a zombie that keeps flushing what it holds after the others went on.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from processors import flush
from schemas.live import ProjectTotals
from storage.lake.tables import create_tables
from tests.processors.harness import Bench, FakeLog, drop
from tests.processors.judge import Place, expect, judge
from tests.processors.records import CHAIN, event_line

PARTITIONS = 2
STEPS = ("before F2", "before F3", "after F3", "before F4", "after F4", "before F5", "before F6", "after F6")
_PARTITION = st.integers(0, PARTITIONS - 1)
_WORKER = st.integers(0, 1)
# None is a line that is no event; few ids, so that duplicates are common.
_IDS = st.lists(st.none() | st.integers(0, 12), min_size=1, max_size=4)


class Killed(BaseException):
    """Stands for SIGKILL between two steps."""


class Delivery(RuleBasedStateMachine):
    """Two workers, one of which may be frozen while the group goes on without it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp())
        self.lake = self.root / "lake"
        self.lake.mkdir()
        create_tables(self.lake)
        self.log = FakeLog(PARTITIONS)
        self.lines: list[tuple[Place, str | None]] = []
        self.generation = 1
        self.frozen: set[int] = set()
        self.fetched = [dict.fromkeys(range(PARTITIONS), 0) for _ in range(2)]
        self.benches = [self._start(number) for number in range(2)]
        self.kill_at: str | None = None
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(flush, "crash_point", self._crash_point)

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self._close()

    def _close(self) -> None:
        self.patch.undo()
        for bench in self.benches:
            self._run(drop(bench))
        self.loop.close()
        shutil.rmtree(self.root)

    def _start(self, number: int) -> Bench:
        return Bench(self.lake, self.log, f"worker-{number}")

    def _run(self, story: Any) -> Any:
        async def quietly() -> Any:
            # A worker that ends itself is judged by its exit status, not by tasks nobody waits for.
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            return await story

        return self.loop.run_until_complete(quietly())

    def _crash_point(self, place: str) -> None:
        if place == self.kill_at:
            self.kill_at = None
            raise Killed(place)

    def _replace_dead(self) -> None:
        """What the supervisor does; the group only learns of it at the next assignment."""
        for number, bench in enumerate(self.benches):
            if bench.exits:
                self._run(drop(bench))
                self.benches[number] = self._start(number)
                self.benches[number].consumer.now = -1
                self.frozen.discard(number)

    # -- the log ------------------------------------------------------------------------------

    @rule(records=st.lists(st.tuples(_PARTITION, _IDS), min_size=1, max_size=4))
    def produce(self, records: list[tuple[int, list[int | None]]]) -> None:
        for partition, ids in records:
            self._produce(partition, ids)

    def _produce(self, partition: int, ids: list[int | None]) -> None:
        offset = self.log.end[partition]
        lines = [b"{" if one is None else event_line(eventId=f"e{one}", userId=f"u{one % 3}") for one in ids]
        self.log.append(partition, lines)
        for index, one in enumerate(ids):
            self.lines.append(((partition, offset, index), None if one is None else f"e{one}"))

    # -- the group ----------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.balance()

    @rule()
    def balance(self) -> None:
        """A new generation: living workers revoke, then share the partitions; a frozen one hears nothing."""
        awake = [number for number in range(2) if number not in self.frozen]
        for number in awake:
            self._run(self.benches[number].worker.revoke())
        self._replace_dead()
        self.generation += 1
        for place, number in enumerate(awake):
            share = {p for p in range(PARTITIONS) if p % len(awake) == place}
            self.benches[number].consumer.now = self.generation
            self.benches[number].worker.assign(share)
            self.fetched[number] = dict.fromkeys(range(PARTITIONS), 0)

    @precondition(lambda self: not self.frozen)
    @rule(number=_WORKER)
    def freeze(self, number: int) -> None:
        self.frozen = {number}

    @precondition(lambda self: self.frozen)
    @rule()
    def thaw(self) -> None:
        self.frozen = set()
        self.balance()

    # -- records ------------------------------------------------------------------------------

    @rule(number=_WORKER, partition=_PARTITION, count=st.integers(1, 5))
    def deliver(self, number: int, partition: int, count: int) -> None:
        """The next records, also to a zombie: they were in its buffers."""
        bench, start = self.benches[number], self.fetched[number][partition]
        end = min(start + count, self.log.end[partition])
        self._run(bench.deliver(partition, start, end))
        self.fetched[number][partition] = end
        self._replace_dead()

    def _feed(self, number: int) -> None:
        """Everything that the log has, to a worker that may not have had it."""
        for partition in range(PARTITIONS):
            self.deliver(number, partition, 10**6)

    @rule(number=_WORKER, partition=_PARTITION, back=st.integers(1, 4))
    def redeliver(self, number: int, partition: int, back: int) -> None:
        self.fetched[number][partition] = max(0, self.fetched[number][partition] - back)

    @rule(number=_WORKER, partition=_PARTITION)
    def lose_one(self, number: int, partition: int) -> None:
        self.fetched[number][partition] = min(self.fetched[number][partition] + 1, self.log.end[partition])

    @rule(number=_WORKER, is_seek_lost=st.booleans())
    def tick(self, number: int, is_seek_lost: bool) -> None:
        bench = self.benches[number]
        for owned in bench.worker.owned.values():
            if owned.hole is not None:
                owned.hole.tried_at = 0.0
        bench.consumer.seeks.clear()
        self._run(bench.worker.tick())
        for partition, offset in [] if is_seek_lost else bench.consumer.seeks:
            self.fetched[number][partition] = offset
        self._replace_dead()

    # -- flushes ------------------------------------------------------------------------------

    @rule(number=_WORKER)
    def flush(self, number: int) -> None:
        self._run(self.benches[number].flush())
        self._replace_dead()

    @rule(number=_WORKER, partition=_PARTITION, count=st.integers(1, 3))
    def deliver_and_flush(self, number: int, partition: int, count: int) -> None:
        """Commits of one partition each: a zombie's success on one brings the others' commits into its handle."""
        self.deliver(number, partition, count)
        self.flush(number)

    @rule(
        number=_WORKER,
        table=st.sampled_from(["events", "dead_letters", "rollups"]),
        faults=st.lists(st.sampled_from(["refuse", "lose answer"]), min_size=1, max_size=3),
    )
    def flush_with_faults(self, number: int, table: str, faults: list[str]) -> None:
        self._feed(number)
        faulty = getattr(self.benches[number].flusher, table)
        faulty.faults = list(faults)
        self._run(self.benches[number].flush())
        faulty.faults = []
        self._replace_dead()

    @rule(number=_WORKER, step=st.sampled_from(STEPS))
    def die_in_a_flush(self, number: int, step: str) -> None:
        self._feed(number)
        bench = self.benches[number]
        self.kill_at = step
        self._run(bench.flush())
        self.kill_at = None
        self._replace_dead()

    @rule(number=_WORKER)
    def run_out_of_time(self, number: int) -> None:
        """A revocation whose flush is refused until the deadline."""
        bench = self.benches[number]
        bench.flusher.patience, bench.flusher.events.faults = 1, ["refuse"] * 3
        self._run(bench.worker.revoke())
        bench.flusher.patience, bench.flusher.events.faults = 20, []
        bench.worker.assign(set())
        self._replace_dead()

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def every_line_below_the_position_is_there_once(self) -> None:
        judge(self.lake, CHAIN, PARTITIONS, self.lines)

    @rule()
    def drain(self) -> None:
        """All alive again, everything read: nothing may be missing, and live state says the same."""
        self.frozen = set()
        self.balance()
        for bench in self.benches:
            for partition in sorted(bench.worker.assigned):
                self._run(bench.deliver(partition, 0, self.log.end[partition]))
            self._run(bench.flush())
            self._run(bench.worker.tick())
            assert bench.exits == []
        assert judge(self.lake, CHAIN, PARTITIONS, self.lines) == self.log.end
        rows = expect(self.lines, self.log.end).rows
        for bench in self.benches:
            for partition in bench.worker.owned:
                said = [
                    message.events
                    for message in bench.publisher.latest.values()
                    if isinstance(message, ProjectTotals) and message.partition == partition
                ]
                expected = sum(place[0] == partition for place in rows)
                assert sum(said) == expected


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
