"""Segments of many requests gathered into one record a partition, and one report for all of them."""

import asyncio
from dataclasses import dataclass
from functools import partial

from api.errors import Cause
from api.log.producer import LogProducer, NotTaken
from schemas.records import MAX_RECORD_BYTES, record_headers
from storage.metrics import observe

# What a request awaits: None once the log has its segment, else why not.
Delivery = asyncio.Future[Cause | None]


@dataclass(frozen=True, slots=True)
class LingerPolicy:
    """How long a record waits for company, by the rate at which segments come to its partition.

    Below `idle_rate` nobody would come within the shortest wait, so it is not worth waiting. Above `busy_rate` longer
    waits make larger records, of which the workers read more events a second: 5,000 segments a second wait 5 ms, so
    that 26 share a record.
    """

    idle_rate: float = 500
    busy_rate: float = 3000
    shortest_seconds: float = 0.002
    longest_seconds: float = 0.010
    seconds_per_rate: float = 1.6e-6

    def seconds(self, rate: float) -> float:
        """The wait at so many segments a second."""
        if rate < self.idle_rate:
            return 0
        longer = max(0.0, rate - self.busy_rate) * self.seconds_per_rate
        return min(self.longest_seconds, self.shortest_seconds + longer)


# Rates are averaged over about this long.
_RATE_SECONDS = 0.05


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


class _Buffer:
    """The record of one partition that is being gathered."""

    __slots__ = ("deliveries", "events", "last_cut", "rate", "segments", "size", "timer")

    def __init__(self, now: float) -> None:
        self.segments: list[bytes] = []
        self.deliveries: list[Delivery] = []
        self.events = 0
        self.size = 0
        self.timer: asyncio.Handle | None = None
        self.rate = 0.0
        self.last_cut = now


class Coalescer:
    """One buffer a partition, cut after a linger or at 256 KB. For the event loop's thread only."""

    def __init__(self, producer: LogProducer, budget: Budget, door: str, linger: LingerPolicy) -> None:
        self._producer = producer
        self._budget = budget
        self._door = door
        self._linger = linger
        self._buffers: dict[int, _Buffer] = {}
        self._loop = asyncio.get_running_loop()
        self.pending = 0

    def append(self, partition: int, segment: bytes, events: int) -> Delivery:
        """Put one segment, whose share of the budget is reserved, into the partition's next record."""
        buffer = self._buffers.get(partition)
        if buffer is None:
            buffer = self._buffers[partition] = _Buffer(self._loop.time())
        elif buffer.size + len(segment) > MAX_RECORD_BYTES:
            self._cut(partition)
        delivery: Delivery = self._loop.create_future()
        buffer.segments.append(segment)
        buffer.deliveries.append(delivery)
        buffer.events += events
        buffer.size += len(segment)
        if buffer.size >= MAX_RECORD_BYTES:
            self._cut(partition)
        elif buffer.timer is None:
            buffer.timer = self._arm(partition, self._linger.seconds(buffer.rate))
        return delivery

    def close(self) -> None:
        """Cut what is gathered; the reports come from the producer."""
        for partition in self._buffers:
            self._cut(partition)

    def _arm(self, partition: int, seconds: float) -> asyncio.Handle:
        if seconds:
            return self._loop.call_later(seconds, self._cut, partition)
        return self._loop.call_soon(self._cut, partition)

    def _cut(self, partition: int) -> None:
        buffer = self._buffers[partition]
        if buffer.timer is not None:
            buffer.timer.cancel()
            buffer.timer = None
        if not buffer.segments:
            return
        self._measure(buffer)
        segments, deliveries = buffer.segments, buffer.deliveries
        events, size = buffer.events, buffer.size
        buffer.segments, buffer.deliveries, buffer.events, buffer.size = [], [], 0, 0
        report = partial(self._settle, deliveries, events, size)
        self.pending += events
        try:
            self._producer.produce(partition, b"".join(segments), [*record_headers(events, self._door)], report)
        except NotTaken as refusal:
            report(refusal.cause)
            return
        observe("streamgauge_events_per_record", events)

    def _measure(self, buffer: _Buffer) -> None:
        now = self._loop.time()
        elapsed = max(now - buffer.last_cut, 1e-6)
        weight = min(1.0, elapsed / _RATE_SECONDS)
        buffer.rate += (len(buffer.segments) / elapsed - buffer.rate) * weight
        buffer.last_cut = now

    def _settle(self, deliveries: list[Delivery], events: int, size: int, cause: Cause | None) -> None:
        self.pending -= events
        self._budget.release(events, size)
        for delivery in deliveries:
            # A cancelled answer does not cancel the events.
            if not delivery.done():
                delivery.set_result(cause)
