"""Figures as a table on the terminal and as a page of the documentation."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from benchmarks.figures import Figure, Spread

_COLUMNS = ("bench", "workload", "figure", "ours", "baseline", "ratio (min-max)", "aim", "CPU us/event, ours")

_ABOUT = """Made by `make bench` or `make bench-long`, never edited. Ours and the baseline run in turn, in one run,
on one Apache Kafka, each record flushed to disk before it is acknowledged. What was accepted is counted again in the
lake; a run that lost or doubled an event is void. Ratios travel between machines, rates do not. R is the CPU time to
decode one narrow event with msgspec, measured in the same run."""
_BASELINES = """The baseline of B1 to B3, B5 and B8 is the pipeline in `benchmarks/baselines/naive`. That of B4 is Faust
with one event a record, which only counts, while ours also deduplicates, sketches and commits a Delta table. B7 asks
about one of 64 projects: us (dashboards each time after another commit), chdb (ClickHouse) on a MergeTree table that it
made of the same files, DuckDB on the files. Answers are compared; ratios are the geometric mean of the questions'."""


def table(figures: Sequence[Figure]) -> Table:
    """For a terminal."""
    made = Table(*_COLUMNS)
    for figure in figures:
        made.add_row(*_cells(figure))
    return made


def page(figures: Sequence[Figure], machine: Mapping[str, str], facts: Mapping[str, str]) -> str:
    """docs/benchmarks.md, whole."""
    rows = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    rows += ["| " + " | ".join(cell.replace("|", "/") for cell in _cells(figure)) + " |" for figure in figures]
    described = [f"- {name}: {value}" for name, value in (*facts.items(), *machine.items())]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            _ABOUT,
            "",
            *rows,
            "",
            _BASELINES,
            "",
            "## The run",
            "",
            *described,
            "",
        ]
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    ratio = figure.ratio
    aim = "" if figure.aim is None else f"{figure.aim.text}: {'met' if figure.aim.is_met else 'missed'}"
    return (
        figure.bench,
        figure.workload,
        figure.metric,
        _number(figure.ours.median),
        _number(figure.baseline.median) if figure.baseline is not None else "",
        _ratio(ratio) if ratio is not None else "",
        aim,
        ", ".join(f"{name} {cost:.3g}" for name, cost in figure.cpu.items()),
    )


def _ratio(ratio: Spread) -> str:
    return f"{ratio.median:.3g} ({ratio.low:.3g}-{ratio.high:.3g})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
