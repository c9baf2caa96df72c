"""What a benchmark found: medians with their spread, ratios within rounds, and the aim."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and their extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one stack."""

    events: int
    seconds: float
    cpu: dict[str, float]  # seconds by process, the client's own included
    latency: dict[str, float] = field(default_factory=dict)  # ms

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    def microseconds(self, *names: str) -> float:
        """CPU an event of these processes, or of all."""
        return sum(self.cpu[name] for name in names or self.cpu) / self.events * 1e6


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure is held against: the ratio to the baseline, or the figure itself."""

    text: str
    is_met: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    bench: str
    workload: str
    metric: str
    ours: Spread
    baseline: Spread | None = None
    ratio: Spread | None = None
    aim: Aim | None = None
    cpu: dict[str, float] = field(default_factory=dict)  # us an event by process
    baseline_cpu: dict[str, float] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)


Rounds = list[tuple[Sample, Sample]]


def rates(bench: str, workload: str, rounds: Rounds, least: float) -> Figure:
    """Events a second of both, and the ratio that is aimed at."""
    return _compared(
        (bench, workload, "events/s"), rounds, lambda sample: sample.rate, lambda a, b: a / b, least, ">= {:g}x"
    )


def costs(bench: str, workload: str, rounds: Rounds, process: str, least: float) -> Figure:
    """CPU an event of one process of both, and how many times less ours takes."""
    name = f"{process} us/event"
    return _compared(
        (bench, workload, name),
        rounds,
        lambda sample: sample.microseconds(process),
        lambda a, b: b / a,
        least,
        ">= {:g}x less",
    )


def in_r(
    bench: str, workload: str, samples: Iterable[Sample], names: Sequence[str], yardstick: float, most: float | None
) -> Figure:
    """CPU an event of some processes of ours together, in R."""
    held = list(samples)
    spread = Spread.of([sample.microseconds(*names) / yardstick for sample in held])
    aim = Aim(f"<= {most:g} R", spread.median <= most) if most is not None else None
    return Figure(bench, workload, f"{'+'.join(names) or 'all'} R/event", spread, aim=aim, cpu=by_process(held))


def below(bench: str, workload: str, metric: str, values: Sequence[float], most: float) -> Figure:
    """A figure that must stay below a limit."""
    spread = Spread.of(values)
    return Figure(bench, workload, metric, spread, aim=Aim(f"<= {most:g}", spread.median <= most))


def by_process(samples: Sequence[Sample]) -> dict[str, float]:
    """The median CPU an event of each process."""
    return {name: statistics.median(sample.microseconds(name) for sample in samples) for name in samples[0].cpu}


def _compared(
    place: tuple[str, str, str],
    rounds: Rounds,
    value: Callable[[Sample], float],
    ratio: Callable[[float, float], float],
    least: float,
    text: str,
) -> Figure:
    ours, theirs = [ours for ours, _ in rounds], [theirs for _, theirs in rounds]
    ratios = Spread.of([ratio(value(a), value(b)) for a, b in rounds])
    latency = {f"{name} ms": statistics.median(s.latency[name] for s in ours) for name in ours[0].latency}
    return Figure(
        *place,
        ours=Spread.of([value(sample) for sample in ours]),
        baseline=Spread.of([value(sample) for sample in theirs]),
        ratio=ratios,
        aim=Aim(text.format(least), ratios.median >= least),
        cpu=by_process(ours),
        baseline_cpu=by_process(theirs),
        notes=latency,
    )
