"""A worker without Kafka: a log in memory, a consumer that obeys the test, real Delta tables."""

import asyncio
import time
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from processors.batch import FlushPolicy
from processors.decode import LogRecord
from processors.flush import Flusher
from processors.identity import LogRange
from processors.loading import WindowPolicy
from processors.worker import Received, Worker, WorkerPolicy
from schemas.live import LiveMessage, live_key
from storage.lake.commit import FencedTable, Span, Unclear
from tests.processors.records import CHAIN, POLICY, door_record

NEVER = FlushPolicy(rows=10**9, bytes=10**12, age_seconds=10**9, dates=10**9)


class FakeLog:
    """A LogView over lists of records."""

    def __init__(self, partitions: int = 2) -> None:
        self.records: dict[int, dict[int, LogRecord]] = {p: {} for p in range(partitions)}
        self.start = dict.fromkeys(range(partitions), 0)
        self.end = dict.fromkeys(range(partitions), 0)
        self.name = CHAIN

    def append(self, partition: int, lines: list[bytes]) -> LogRecord:
        """One record of the door at the end of a partition."""
        record = door_record(self.end[partition], lines, partition)
        return self.put(record)

    def put(self, record: LogRecord) -> LogRecord:
        """Any record at the end of its partition."""
        self.records[record.partition][record.offset] = record
        self.end[record.partition] = record.offset + 1
        return record

    def retain_from(self, partition: int, offset: int) -> None:
        """What lies below `offset` is gone."""
        self.start[partition] = offset
        for old in [known for known in self.records[partition] if known < offset]:
            del self.records[partition][old]

    def chain(self) -> str:
        return self.name

    def range(self, partition: int) -> LogRange:
        return LogRange(self.start[partition], self.end[partition])

    def fingerprint(self, partition: int, offset: int) -> tuple[int, int, int] | None:
        later = [known for known in sorted(self.records[partition]) if known >= offset]
        if not later:
            return None
        record = self.records[partition][later[0]]
        return record.offset, record.timestamp, zlib.crc32(record.value or b"")

    def read(self, partition: int, start: int, end: int) -> list[LogRecord]:
        return [record for offset, record in sorted(self.records[partition].items()) if start <= offset < end]


@dataclass
class FakeConsumer:
    """A ConsumerControl whose generation the test sets, and that remembers what it was asked."""

    now: int = 1
    commits: list[dict[int, int]] = field(default_factory=list)
    seeks: list[tuple[int, int]] = field(default_factory=list)

    def generation(self) -> int:
        return self.now

    async def commit(self, positions: dict[int, int]) -> None:
        self.commits.append(dict(positions))

    async def seek(self, partition: int, offset: int) -> None:
        self.seeks.append((partition, offset))


@dataclass
class FakePublisher:
    """What was last said under each key."""

    latest: dict[bytes, LiveMessage] = field(default_factory=dict)
    failures: int = 0

    def publish(self, messages: Iterable[LiveMessage]) -> None:
        for message in messages:
            self.latest[live_key(message)] = message

    def take_failures(self) -> int:
        failures, self.failures = self.failures, 0
        return failures


class FaultyTable(FencedTable):
    """The real table; `faults` says what becomes of the next appends: "" is none, "refuse" or "lose answer"."""

    def __init__(self, lake: Path | str, name: str, chain: str) -> None:
        super().__init__(lake, name, chain)  # type: ignore[arg-type]  # one of the table names
        self.faults: list[str] = []
        self.before: Callable[[], None] = lambda: None

    def append(self, rows: pa.Table, spans: dict[int, Span], totals: dict[str, int], note: str) -> Unclear | None:  # type: ignore[override]
        self.before()
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "refuse":
            return Unclear("a fault of the test")
        result = super().append(rows, spans, totals, note)
        return Unclear("the answer was lost") if fault == "lose answer" and result is None else result


class QuickFlusher(Flusher):
    """Retries without pauses, and gives up after `patience` attempts as if the deadline had passed."""

    events: FaultyTable
    dead_letters: FaultyTable
    rollups: FaultyTable
    patience = 20

    def _pause(self, attempt: int) -> bool:
        time.sleep(0.001)
        return attempt <= self.patience


class NoBarrier:
    """A barrier that counts."""

    def __init__(self) -> None:
        self.synced = 0

    def sync(self, table: FencedTable) -> None:
        self.synced += 1


class Bench:
    """One worker on a lake, with all its doubles in reach."""

    def __init__(self, lake: Path, log: FakeLog, name: str = "w", flush: FlushPolicy = NEVER) -> None:
        self.log = log
        self.consumer = FakeConsumer()
        self.publisher = FakePublisher()
        self.exits: list[int] = []
        tables = [FaultyTable(lake, name, log.name) for name in ("events", "dead_letters", "rollups")]
        self.flusher = QuickFlusher(tables[0], tables[1], tables[2], NoBarrier())
        self.worker = Worker(
            WorkerPolicy(
                name,
                flush,
                WindowPolicy(10**6, 10**6),
                republish_seconds=0.0,
                publish_seconds=0.0,
                alarm_ratio=0.1,
                publish_pauses=0.0,
            ),
            POLICY,
            self.flusher,
            log,
            self.consumer,
            self.publisher,
            die=self.exits.append,
        )

    def received(self, partition: int, start: int, end: int, generation: int | None = None) -> list[Received]:
        """The records of a range that the log has."""
        now = self.consumer.now if generation is None else generation
        records = self.log.records[partition]
        return [Received(records[offset], now) for offset in range(start, end) if offset in records]

    async def deliver(self, partition: int, start: int, end: int, generation: int | None = None) -> None:
        """Hand a range to the worker, as one take."""
        await self.worker.take(self.received(partition, start, end, generation))

    async def flush(self) -> None:
        """Flush what is taken, and let everything behind it finish."""
        await self.worker._flush_all(None)
        await self.rest()

    async def rest(self) -> None:
        """Let background work finish."""
        while self.worker._background:
            await asyncio.wait(self.worker._background)

    def close(self) -> None:
        """End its threads."""
        self.worker._lake.shutdown()
        self.worker._live.shutdown()


async def drop(bench: Bench) -> None:
    """End a worker as kill -9 does: nothing of it is asked or told any more."""
    for task in [*bench.worker._background, *([bench.worker._flushing] if bench.worker._flushing else [])]:
        task.cancel()
        with suppress(BaseException):
            await task
    bench.close()
