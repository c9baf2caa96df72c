"""B7: questions over ten million events, beside ClickHouse on a table of its own and plain DuckDB on the same files."""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks.figures import Aim, Figure, Spread
from benchmarks.history import build
from benchmarks.questions import Asked, Language, ad_hoc, dashboards
from benchmarks.run import Form
from benchmarks.stacks import RunVoid
from storage.query.engine import EnginePolicy, QueryEngine
from storage.query.lake import Lake

EVENTS: Final = 10_000_000
_FEW: Final = EVENTS // 10
_THREADS: Final = os.cpu_count() or 1
_PACKAGES: Final = Path(sys.prefix) / "clickhouse"
Answer = tuple[float, float]  # seconds, and the number to compare
Engine = Callable[[Asked], Answer]


def measure(directory: Path, form: Form) -> list[Figure]:
    """Medians in ms over the questions, and the geometric mean of the ratios; what differs in its answer is void."""
    few, many = directory / "few", directory / "many"
    for place, events in ((few, _FEW), (many, EVENTS)):
        place.mkdir()
        build(place, events)
    figures = []
    with _ours(few) as small, _ours(many) as ours, _clickhouse(directory / "chdb", many) as chdb:
        with _duckdb(many) as plain:
            for kind, asked, least in (("12 of dashboards", dashboards(), 1.0), ("8 ad hoc", ad_hoc(), 0.5)):
                named = f"{kind}, {EVENTS // 1_000_000} M events"
                for name, other, held in (("chdb", chdb, least), ("DuckDB", plain, None)):
                    figures.append(_compared(named, name, asked, ours, other, form.rounds, held))
        first = _medians(dashboards(), small, form.rounds)
        second = _medians(dashboards(), ours, form.rounds)
    middle = statistics.median(second)
    spread = Spread(middle * 1e3, min(second) * 1e3, max(second) * 1e3)
    quick = Aim("<= 5 ms", spread.median <= 5)
    grown = [b / a for a, b in zip(first, second, strict=True)]
    figures.append(Figure("B7", "12 of dashboards, rollups", "ms", spread, aim=quick))
    size = Aim("<= 1.5", statistics.median(grown) <= 1.5)
    figures.append(Figure("B7", "12 of dashboards, rollups", "time at 10 M / at 1 M", Spread.of(grown), aim=size))
    return figures


def _compared(
    workload: str, name: str, asked: Sequence[Asked], ours: Engine, other: Engine, rounds: int, least: float | None
) -> Figure:
    """Asked in turn; the baseline's number is held against ours."""
    mine, theirs = [], []
    for question in asked:
        pairs = [_pair(question, ours, other) for _ in range(rounds + 1)][1:]
        mine.append(statistics.median(pair[0] for pair in pairs))
        theirs.append(statistics.median(pair[1] for pair in pairs))
    ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
    middle = math.exp(statistics.fmean(map(math.log, ratios)))
    aim = None if least is None else Aim(f">= {least:g}x", middle >= least)
    return Figure(
        "B7",
        f"{workload}, {name}",
        "ms",
        _millis(mine),
        _millis(theirs),
        Spread(middle, min(ratios), max(ratios)),
        aim,
        notes={question.name: ratio for question, ratio in zip(asked, ratios, strict=True)},
    )


def _pair(question: Asked, ours: Engine, other: Engine) -> tuple[float, float]:
    (seconds, number), (their_seconds, their_number) = ours(question), other(question)
    if not math.isclose(number, their_number, rel_tol=question.tolerance):
        raise RunVoid(f"{question.name}: ours {number}, the baseline {their_number}")
    return seconds, their_seconds


def _medians(asked: Sequence[Asked], engine: Engine, rounds: int) -> list[float]:
    return [statistics.median([engine(question)[0] for _ in range(rounds + 1)][1:]) for question in asked]


def _millis(seconds: Sequence[float]) -> Spread:
    return Spread.of([1e3 * one for one in seconds])


@contextmanager
def _ours(place: Path) -> Iterator[Engine]:
    """The query engine without its caches of answers; a question is asked as the API asks it."""
    lake = Lake(place)

    def ask(question: Asked) -> Answer:
        started = time.perf_counter()
        number = engine.submit(lambda cursor: question.ask(cursor, lake)).result()
        return time.perf_counter() - started, number

    with QueryEngine(place, EnginePolicy(threads=_THREADS)) as engine:
        yield ask


@contextmanager
def _duckdb(place: Path) -> Iterator[Engine]:
    """What an analyst would write, on the same sorted files."""

    def ask(question: Asked) -> Answer:
        started = time.perf_counter()
        rows = connection.execute(question.sql["duckdb"]).fetchall()
        return time.perf_counter() - started, float(sum(row[-1] for row in rows))

    with duckdb.connect(":memory:", config={"threads": _THREADS}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"CREATE VIEW events AS FROM read_parquet('{place}/events/*/*.parquet', hive_partitioning = true)"
        )
        yield ask


@contextmanager
def _clickhouse(directory: Path, lake: Path) -> Iterator[Engine]:
    language: Language = "clickhouse"
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.baselines.clickhouse", str(directory), str(lake)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(_PACKAGES)},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    lines, answers = child.stdin, child.stdout

    def heard() -> dict[str, Any]:
        if not (line := answers.readline()):
            raise RunVoid("chdb ended: is it installed? `make bench` does it")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(question: Asked) -> Answer:
        lines.write(json.dumps(question.sql[language]) + "\n")
        lines.flush()
        answer = heard()
        return answer["seconds"], answer["total"]

    try:
        heard()
        yield ask
    finally:
        lines.close()
        child.wait(30)
        answers.close()
