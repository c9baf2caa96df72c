"""Small tables as text."""

import csv
import io
import json
from typing import Any

import pytest

from api.analytics.tables import TextFormat, write_table

ROWS: list[dict[str, Any]] = [{"a": 1, "b": 'x,"y"\n'}, {"b": "=1+1", "c": "left out"}, {"a": 2.5, "b": "ä"}]


def written(form: TextFormat, rows: list[dict[str, Any]] = ROWS) -> str:
    return b"".join(write_table(("a", "b"), rows, form)).decode()


def test_csv_is_read_back_and_holds_no_formula() -> None:
    assert list(csv.reader(io.StringIO(written("csv"), newline=""))) == [
        ["a", "b"],
        ["1", 'x,"y"\n'],
        ["", "'=1+1"],
        ["2.5", "ä"],
    ]


def test_json_is_one_array_and_ndjson_a_line_each() -> None:
    expected = [{"a": 1, "b": 'x,"y"\n'}, {"a": None, "b": "=1+1"}, {"a": 2.5, "b": "ä"}]
    assert json.loads(written("json")) == expected
    assert [json.loads(line) for line in written("ndjson").splitlines()] == expected


@pytest.mark.parametrize(("form", "text"), [("csv", "a,b\r\n"), ("json", "[]"), ("ndjson", "")])
def test_no_rows(form: TextFormat, text: str) -> None:
    assert written(form, []) == text
