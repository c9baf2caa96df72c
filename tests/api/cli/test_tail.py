"""`streamgauge tail` over what others wrote."""

from pathlib import Path

import pytest

from api.cli.output import Failure
from api.cli.tail import RejectTail
from api.ingest.refusals import Refusals
from schemas.deadletters import DeadLetter
from storage.lake.commit import FencedTable, Span
from storage.lake.deadletters import dead_letters_table
from storage.lake.tables import create_tables
from storage.settings import DataDirectory
from tests.factories import CHAIN


def test_refusals_and_dead_letters_that_come(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path).create()
    create_tables(directory.lake)
    refusals = Refusals(directory.logs)
    refusals.note(1, "bad_request", "before")
    refusals.close()
    with RejectTail(directory, directory.lake) as tail:
        assert tail.fresh() == []
        refusals.note(1, "payload_too_large", "Event too large", 4)
        refusals.close()
        [line] = tail.fresh()
        assert (line["reason"], line["index"]) == ("payload_too_large", 4)
        table = FencedTable(directory.lake, "dead_letters", CHAIN)
        letter = DeadLetter(0, 9, 1, "malformed", b"{secret", 1_771_800_000_000, "Malformed JSON", project=1)
        assert table.append(dead_letters_table([letter]), {0: Span(None, 10)}, {}, "test") is None
        assert tail.fresh() == [
            {
                "at": "2026-02-22T22:40:00.000Z",
                "project": 1,
                "index": 1,
                "reason": "malformed",
                "message": "Malformed JSON",
                "partition": 0,
                "offset": 9,
            }
        ]


def test_data_directory_without_a_lake(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"no lake at .*: run `streamgauge up` first"):
        RejectTail(DataDirectory(tmp_path), tmp_path / "lake")
