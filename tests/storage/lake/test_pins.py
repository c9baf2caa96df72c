"""Pins: what vacuum leaves alone, and what goes all the same."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from schemas.figures import OverviewQuestion
from schemas.selection import Selection
from storage.errors import Conflict, Gone, LakeBroken, NotFound, Refused
from storage.lake.pins import make_pin, read_pins, remove_pin
from storage.lake.tables import table_uri
from storage.maintenance.maintainer import Maintainer
from storage.maintenance.merging import Resources
from storage.maintenance.policy import MergePolicy, RetentionPolicy
from storage.query.overview import answer_overview
from storage.query.pinned import as_of
from tests.storage.lake.test_publication import clean_log
from tests.storage.lakes import Writer, make_lake
from tests.storage.query.asking import asking, span_of

NOW = datetime(2026, 3, 2, tzinfo=UTC)
DOCUMENT = (Path(__file__).parents[3] / "docs" / "lake.md").read_text(encoding="utf-8")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Three flushes; vacuum waits for nothing."""
    place = make_lake(tmp_path)
    (tmp_path / "run").mkdir()
    DeltaTable(table_uri(place, "events")).alter.set_table_properties(
        {"delta.deletedFileRetentionDuration": "interval 0 seconds", "delta.checkpointInterval": "4"}
    )
    writer = Writer(place)
    for _ in range(3):
        writer.append(writer.rows(4))
    return place


def _maintainer(lake: Path) -> Maintainer:
    eager = MergePolicy(files_per_date=1, closed_after=timedelta(0), quiet=timedelta(0))
    keep = RetentionPolicy(dead_letter_days=100_000)
    return Maintainer(lake, lake.parent / "run", eager, keep, Resources())


def _merge(lake: Path) -> None:
    _maintainer(lake).merge_due(datetime.now(UTC))


def _version(lake: Path) -> int:
    return DeltaTable(table_uri(lake, "events")).version()


def _files(lake: Path) -> set[str]:
    folder = lake / "events"
    return {str(path.relative_to(folder)) for path in folder.glob("date=*/*.parquet")}


def _events_as_of(lake: Path, version: int) -> int:
    question = OverviewQuestion(Selection(1, span_of("2026-03-01", "2026-03-01")))
    with asking(lake) as ask:
        return ask(lambda cursor, known: answer_overview(cursor, as_of(known, version), question, {}).total.events)


def test_a_pinned_version_is_kept_and_answers_when_the_log_has_forgotten_it(lake: Path) -> None:
    pin = make_pin(lake, "report", None, NOW)
    assert read_pins(lake) == [pin]
    writer = Writer(lake)
    writer.append(writer.rows(5))
    _merge(lake)
    for _ in range(6):  # past the next checkpoint
        writer.append(writer.rows(1))
    _merge(lake)

    removed = _maintainer(lake).vacuum_all(datetime.now(UTC))
    clean_log(lake)

    assert removed > 0
    assert {file.path for file in pin.files} <= _files(lake)
    with pytest.raises(DeltaError):
        DeltaTable(table_uri(lake, "events"), version=pin.version)
    assert _events_as_of(lake, pin.version) == 12
    assert pin.missing(lake) == 0
    [example] = re.findall(r'^duckdb -c "(SET VARIABLE files.*?)"$', DOCUMENT, re.MULTILINE | re.DOTALL)
    with duckdb.connect(":memory:") as connection:
        statement = example.replace("data/lake", str(lake)).replace("NAME", "report")
        assert connection.execute(statement).fetchall() == [(12,)]


def test_what_is_unpinned_goes_with_the_next_vacuum(lake: Path) -> None:
    pin = make_pin(lake, "report", None, NOW)
    _merge(lake)
    assert _maintainer(lake).vacuum_all(datetime.now(UTC)) == 0

    remove_pin(lake, "report")

    assert _maintainer(lake).vacuum_all(datetime.now(UTC)) == len(pin.files)
    assert read_pins(lake) == []
    with pytest.raises(Gone, match="not kept any more"):
        _events_as_of(lake, pin.version)


def test_erasure_goes_before_a_pin(lake: Path) -> None:
    pin = make_pin(lake, "report", None, NOW)

    _maintainer(lake).erase(1, "person-3", datetime.now(UTC))

    assert pin.missing(lake) > 0
    with pytest.raises(Gone):
        _events_as_of(lake, pin.version)


def test_a_version_that_lost_a_file_is_not_pinned(lake: Path) -> None:
    version = _version(lake)
    _merge(lake)
    _maintainer(lake).vacuum_all(datetime.now(UTC))

    with pytest.raises(NotFound, match="3 of its files were deleted"):
        make_pin(lake, "late", version, NOW)
    assert read_pins(lake) == []


def test_a_pin_that_cannot_be_read_stops_the_vacuum(lake: Path) -> None:
    make_pin(lake, "report", None, NOW)
    _merge(lake)
    (lake / "pins" / "report.json").write_text("{")
    before = _files(lake)

    with pytest.raises(LakeBroken, match=r"report\.json cannot be read"):
        _maintainer(lake).vacuum_all(datetime.now(UTC))

    assert _files(lake) == before


def test_names_are_plain_and_taken_once(lake: Path) -> None:
    make_pin(lake, "a.b-c_1", 1, NOW)
    assert os.listdir(lake / "pins") == ["a.b-c_1.json"]
    with pytest.raises(Conflict, match="already"):
        make_pin(lake, "a.b-c_1", None, NOW)
    for name in ("", "../x", ".hidden", "a b", "x" * 65):
        with pytest.raises(Refused):
            make_pin(lake, name, None, NOW)
    with pytest.raises(NotFound, match="no version 99"):
        make_pin(lake, "b", 99, NOW)
    with pytest.raises(NotFound, match="no pin b"):
        remove_pin(lake, "b")
