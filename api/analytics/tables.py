"""Small tables as text: CSV, JSON, or a JSON object a line."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

TextFormat: TypeAlias = Literal["csv", "json", "ndjson"]

# A spreadsheet would take what begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(names: Sequence[str], rows: Iterable[Mapping[str, Any]], form: TextFormat) -> Iterator[bytes]:
    """The rows in pieces; CSV has a line of names, and nothing for null."""
    if form == "csv":
        yield _line(names)
        for row in rows:
            yield _line([_cell(row.get(name)) for name in names])
        return
    before, between, after = (b"[", b",", b"]") if form == "json" else (b"", b"", b"")
    end = b"\n" if form == "ndjson" else b""
    yield before
    for place, row in enumerate(rows):
        yield (between if place else b"") + msgspec.json.encode({name: row.get(name) for name in names}) + end
    yield after


def _cell(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return f"'{value}" if value.startswith(_FORMULA) else value


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()
