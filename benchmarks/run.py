"""One run of the benchmarks: its length, its broker, its yardstick, and the two doors side by side."""

import contextlib
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.client import Load
from benchmarks.figures import Rounds, Sample
from benchmarks.meter import CpuMeter, yardstick
from benchmarks.stacks import Client, Naive, Ours, RunVoid, wait_until

_DRAIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Form:
    """How long a run is. The short one answers whether something broke, the long one how fast it is."""

    rounds: int
    seconds: float  # of each round
    warm_seconds: float  # of load, before anything is timed: a young JVM costs 2.5-5x
    projects: int
    drained: int  # events of a backlog
    probes: int  # of freshness, at each load
    is_long: bool


SHORT = Form(3, 1.5, 5, 8, 250_000, 6, False)
LONG = Form(5, 10, 40, 64, 3_000_000, 60, True)


@dataclass(slots=True)
class Run:
    """What all benchmarks of a run share."""

    brokers: str
    broker_pid: int
    directory: Path
    form: Form
    yardsticks: list[float] = field(default_factory=list)
    _seeds: Iterator[int] = field(default_factory=lambda: itertools.count(int(time.time()) & 0xFFFFFF))

    def seed(self) -> int:
        """Another one for each load, since event ids come from it."""
        return next(self._seeds)

    @property
    def r(self) -> float:
        """The yardstick, in CPU microseconds."""
        return statistics.median(self.yardsticks)

    def note_yardstick(self) -> None:
        self.yardsticks.append(yardstick())


class Pair:
    """Ours and the naive pipeline, both up; one of them is under load at a time."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.ours = Ours(run.brokers, run.directory / f"ours-{run.seed()}", run.form.projects)
        self.naive = Naive(run.brokers, run.directory / f"naive-{run.seed()}")

    def start_doors(self) -> None:
        self.ours.start_api()
        self.naive.start_api()

    def start_workers(self) -> None:
        """Also verifies all that the doors took until now, since it is drained first."""
        self.ours.start_worker()
        self.ours.start_maintenance()
        self.naive.start_worker()
        self.verify()

    def load(self, stack: Ours | Naive, batch: int, seconds: float, **options: Any) -> Load:
        """A load for one of the two, with the options of both."""
        return Load(
            stack.port,
            stack.batch_path if batch else stack.single_path,
            list(stack.keys),
            seconds=seconds,
            seed=self.run.seed(),
            batch=batch,
            **options,
        )

    def measure(self, stack: Ours | Naive, load: Load) -> Sample:
        """One load, its CPU by process, and what it was told is in the log."""
        client = Client(load)
        pids = stack.processes.pids() | {"broker": self.run.broker_pid}
        self.run.note_yardstick()
        meter = CpuMeter(pids)
        client.start()
        report = client.finish()
        cpu = meter.read() | {"client": report.cpu_seconds}
        stack.accepted += report.events
        events = report.events or report.requests
        return Sample(events, report.seconds, cpu, report.latency)

    def poll(self, stack: Ours | Naive, seconds: float, connections: int, requests: int) -> Sample:
        """One load of GETs of the current figures."""
        load = Load(
            stack.port, stack.poll_path, list(stack.keys), connections, seconds, 0, method="GET", requests=requests
        )
        return self.measure(stack, load)

    def rounds(self, batch: int, ours: dict[str, Any], naive: dict[str, Any]) -> Rounds:
        """The interleaved rounds of one load, after one of each that is not counted."""
        seconds = self.run.form.seconds
        rounds: Rounds = []
        for number in range(self.run.form.rounds + 1):
            length = seconds if number else seconds / 3
            pair = (
                self.measure(self.ours, self.load(self.ours, batch, length, **ours)),
                self.measure(self.naive, self.load(self.naive, batch, length, **naive)),
            )
            if number:
                rounds.append(pair)
        return rounds

    def verify(self) -> None:
        """Zero loss: what was accepted is stored, once, in both."""
        ours, naive = self.ours, self.naive
        wait_until(lambda: ours.committed() >= ours.accepted, _DRAIN_SECONDS, "the lake")
        if (rows := ours.stored()) != ours.accepted:
            raise RunVoid(f"ours accepted {ours.accepted} and stored {rows}")
        if (records := naive.logged()) != naive.accepted:
            raise RunVoid(f"naive accepted {naive.accepted} and logged {records}")
        wait_until(lambda: naive.stored() >= naive.accepted, _DRAIN_SECONDS, "the naive worker")

    def stop(self) -> None:
        self.ours.processes.stop()
        self.naive.processes.stop()


@contextlib.contextmanager
def pair(run: Run) -> Iterator[Pair]:
    """Both stacks with their doors open."""
    both = Pair(run)
    try:
        both.start_doors()
        yield both
    finally:
        both.stop()
