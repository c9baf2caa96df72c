"""`streamgauge sql`: one SELECT over a pinned version of the lake."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer

from api.cli.options import DataDir, load
from api.cli.output import Failure, note, say_table
from storage.lake.place import place_at
from storage.query.analyst import Answer, ask
from storage.settings import StorageSettings

# A screenful or two; whoever wants all of it wants a file.
TABLE_ROWS = 100
Form = Literal["table", "csv", "json", "parquet", "arrow"]


def sql(
    statement: Annotated[
        str, typer.Argument(help="One SELECT over events, rollups, sessions, dead_letters, lake_version.")
    ],
    form: Annotated[Form, typer.Option("--format", help="How to show the answer.")] = "table",
    output: Annotated[Path | None, typer.Option(help="A file for the answer instead of the terminal.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Ask the newest version of the lake. Nothing but its files can be read, and nothing written."""
    lake = place_at(load(StorageSettings, data_dir).lake_place)
    if output is None and form in ("parquet", "arrow") and sys.stdout.isatty():
        raise Failure(f"{form} is not for a terminal: name a file with --output, or pipe it")
    if output is not None and form == "table":
        raise Failure("a table is for the terminal: choose csv, json, parquet or arrow with --format for a file")
    with ask(lake, statement) as answer:
        if form == "table":
            _show(answer)
            return
        try:
            with _sink(output) as sink:
                answer.write(form, sink)
                sink.flush()
        except BrokenPipeError:
            # Whoever read it has enough (`| head`); keep the interpreter from flushing into the same pipe at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show(answer: Answer) -> None:
    rows = answer.first(TABLE_ROWS + 1)
    say_table(answer.columns, rows[:TABLE_ROWS])
    if len(rows) > TABLE_ROWS:
        note(f"the first {TABLE_ROWS} rows: --format csv gives all of them")


@contextmanager
def _sink(output: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        return
    aside = output.with_name(f"{output.name}.part")
    try:
        with aside.open("wb") as file:
            yield file
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)
