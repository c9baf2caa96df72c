"""What a terminal shows: one line for a failure, JSON for programs, progress for people."""

import contextlib
import json
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Failure(Exception):
    """Something the user can act on; its message is the one line they see."""


def say(line: str) -> None:
    """One line of an answer."""
    print(line, flush=True)


def note(line: str) -> None:
    """One line beside the answer, on standard error."""
    print(line, file=sys.stderr, flush=True)


def announce(line: str) -> None:
    """As `say`, from a process that must go on when nobody reads any more: it neither waits nor fails."""
    with contextlib.suppress(OSError):
        out = sys.stdout.fileno()
        # Writable means room for a line, so a full pipe drops it instead of stopping the writer. Not buffered:
        # what is left in a buffer would fail at the very end.
        if select.select([], [out], [], 0)[1]:
            os.write(out, f"{line}\n".encode())


def complain(message: str) -> None:
    """The one line of a failed command, whatever line breaks the message holds."""
    note("streamgauge: " + " ".join(message.split()))


def say_json(value: Any) -> None:
    """An answer for programs."""
    say(json.dumps(value, ensure_ascii=False, indent=2))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """An answer for people; long cells fold on a terminal and stay whole in a pipe."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    width = None if sys.stdout.isatty() else 400
    Console(width=width, highlight=False).print(table)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows that work is going on, where a person watches."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """As `working`, for work that says how far it is: on a terminal in place, else a line each time."""
    if not sys.stderr.isatty():
        yield announce
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield status.update
