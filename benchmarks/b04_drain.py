"""B4: a backlog into counters, sketches and committed Delta tables, against Faust that only counts."""

import time
from collections.abc import Callable, Iterator
from itertools import islice

from confluent_kafka import Producer

from benchmarks.figures import Figure, Sample, below, costs, in_r, rates
from benchmarks.meter import CpuMeter, peak_bytes
from benchmarks.run import Run
from benchmarks.stacks import PARTITIONS, Naive, Ours, RunVoid
from benchmarks.workload import Shape, Workload
from schemas.records import SegmentHeader, encode_segment, record_headers

Record = tuple[bytes, list[tuple[str, str | bytes | None]]]

# Events of one request that share a partition: a quarter of a batch of 100.
_SEGMENT_EVENTS = 25
_PROJECTS = 64
_COUNTED = 8  # Faust gets a backlog so many times smaller, to take about as long
_DRAIN_SECONDS = 300.0
_POLL_SECONDS = 0.1


def measure(run: Run) -> list[Figure]:
    """CPU an event of the workers, and events a second."""
    ours = Ours(run.brokers, run.directory / f"drain-{run.seed()}", 1, flush_age_seconds=1)
    counting = Naive(run.brokers, run.directory / f"counting-{run.seed()}")
    try:
        ours.start_worker()
        counting.start_worker("benchmarks.baselines.counting", "tally")
        return _compare(run, ours, counting)
    finally:
        ours.processes.stop()
        counting.processes.stop()


def _compare(run: Run, ours: Ours, counting: Naive) -> list[Figure]:
    form = run.form
    figures: list[Figure] = []
    for size in (100, 500) if form.is_long else (100,):
        rounds = []
        for number in range(form.rounds + 1):
            share = 1 if number else 4  # the first warms both up
            pair = (
                _ours(run, ours, "narrow", form.drained // share, size),
                _counting(run, counting, form.drained // share // _COUNTED),
            )
            if number:
                rounds.append(pair)
        workload = f"narrow, {size} a record"
        figures += [
            costs("B4", workload, rounds, "worker", 20),
            rates("B4", workload, rounds, 20),
            in_r("B4", workload, [sample for sample, _ in rounds], ("worker",), run.r, 8),
        ]
    web = [_ours(run, ours, "web", form.drained // 2, 100) for _ in range(form.rounds if form.is_long else 2)]
    figures.append(in_r("B4", "web, 100 a record", web[1:], ("worker",), run.r, 25))
    peak = peak_bytes(ours.processes.pids()["worker"]) / 1024**2
    figures.append(below("B4", f"all {ours.accepted:,} events", "worker, MB at most", [peak], 500))
    if (rows := ours.stored()) != ours.accepted:
        raise RunVoid(f"{ours.accepted} events in the backlog, {rows} rows in the lake")
    return figures


def _ours(run: Run, ours: Ours, shape: Shape, events: int, size: int) -> Sample:
    records = list(_records(run.seed(), shape, events, size))
    ours.accepted += events
    return _drain(run, ours, records, events, lambda: ours.committed() >= ours.accepted)


def _counting(run: Run, counting: Naive, events: int) -> Sample:
    workload = Workload(run.seed(), "narrow")
    records: list[Record] = [(workload.event(), []) for _ in range(events)]
    counting.accepted += events
    return _drain(run, counting, records, events, lambda: counting.tallied() >= counting.accepted)


def _drain(run: Run, stack: Ours | Naive, records: list[Record], events: int, is_done: Callable[[], bool]) -> Sample:
    with stack.processes.frozen("worker"):
        _produce(run.brokers, stack.topic, records)
    run.note_yardstick()
    started = time.perf_counter()
    meter = CpuMeter({"worker": stack.processes.pids()["worker"], "broker": run.broker_pid})
    while not is_done():
        if time.perf_counter() - started > _DRAIN_SECONDS:
            raise RunVoid("the backlog was not drained")
        time.sleep(_POLL_SECONDS)
    return Sample(events, time.perf_counter() - started, meter.read())


def _records(seed: int, shape: Shape, events: int, size: int) -> Iterator[Record]:
    """Records as the door writes them: several segments, each of one request of one project."""
    workload = Workload(seed, shape)
    lines = iter(workload.event, b"")
    received = time.time_ns() // 1_000_000
    for number in range(events // size):
        segments = []
        for part in range(0, size, _SEGMENT_EVENTS):
            project = 1 + (number * 7 + part) % _PROJECTS
            header = SegmentHeader(_SEGMENT_EVENTS, project, received, f"{number:012d}", "api")
            segments.append(encode_segment(header, list(islice(lines, _SEGMENT_EVENTS))))
        yield b"".join(segments), [(name, value) for name, value in record_headers(size, "bench")]


def _produce(brokers: str, topic: str, records: list[Record]) -> None:
    producer = Producer(
        {"bootstrap.servers": brokers, "compression.type": "zstd", "compression.level": 1, "linger.ms": 20}
    )
    for number, (value, headers) in enumerate(records):
        while True:
            try:
                producer.produce(topic, value, partition=number % PARTITIONS, headers=headers or None)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    if producer.flush(60):
        raise RunVoid("the backlog could not be written")
