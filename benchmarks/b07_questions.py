"""B7: questions over ten million events, beside ClickHouse on a table of its own and plain DuckDB on the same files."""

import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks.figures import Aim, Figure, Spread
from benchmarks.history import build, flush
from benchmarks.questions import Asked, Language, ad_hoc, dashboards
from benchmarks.run import Form
from benchmarks.stacks import RunVoid
from storage.query.engine import EnginePolicy, QueryEngine
from storage.query.lake import Lake
from storage.query.partials import Partials

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
    with _ours(few) as small, _ours(many) as ours, _clickhouse(directory / "chdb", many) as chdb:
        with _duckdb(many) as plain:
            others = {"chdb": chdb, "DuckDB": plain}
            charts = _timed(dashboards(), {"ours": ours} | others, form.rounds)
            searches = _timed(ad_hoc(), {"ours": ours} | others, form.rounds)
        before = _timed(dashboards(), {"ours": small}, form.rounds)["ours"]
    middle = _millis(charts["ours"])
    grown = Spread.of([now / then for then, now in zip(before, charts["ours"], strict=True)])
    return [
        Figure("B7", "12 of dashboards, 10 M events", "ms", middle, aim=Aim("<= 5 ms", middle.median <= 5)),
        Figure("B7", "12 of dashboards", "10 M/1 M events", grown, aim=Aim("<= 1.5", grown.median <= 1.5)),
        _compared("12 of dashboards, chdb", charts["ours"], charts["chdb"], 1),
        _compared("12 of dashboards, DuckDB", charts["ours"], charts["DuckDB"], None),
        _compared("8 ad hoc, 10 M events, chdb", searches["ours"], searches["chdb"], 0.5),
        _compared("8 ad hoc, 10 M events, DuckDB", searches["ours"], searches["DuckDB"], None),
    ]


def _timed(asked: Sequence[Asked], engines: Mapping[str, Engine], rounds: int) -> dict[str, list[float]]:
    """Median seconds of each question by engine, asked in turn after one round that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in engines}
    for question in asked:
        seconds = [_asked(question, engines) for _ in range(rounds + 1)][1:]
        for name, times in found.items():
            times.append(statistics.median(one[name] for one in seconds))
    return found


def _asked(question: Asked, engines: Mapping[str, Engine]) -> dict[str, float]:
    answers = {name: engine(question) for name, engine in engines.items()}
    ours = answers["ours"][1]
    for name, (_, number) in answers.items():
        if not math.isclose(ours, number, rel_tol=question.tolerance):
            raise RunVoid(f"{question.name}: ours {ours}, {name} {number}")
    return {name: seconds for name, (seconds, _) in answers.items()}


def _compared(workload: str, ours: Sequence[float], other: Sequence[float], least: float | None) -> Figure:
    ratios = [theirs / mine for mine, theirs in zip(ours, other, strict=True)]
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    aim = None if least is None else Aim(f">= {least:g}x", mean >= least)
    spread = Spread(mean, min(ratios), max(ratios))
    return Figure("B7", workload, "ms", _millis(ours), _millis(other), spread, aim)


def _millis(seconds: Sequence[float]) -> Spread:
    return Spread.of([1e3 * one for one in seconds])


@contextmanager
def _ours(place: Path) -> Iterator[Engine]:
    """The query engine after a commit, so that no answer is known; what is over was asked before."""
    lake, kept = Lake(place), Partials()
    seeds = itertools.count()

    def ask(question: Asked) -> Answer:
        if question.is_dashboard:
            flush(place, next(seeds))
            lake.reader("rollups").version()
            lake.reader("events").version()
        started = time.perf_counter()
        number = engine.submit(lambda cursor: question.ask(cursor, lake, kept)).result()
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
            f"CREATE VIEW events AS FROM read_parquet('{place}/events/date=*/*.parquet', hive_partitioning = true)"
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
