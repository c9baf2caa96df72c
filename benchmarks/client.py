"""The load of a run, as a process of its own: keep-alive HTTP, closed loop or at a fixed rate.

`python -m benchmarks.client SPEC` takes a Load as JSON, says `ready` when its bodies and connections are there, starts
at a line on standard input, and prints a LoadReport as JSON.
"""

import asyncio
import sys
import time
from collections import Counter, deque
from typing import Literal, cast

import msgspec
import uvloop
from msgspec import Struct

from benchmarks.workload import Encoding, Shape, Workload

_CONTENT: dict[Encoding, tuple[str, str]] = {
    "array": ("application/json", ""),
    "ndjson": ("application/x-ndjson", ""),
    "gzip": ("application/json", "Content-Encoding: gzip\r\n"),
    "zstd": ("application/json", "Content-Encoding: zstd\r\n"),
}
_TICK_SECONDS = 0.001
# What a connection gets to know of an overloaded server before the run is given up.
_DRAIN_SECONDS = 15.0


class Load(Struct, frozen=True):
    """What to send. Without `rate` each connection sends again when it is answered."""

    port: int
    path: str
    keys: list[str]
    connections: int
    seconds: float
    seed: int
    method: Literal["POST", "GET"] = "POST"
    shape: Shape = "narrow"
    batch: int = 0  # 0: single events
    encoding: Encoding = "array"
    requests: int = 100_000  # at most so many, since each body is made beforehand
    rate: float | None = None  # requests a second


class LoadReport(Struct, frozen=True):
    """What came of it; latencies in ms, from the intended instant of sending."""

    requests: int
    events: int  # acknowledged
    statuses: dict[str, int]
    seconds: float
    cpu_seconds: float
    bytes_sent: int
    latency: dict[str, float]


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, run: "_Run", key: str) -> None:
        self._run = run
        self.head = run.head(key)
        self.intended = 0.0
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's derive from none of these

    def send(self, body: bytes, intended: float) -> None:
        self.intended = intended
        assert self._transport is not None
        self._transport.write(b"%b%d\r\n\r\n%b" % (self.head, len(body), body))

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._received = data
            return
        at = data.find(b"content-length: ", 0, end)
        length = int(data[at + 16 : data.find(b"\r", at)]) if at >= 0 else 0
        if len(data) < end + 4 + length:
            self._received = data
            return
        self._received = b""
        self._run.answered(self, data[9:12], data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Run:
    """All connections of one load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._bodies = _bodies(load)
        self._next = 0
        self._idle: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._latencies: list[float] = []
        self._statuses: Counter[bytes] = Counter()
        self._accepted = 0
        self._under_way = 0
        self._bytes = 0
        self._until = 0.0
        self._last = 0.0
        self._done = asyncio.Event()
        self._is_over = False

    def head(self, key: str) -> bytes:
        """Everything of a request before its length."""
        content, further = _CONTENT[self._load.encoding]
        text = (
            f"{self._load.method} {self._load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\n"
            f"Content-Type: {content}\r\n{further}Content-Length: "
        )
        return text.encode()

    async def connect(self) -> None:
        """Open all connections."""
        loop, load = asyncio.get_running_loop(), self._load
        for number in range(load.connections):
            key = load.keys[number % len(load.keys)]
            _, connection = await loop.create_connection(lambda key=key: _Connection(self, key), "127.0.0.1", load.port)  # type: ignore[misc]
            self._idle.append(connection)

    async def drive(self) -> LoadReport:
        """Send for the given time, and wait for the last answer."""
        cpu, started = time.process_time(), time.perf_counter()
        self._until = started + self._load.seconds
        self._last = started
        if self._load.rate is None:
            while self._idle and self._more():
                self._send(self._idle.popleft(), time.perf_counter())
            await asyncio.wait_for(self._done.wait(), self._load.seconds + _DRAIN_SECONDS)
        else:
            await self._drive_at(self._load.rate, started)
        return self._report(self._last - started, time.process_time() - cpu)

    async def _drive_at(self, rate: float, started: float) -> None:
        total, sent = int(rate * self._load.seconds), 0
        while sent < total:
            due = min(total, int((time.perf_counter() - started) * rate) + 1)
            self._due.extend(started + number / rate for number in range(sent, due))
            sent = due
            while self._due and self._idle:
                self._send(self._idle.popleft(), self._due.popleft())
            await asyncio.sleep(_TICK_SECONDS)
        deadline = time.perf_counter() + _DRAIN_SECONDS
        while (self._due or self._under_way) and time.perf_counter() < deadline:
            await asyncio.sleep(_TICK_SECONDS)

    def answered(self, connection: _Connection, status: bytes, answer: bytes) -> None:
        """One answer came; the connection is free."""
        now = time.perf_counter()
        self._last = now
        self._latencies.append(now - connection.intended)
        self._statuses[status] += 1
        self._under_way -= 1
        if status == b"200" and self._load.method == "POST" and b'"status":"ok"' in answer:
            self._accepted += self._load.batch or 1
        if self._load.rate is None:
            if now < self._until and self._more():
                self._send(connection, now)
            elif not self._under_way:
                self._done.set()
        elif self._due:
            self._send(connection, self._due.popleft())
        else:
            self._idle.append(connection)

    def lost(self) -> None:
        """A connection closed: at the end that is ours to do, before it the run is void."""
        if not self._is_over:
            self._statuses[b"lost"] += 1
            self._done.set()

    def _more(self) -> bool:
        return self._load.method == "GET" or self._next < len(self._bodies)

    def _send(self, connection: _Connection, intended: float) -> None:
        body = b""
        if self._load.method == "POST":
            body = self._bodies[self._next]
            self._next += 1
        self._bytes += len(body)
        self._under_way += 1
        connection.send(body, intended)

    def _report(self, seconds: float, cpu: float) -> LoadReport:
        self._is_over = True
        return LoadReport(
            requests=len(self._latencies),
            events=self._accepted,
            statuses={status.decode(): count for status, count in self._statuses.items()},
            seconds=seconds,
            cpu_seconds=cpu,
            bytes_sent=self._bytes,
            latency=quantiles(self._latencies),
        )


def quantiles(seconds: list[float]) -> dict[str, float]:
    """p50, p99, p99.9 and the longest, in ms."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    places = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(len(ordered) * at))] * 1000 for name, at in places.items()}


def _bodies(load: Load) -> list[bytes]:
    if load.method == "GET":
        return []
    workload = Workload(load.seed, load.shape)
    count = load.requests if load.rate is None else int(load.rate * load.seconds)
    if load.batch:
        return [workload.batch(load.batch, load.encoding) for _ in range(count)]
    return [workload.event() for _ in range(count)]


async def _main(load: Load) -> LoadReport:
    run = _Run(load)
    await run.connect()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return await run.drive()


if __name__ == "__main__":
    report = uvloop.run(_main(msgspec.json.decode(sys.argv[1], type=Load)))
    print(msgspec.json.encode(report).decode(), flush=True)
