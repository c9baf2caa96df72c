"""Single events as rows of chosen columns, for lists and downloads."""

from dataclasses import dataclass
from typing import Any

from schemas.selection import Selection

MAX_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class TableQuestion:
    """The newest events of a selection; `columns` are fields or properties by the names that filters know.

    `timestamp` is the event time in unix ms, everything else text.
    """

    selection: Selection
    columns: tuple[str, ...]
    limit: int


@dataclass(frozen=True, slots=True)
class TableAnswer:
    """Newest first; a cell is None where an event has no such field."""

    rows: tuple[tuple[Any, ...], ...]
    version: int
