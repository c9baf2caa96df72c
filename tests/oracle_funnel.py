"""Funnels in plain Python, to hold queries against."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from schemas.rows import Row

Test = Callable[[Row], bool]


@dataclass(frozen=True)
class Run:
    """When each step was taken, as far as somebody came."""

    times: tuple[int, ...]


def best_runs(units: Iterable[Sequence[Row]], steps: Sequence[Test], window_millis: int) -> list[Run]:
    """The deepest run of each unit's rows, the earliest of the deepest; units without a first step have none."""
    found = []
    for rows in units:
        in_time = sorted(rows, key=lambda row: (row.timestamp, row.kafka_partition, row.kafka_offset))
        runs = [_deepest(in_time, place, steps, window_millis) for place, row in enumerate(in_time) if steps[0](row)]
        if runs:
            found.append(Run(max(runs, key=len)))
    return found


def _deepest(rows: Sequence[Row], place: int, steps: Sequence[Test], window: int) -> tuple[int, ...]:
    """Every way through, not the greedy one."""
    first = rows[place].timestamp

    def walk(at: int, step: int) -> tuple[int, ...]:
        if step == len(steps):
            return ()
        best: tuple[int, ...] = ()
        for following in range(at + 1, len(rows)):
            row = rows[following]
            if row.timestamp - first <= window and steps[step](row):
                rest = (row.timestamp, *walk(following, step + 1))
                if len(rest) > len(best):
                    best = rest
        return best

    return (first, *walk(place, 1))
