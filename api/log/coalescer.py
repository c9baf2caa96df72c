"""Segments of many requests gathered into one record a partition, and one report for all of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from msgspec import Struct

from api.errors import Cause
from api.log.producer import LogProducer, NotTaken
from schemas.records import MAX_RECORD_BYTES, record_headers
from storage.metrics import observe


class Part(Struct, frozen=True, gc=False):
    """A segment for one partition, whose share of the budget is reserved."""

    partition: int
    segment: bytes
    events: int


@dataclass(frozen=True, slots=True)
class LingerPolicy:
    """How long a record waits for company where the one before had some.

    It waits for the report of the one before in any case: that is when the log can take it, and a slow log so gets
    fewer and larger records. Larger ones are read faster by workers, too, to whom each costs the same; but a few
    senders that wait for each answer should not wait longer.
    """

    company: int = 8
    seconds: float = 0.004


class Budget:
    """What may wait for the log at once, in events and bytes."""

    def __init__(self, events: int, size: int) -> None:
        self._events = events
        self._bytes = size

    def reserve(self, events: int, size: int) -> bool:
        """Take a share; False, and nothing taken, if there is not enough."""
        if events > self._events or size > self._bytes:
            return False
        self._events -= events
        self._bytes -= size
        return True

    def release(self, events: int, size: int) -> None:
        """Give a share back."""
        self._events += events
        self._bytes += size

    @property
    def left(self) -> tuple[int, int]:
        return self._events, self._bytes


class _Delivery:
    """What a request awaits: None once the log has all its parts, else why not."""

    __slots__ = ("_cause", "_left", "future")

    def __init__(self, future: "asyncio.Future[Cause | None]", parts: int) -> None:
        self.future = future
        self._left = parts
        self._cause: Cause | None = None

    def settle(self, cause: Cause | None) -> None:
        """One of the parts has its report."""
        self._left -= 1
        self._cause = self._cause or cause
        # A cancelled answer does not cancel the events.
        if not self._left and not self.future.done():
            self.future.set_result(self._cause)


class _Buffer:
    """The record of one partition that is being gathered."""

    __slots__ = ("cut_at", "deliveries", "events", "segments", "size", "timer", "under_way", "wait_seconds")

    def __init__(self) -> None:
        self.segments: list[bytes] = []
        self.deliveries: list[_Delivery] = []
        self.events = 0
        self.size = 0
        self.timer: asyncio.Handle | None = None
        self.under_way = 0
        self.cut_at = 0.0
        self.wait_seconds = 0.0


class Coalescer:
    """One buffer a partition, cut at the report of the record before, or at 256 KB. For one thread only."""

    def __init__(self, producer: LogProducer, budget: Budget, door: str, linger: LingerPolicy) -> None:
        self._producer = producer
        self._budget = budget
        self._door = door
        self._linger = linger
        self._buffers: dict[int, _Buffer] = {}
        self._loop = asyncio.get_running_loop()
        self.pending = 0

    def append(self, parts: Sequence[Part]) -> "asyncio.Future[Cause | None]":
        """Put the parts of one request into the next records of their partitions."""
        delivery = _Delivery(self._loop.create_future(), len(parts))
        for part in parts:
            buffer = self._buffers.get(part.partition)
            if buffer is None:
                buffer = self._buffers[part.partition] = _Buffer()
            elif buffer.size + len(part.segment) > MAX_RECORD_BYTES:
                self._cut(part.partition, buffer)
            buffer.segments.append(part.segment)
            buffer.deliveries.append(delivery)
            buffer.events += part.events
            buffer.size += len(part.segment)
            if buffer.size >= MAX_RECORD_BYTES:
                self._cut(part.partition, buffer)
            else:
                self._arm(part.partition, buffer)
        return delivery.future

    def close(self) -> None:
        """Cut what is gathered; the reports come from the producer."""
        for partition, buffer in self._buffers.items():
            self._cut(partition, buffer)

    def _arm(self, partition: int, buffer: _Buffer) -> None:
        if buffer.timer is not None or buffer.under_way:
            return
        rest = buffer.wait_seconds and buffer.cut_at + buffer.wait_seconds - self._loop.time()
        if rest > 0:
            buffer.timer = self._loop.call_later(rest, self._cut, partition, buffer)
        else:
            buffer.timer = self._loop.call_soon(self._cut, partition, buffer)

    def _cut(self, partition: int, buffer: _Buffer) -> None:
        if buffer.timer is not None:
            buffer.timer.cancel()
            buffer.timer = None
        if not buffer.segments:
            return
        segments, deliveries = buffer.segments, buffer.deliveries
        events, size = buffer.events, buffer.size
        buffer.segments, buffer.deliveries, buffer.events, buffer.size = [], [], 0, 0
        buffer.cut_at = self._loop.time()
        buffer.wait_seconds = self._linger.seconds if len(segments) >= self._linger.company else 0.0
        buffer.under_way += 1
        self.pending += events
        report = partial(self._settle, partition, buffer, deliveries, events, size)
        try:
            self._producer.produce(partition, b"".join(segments), [*record_headers(events, self._door)], report)
        except NotTaken as refusal:
            report(refusal.cause)
            return
        observe("streamgauge_events_per_record", events)

    def _settle(
        self,
        partition: int,
        buffer: _Buffer,
        deliveries: list[_Delivery],
        events: int,
        size: int,
        cause: Cause | None,
    ) -> None:
        self.pending -= events
        self._budget.release(events, size)
        buffer.under_way -= 1
        if buffer.segments:
            self._arm(partition, buffer)
        for delivery in deliveries:
            delivery.settle(cause)
