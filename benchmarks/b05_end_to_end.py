"""B5: door, broker, worker, maintenance and client at once, until the last event is stored."""

import time
from collections.abc import Callable

from benchmarks.figures import Figure, Sample, in_r, rates
from benchmarks.meter import CpuMeter
from benchmarks.run import Pair
from benchmarks.stacks import Client, Naive, Ours, RunVoid

BATCH = 100
_DRAIN_SECONDS = 300.0
_POLL_SECONDS = 0.1


def measure(pair: Pair) -> list[Figure]:
    """Events a second from the first request to the last row, and CPU an event of all processes together."""
    form = pair.run.form
    seconds = form.seconds * 2
    rounds = []
    for number in range(form.rounds + 1):
        length = seconds if number else seconds / 3
        ours = _through(pair, pair.ours, length, int(length * 2500), pair.ours.committed)
        naive = _through(pair, pair.naive, length, int(length * 250) + 1, pair.naive.stored)
        if number:
            rounds.append((ours, naive))
    pair.verify()
    workload = f"batch of {BATCH}, all at once"
    return [
        rates("B5", workload, rounds, 10),
        in_r("B5", workload, [sample for sample, _ in rounds], (), pair.run.r, 50),
    ]


def _through(pair: Pair, stack: Ours | Naive, seconds: float, requests: int, stored: Callable[[], int]) -> Sample:
    client = Client(pair.load(stack, BATCH, seconds, connections=8, requests=requests))
    pair.run.note_yardstick()
    started = time.perf_counter()
    meter = CpuMeter(stack.processes.pids() | {"broker": pair.run.broker_pid})
    client.start()
    report = client.finish()
    stack.accepted += report.events
    while stored() < stack.accepted:
        if time.perf_counter() - started > _DRAIN_SECONDS:
            raise RunVoid(f"{stack.name}: {stack.accepted} accepted, {stored()} stored")
        time.sleep(_POLL_SECONDS)
    elapsed = time.perf_counter() - started
    return Sample(report.events, elapsed, meter.read() | {"client": report.cpu_seconds})
