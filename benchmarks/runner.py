"""`python -m benchmarks.runner [--long] [--only b01,b04] [--json FILE]`: everything beside its baseline."""

import argparse
import dataclasses
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks import b01_single, b02_batch, b04_drain, b05_end_to_end, b06_freshness, b07_questions, b08_polls
from benchmarks.figures import Figure
from benchmarks.meter import machine
from benchmarks.report import page, table
from benchmarks.run import LONG, SHORT, Form, Run, pair
from benchmarks.stacks import broker
from benchmarks.warmup import warm

_DOORS = {"b01": b01_single.measure, "b02": b02_batch.measure, "b08": b08_polls.measure}
_WHOLE = {"b05": b05_end_to_end.measure, "b06": b06_freshness.measure}
BENCHES = (*_DOORS, "b04", "b07", *_WHOLE)
_PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main() -> None:
    """Run, print, and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runner", description=__doc__)
    parser.add_argument("--long", action="store_true", help="longer rounds, more of them")
    parser.add_argument("--only", default=",".join(BENCHES), help="comma-separated, such as b01,b04")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := sorted(set(chosen) - set(BENCHES)):
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    form = LONG if options.long else SHORT
    started = time.perf_counter()
    figures, yardstick = run_benches(form, chosen)
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "form": "long" if form.is_long else "short",
        "rounds": f"{form.rounds} of {form.seconds:g} s, after {form.warm_seconds:g} s of warming",
        "R": f"{yardstick:.3f} us",
        "load average at the end": f"{os.getloadavg()[0]:.1f}",
        "took": f"{time.perf_counter() - started:.0f} s",
    }
    Console(width=200).print(table(figures))
    for name, value in facts.items():
        print(f"{name}: {value}")
    if options.json is not None:
        found = {"facts": facts, "machine": machine(), "figures": [dataclasses.asdict(figure) for figure in figures]}
        options.json.write_text(json.dumps(found, indent=1))
    if set(chosen) == set(BENCHES):
        _PAGE.write_text(page(figures, machine(), facts))


def run_benches(form: Form, chosen: list[str]) -> tuple[list[Figure], float]:
    """The figures of the chosen benchmarks, and R in us."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="streamgauge-bench-") as place, broker(Path(place) / "kafka") as server:
        assert server.pid is not None
        run = Run(server.bootstrap_servers, server.pid, Path(place), form)
        run.note_yardstick()
        if set(chosen) & (_DOORS.keys() | _WHOLE.keys()):
            with pair(run) as both:
                warm(both)
                figures += [figure for name in _DOORS if name in chosen for figure in _DOORS[name](both)]
                both.start_workers()
                figures += [figure for name in _WHOLE if name in chosen for figure in _WHOLE[name](both)]
        if "b04" in chosen:
            figures += b04_drain.measure(run)
        if "b07" in chosen:
            figures += b07_questions.measure(run.directory, form)
        return sorted(figures, key=lambda figure: figure.bench), run.r


if __name__ == "__main__":
    main()
