"""`streamgauge tail` over what others wrote."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.cli.output import Failure
from api.cli.tail import refused
from api.ingest.refusals import Refusals
from schemas.deadletters import DeadLetter
from storage.lake.commit import FencedTable, Span
from storage.lake.deadletters import dead_letters_table
from storage.lake.tables import create_tables
from storage.settings import StorageSettings
from tests.factories import CHAIN


def _settings(tmp_path: Path) -> StorageSettings:
    settings = StorageSettings(data_dir=tmp_path)
    settings.directory.create()
    create_tables(settings.directory.lake)
    return settings


def _start(lines: Iterator[dict[str, Any]], refusals: Refusals) -> None:
    """Make sure that the tail follows before anything is written."""
    refusals.note(1, "bad_request", "first")
    refusals.close()
    assert next(lines)["message"] == "first"


def test_refusals_and_dead_letters_of_one_project(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    refusals = Refusals(settings.directory.logs)
    lines = refused(settings, project=1, first=True)
    assert next(lines) == {}
    refusals.note(2, "bad_request", "another project")
    refusals.note(1, "payload_too_large", "Event too large", 4)
    refusals.close()
    line = next(lines)
    assert (line["reason"], line["index"]) == ("payload_too_large", 4)
    table = FencedTable(settings.directory.lake, "dead_letters", CHAIN)
    letter = DeadLetter(0, 9, 1, "malformed", b"{secret", 1_771_800_000_000, "Malformed JSON", project=1)
    assert table.append(dead_letters_table([letter]), {0: Span(None, 10)}, {}, "test") is None
    line = next(lines)
    assert line == {
        "at": "2026-02-22T22:40:00.000Z",
        "project": 1,
        "index": 1,
        "reason": "malformed",
        "message": "Malformed JSON",
        "partition": 0,
        "offset": 9,
    }
    assert "secret" not in json.dumps(line)
    lines.close()  # type: ignore[attr-defined]  # a generator, whose engine must be closed


def test_data_directory_without_a_lake(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no lake in .*run `streamgauge up` first"):
        next(refused(StorageSettings(data_dir=tmp_path), None))
