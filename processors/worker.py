"""One worker: takes records of its partitions, folds them, and flushes them to the lake.

Everything here runs on the event loop; what blocks runs in the lake thread (one, so that commits
never overlap) or in the live thread. Faust stays outside: it calls in, and is called through
ConsumerControl.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from processors.attempts import PoisonRule
from processors.batch import Batch, FlushPolicy
from processors.decode import DecodePolicy, LogRecord
from processors.errors import NeedsPerson, Restart, WorkerError
from processors.flush import Flushed, Flusher
from processors.live.fold import LiveFold, first_slot, fold_rows
from processors.live.publish import refusals
from processors.loading import LogView, WindowPolicy, load, skip
from processors.partition import PartitionState, Verdict
from processors.telling import Nothing, Telling
from schemas.live import SLOT_SECONDS, LiveMessage, PartitionStatus
from storage import metrics
from storage.lake import recent
from storage.lake.columns import Chunk, live_columns

log = logging.getLogger(__name__)

T = TypeVar("T")

HOLE_PAUSE_SECONDS = 1.5
HOLE_TRIES = 10
REVOKE_SECONDS = 3.0
# A write that hangs must not keep the whole group from going on: below the rebalance time-out of 20 s.
REVOKE_HANGS_SECONDS = 15.0
COMMIT_SECONDS = 5.0
STATUS_SECONDS = 1.0
LONGEST_PUBLISH_SECONDS = 3.0
FAILING_SECONDS = 30.0
# The live topic forgets after two days; totals of a project that went quiet must outlive that.
REPUBLISH_SECONDS = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class Received:
    """A record as Faust handed it over, with the group generation it was fetched under."""

    record: LogRecord
    generation: int


def _alarm_at_rejects(batch: Batch, ratio: float) -> None:
    """Bad code of one producer must not fill the dead letters in silence."""
    lines = sum(count.lines for count in batch.counts)
    if len(batch.rejects) > ratio * lines:
        metrics.count("streamgauge_alarms_total", kind="dead letters")
        log.error("many lines were rejected", extra={"rejects": len(batch.rejects), "lines": lines})


class ConsumerControl(Protocol):
    """What a worker asks of the group consumer."""

    def generation(self) -> int:
        """The current group generation."""

    async def commit(self, positions: dict[int, int]) -> None:
        """Store next offsets in Kafka; may fail quietly, it is a cache."""

    async def seek(self, partition: int, offset: int) -> None:
        """Fetch from `offset` on."""


class Publisher(Protocol):
    """Where live state goes."""

    def publish(self, messages: Iterable[LiveMessage]) -> None:
        """Queue messages; never blocks."""

    def take_failures(self) -> int:
        """Messages that did not arrive since the last call."""


@dataclass(slots=True)
class Hole:
    """Missing records of a partition: sought again until `next` arrives."""

    tries: int = 0
    tried_at: float = 0.0


@dataclass(slots=True)
class Owned:
    """A partition this worker takes records of."""

    state: PartitionState
    fold: LiveFold
    advanced_at: float
    hole: Hole | None = None
    durable: int = 0
    end: int = 0
    end_at: float = 0.0
    last_timestamp: int = 0
    republish_at: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """All that is configured of a worker."""

    name: str
    flush: FlushPolicy
    window: WindowPolicy
    republish_seconds: float
    publish_seconds: float
    alarm_ratio: float
    # However much there is to say, a tenth of the time is spent on it: a pause is so many times what it took.
    publish_pauses: float = 9.0


@dataclass(slots=True)
class _Timers:
    publish_at: float = 0.0
    status_at: float = 0.0
    expired_at: float = 0.0


class Worker:
    """The state of one worker process; see the module docstring for its threads."""

    def __init__(
        self,
        policy: WorkerPolicy,
        decode: DecodePolicy,
        flusher: Flusher,
        view: LogView,
        consumer: ConsumerControl,
        publisher: Publisher,
        poison: PoisonRule | None = None,
        die: Callable[[int], None] = os._exit,
        telling: Telling | None = None,
    ) -> None:
        self.policy = policy
        self.decode = decode
        self.flusher = flusher
        self.view = view
        self.consumer = consumer
        self.publisher = publisher
        self.poison = poison
        self.telling = telling or Nothing()
        self.owned: dict[int, Owned] = {}
        self.assigned: set[int] = set()
        self.batch = Batch()
        self._die = die
        self._lake = ThreadPoolExecutor(1, thread_name_prefix="lake")
        self._live = ThreadPoolExecutor(1, thread_name_prefix="live")
        self._loading = asyncio.Lock()
        self._flushing: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._timers = _Timers()
        # Rows that live state lacks: it is only looked at when it is published, and many rows cost less together.
        self._unfolded: list[Chunk] = []
        self._dropped: set[int] = set()  # partitions whose records must be read again

    # -- the group ----------------------------------------------------------------------------

    def assign(self, partitions: set[int]) -> None:
        """These partitions are ours; each loads on its first record, or when it is found idle."""
        self.assigned = set(partitions)
        self._dropped = set()

    async def revoke(self, hangs_after: float = REVOKE_HANGS_SECONDS) -> None:
        """All partitions may go to others: flush what is taken, then forget everything. Failing is harmless.

        A write that hangs ends the process; the fence keeps out what of it may still come.
        """
        try:
            async with asyncio.timeout(hangs_after):
                await self._give_up_all()
        except TimeoutError:
            self.end(Restart(f"a write to the lake hangs for {hangs_after:.0f} s while the partitions are revoked"))

    async def _give_up_all(self) -> None:
        self.assigned = set()
        for owned in self.owned.values():
            owned.state.is_closed = True
        await self._flush_all(time.monotonic() + REVOKE_SECONDS)
        self.owned.clear()
        self._unfolded.clear()
        self.batch = Batch()
        await self._in_lake(self.flusher.stored.clear)

    async def stop(self, seconds: float) -> None:
        """The last flush, and its offsets to Kafka, within one deadline."""
        for owned in self.owned.values():
            owned.state.is_closed = True
        await self._flush_all(time.monotonic() + seconds)
        if self._background:
            await asyncio.wait(self._background, timeout=COMMIT_SECONDS)

    def note_end(self, partition: int, end: int, at: float) -> None:
        """The log of a partition ended at `end` when it was asked at unix second `at`."""
        if (owned := self.owned.get(partition)) is not None:
            owned.end, owned.end_at = end, at

    # -- records ------------------------------------------------------------------------------

    async def take(self, received: list[Received]) -> None:
        """Accept what may be accepted of one tick's records; waits when the lake is behind."""
        for item in received:
            await self._own(item)
        # From here to the batch nothing waits: a revocation in between would let records of the old
        # generation into the batch of the next.
        taken: dict[int, list[LogRecord]] = {}
        for item in received:
            record = item.record
            owned = self.owned.get(record.partition)
            if owned is None:
                continue
            ahead = len(taken.get(record.partition, ()))
            match owned.state.verdict(item.generation, self.consumer.generation(), record.offset, ahead):
                case Verdict.TAKE:
                    taken.setdefault(record.partition, []).append(record)
                    owned.advanced_at = time.monotonic()
                    owned.hole = None
                case Verdict.HOLE:
                    owned.hole = owned.hole or Hole()
                case Verdict.DROP:
                    pass
        for partition, records in taken.items():
            self._accept(self.owned[partition].state, records)
        if self.batch.is_ready(self.policy.flush, time.monotonic()):
            # Back-pressure: while one batch is in flight and the next is full, nothing more is taken.
            await self._flush_done()
            self._start_flush()

    def _accept(self, state: PartitionState, records: list[LogRecord]) -> None:
        """Into the batch, while what was decoded is still in the processor's caches."""
        accepted = state.accept(records, self.decode)
        chunk = self.batch.add(accepted, sum(len(record.value or b"") for record in records), time.monotonic())
        if chunk is not None:
            self._unfolded.append(live_columns([chunk]))
        if refused := refusals(self.flusher.events.chain, accepted.rejects):
            self.publisher.publish(refused)

    async def tick(self) -> None:
        """What happens by time: flush by age, holes, publications, heartbeats."""
        now = time.monotonic()
        if self._flushing is None and self.batch.is_ready(self.policy.flush, now):
            self._start_flush()
        for partition in self.assigned - self.owned.keys():
            await self._load(partition, self.consumer.generation())
        for partition, owned in list(self.owned.items()):
            if owned.hole is not None and now - owned.hole.tried_at >= HOLE_PAUSE_SECONDS:
                await self._seek(partition, owned, owned.hole, now)
        if now >= self._timers.publish_at:
            started = time.monotonic()
            self._publish(started)
            pause = min(self.policy.publish_pauses * (time.monotonic() - started), LONGEST_PUBLISH_SECONDS)
            self._timers.publish_at = started + max(self.policy.publish_seconds, pause)
        if now - self._timers.status_at >= STATUS_SECONDS:
            self._timers.status_at = now
            wall = time.time()
            self.publisher.publish([self._status(owned, now, wall) for owned in self.owned.values()])

    # -- loading ------------------------------------------------------------------------------

    async def _own(self, item: Received) -> None:
        partition = item.record.partition
        if partition in self.owned or partition not in self.assigned or item.generation != self.consumer.generation():
            return
        await self._load(partition, item.generation)

    async def _load(self, partition: int, generation: int) -> None:
        # Both the agent and the timer load; a flush in flight would read a position that is about to move.
        async with self._loading:
            await self._flush_done()
            if partition not in self.owned:
                await self._read(partition, generation)

    async def _read(self, partition: int, generation: int) -> None:
        loaded = await self._in_lake(load, self.flusher, self.view, partition, self.policy.window, self.poison)
        if partition not in self.assigned or generation != self.consumer.generation():
            return
        now = time.monotonic()
        owned = Owned(
            PartitionState(
                partition,
                generation,
                loaded.next,
                loaded.window,
                loaded.rejected,
                poison=loaded.poison,
                erased=loaded.erased,
            ),
            LiveFold(self.flusher.events.chain, partition),
            advanced_at=now,
            durable=loaded.next,
            hole=Hole() if partition in self._dropped else None,
        )
        self._dropped.discard(partition)
        self.owned[partition] = owned
        self.telling.note({partition: loaded.next}, {}, None)  # a worker may have died between commit and outbox
        log.info("partition loaded", extra={"partition": partition, "offset": loaded.next, "generation": generation})
        self._spawn(self._rebuild(owned))

    async def _rebuild(self, owned: Owned) -> None:
        """Fold what the lake knows below the start; flushes go on, answers say `rebuilding`."""
        now = int(time.time())
        partition, below = owned.state.partition, owned.durable
        events = self.flusher.events
        past = await asyncio.get_running_loop().run_in_executor(
            self._live, recent.live_past, events.uri, events.chain, partition, below, SLOT_SECONDS, first_slot(now)
        )
        owned.fold.add_past(past.groups, past.totals)
        owned.fold.is_complete = True
        owned.fold.mark_all_changed()
        owned.republish_at = time.monotonic() + self.policy.republish_seconds

    # -- holes --------------------------------------------------------------------------------

    async def _seek(self, partition: int, owned: Owned, hole: Hole, now: float) -> None:
        hole.tries, hole.tried_at = hole.tries + 1, now
        wanted = owned.state.next
        if hole.tries > HOLE_TRIES:
            await self.consumer.commit({partition: wanted})
            raise Restart(f"partition {partition}: offset {wanted} did not arrive after {HOLE_TRIES} seeks")
        if hole.tries > 1 and await self._skip_void(partition, owned):
            return
        log.warning("hole in the log", extra={"partition": partition, "offset": wanted, "try": hole.tries})
        await self.consumer.seek(partition, wanted)

    async def _skip_void(self, partition: int, owned: Owned) -> bool:
        """Whether `next` does not exist in the log any more: then record that and go on behind it."""
        wanted = owned.state.next
        extent = await self._in_lake(self.view.range, partition)
        if extent.start > wanted:
            end, reason = extent.start, "gap"
        else:
            first = await self._in_lake(self.view.fingerprint, partition, wanted)
            if first is None or first[0] == wanted:
                return False
            end, reason = first[0], "void"
        await self._flush_all(None)
        if self.owned.get(partition) is not owned:
            return True
        await self._in_lake(skip, self.flusher, partition, wanted, end, "gap" if reason == "gap" else "void")
        owned.state.next = owned.durable = end
        await self.consumer.seek(partition, end)
        return True

    # -- flushing -----------------------------------------------------------------------------

    def _start_flush(self) -> None:
        batch, self.batch = self.batch, Batch()
        self._flushing = asyncio.create_task(self._flush(batch))

    async def _flush(self, batch: Batch) -> None:
        try:
            flushed = await self._in_lake(self.flusher.flush, batch)
        finally:
            self._flushing = None
        if flushed is None:
            # The next owner, or this one after it has loaded again, reads these records and all that came after.
            self._dropped = batch.partitions | self.batch.partitions
            self.batch = Batch()
            self.owned.clear()
            self._unfolded.clear()
            return
        self._flushed(flushed, batch)

    def _flushed(self, flushed: Flushed, batch: Batch) -> None:
        for partition in flushed.reload:
            log.warning("another owner is ahead", extra={"partition": partition})
            self._fold(int(time.time()))  # what is taken of it again later must not find these rows
            self.owned.pop(partition, None)
        last = {count.partition: count.timestamp for count in batch.counts}
        for partition, position in flushed.positions.items():
            if (owned := self.owned.get(partition)) is not None:
                owned.durable = position
                owned.last_timestamp = last.get(partition, owned.last_timestamp)
                metrics.gauge("streamgauge_lag_offsets", max(0, owned.end - position), partition=partition)
        _alarm_at_rejects(batch, self.policy.alarm_ratio)
        self._spawn(self._commit({p: n for p, n in flushed.positions.items() if p in self.assigned}))
        self.telling.note(flushed.positions, flushed.spans, flushed.rows)
        log.info("flushed", extra={"rows": flushed.rows.num_rows, "positions": flushed.positions})

    async def _commit(self, positions: dict[int, int]) -> None:
        if positions:
            try:
                await asyncio.wait_for(self.consumer.commit(positions), COMMIT_SECONDS)
            except Exception as error:  # F8 is a cache: a failure only makes lag tools wrong for a while
                log.warning("offsets not committed to Kafka", extra={"reason": str(error)})

    async def _flush_done(self) -> None:
        while self._flushing is not None:
            await asyncio.wait([self._flushing])

    async def _flush_all(self, deadline: float | None) -> None:
        self.flusher.deadline = deadline
        try:
            await self._flush_done()
            if self.batch.opened_at is not None:
                self._start_flush()
                await self._flush_done()
        finally:
            self.flusher.deadline = None

    # -- the present --------------------------------------------------------------------------

    def _publish(self, now: float) -> None:
        wall = time.time()
        self._fold(int(wall))
        if self.publisher.take_failures():
            for owned in self.owned.values():
                owned.fold.mark_all_changed()
        for owned in self.owned.values():
            if not owned.fold.is_complete:
                continue
            if owned.republish_at is not None and now >= owned.republish_at:
                owned.fold.mark_all_changed()
                owned.republish_at = now + REPUBLISH_SECONDS
            self.publisher.publish(owned.fold.take_changed(owned.state.next))
        if now - self._timers.expired_at > SLOT_SECONDS:
            self._timers.expired_at = now
            for owned in self.owned.values():
                owned.fold.expire(int(wall))

    def _fold(self, now: int) -> None:
        unfolded, self._unfolded = self._unfolded, []
        if unfolded:
            fold_rows({partition: owned.fold for partition, owned in self.owned.items()}, unfolded, now)

    def _status(self, owned: Owned, now: float, wall: float) -> PartitionStatus:
        if owned.state.next >= owned.end:
            owned.advanced_at = now
        failing = self.flusher.failing_since
        is_failing = failing is not None and now - failing > FAILING_SECONDS
        return PartitionStatus(
            chain=owned.fold.chain,
            partition=owned.state.partition,
            next=owned.state.next,
            durable=owned.durable,
            end=max(owned.end, owned.state.next),
            state="live" if owned.fold.is_complete else "rebuilding",
            at=int(wall * 1000),
            advanced_at=int((wall - (now - owned.advanced_at)) * 1000),
            last_timestamp=owned.last_timestamp,
            worker=self.policy.name,
            flush_error=self.flusher.last_error if is_failing else None,
            end_at=int(owned.end_at * 1000),
        )

    # -- threads ------------------------------------------------------------------------------

    async def _in_lake(self, call: Callable[..., T], *args: object) -> T:
        """Run in the lake thread; whatever it raises ends the process, for Faust would ack and go on."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._lake, call, *args)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.end(error)
            raise

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(error)

    def end(self, error: BaseException) -> None:
        """End the process: state is doubtful, and the lake tells the next start where to go on."""
        status = error.exit_status if isinstance(error, WorkerError) else NeedsPerson.exit_status
        metrics.count("streamgauge_worker_exits_total", cause=type(error).__name__)
        log.critical("the worker ends itself", exc_info=error, extra={"status": status})
        self._die(status)
