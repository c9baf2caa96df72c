"""Erasure of one person on a real lake: rows, kept versions, dead letters and rollups, beside writers and merges."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from schemas.deadletters import DeadLetter
from storage.errors import Unavailable
from storage.lake.audit import audit
from storage.lake.erased import KEPT_DAYS, Erased, erased_of
from storage.lake.tables import TableName, table_uri
from storage.maintenance import erasure
from storage.maintenance.files import live_files
from storage.maintenance.maintainer import Maintainer
from storage.maintenance.manual import restore
from storage.maintenance.merging import Resources
from storage.maintenance.policy import MergePolicy, RetentionPolicy
from storage.maintenance.swap import SwapRefused, commit, merge, rewrite
from tests.storage.lakes import NOON, Writer, arrow, days, event_row, make_lake

NOW = datetime(2026, 4, 1, tzinfo=UTC)
PERSON = "person-3"  # every seventh offset
AT = int(NOON.timestamp() * 1000)


def _table(lake: Path, name: TableName = "events") -> DeltaTable:
    return DeltaTable(table_uri(lake, name))


def _maintainer(lake: Path) -> Maintainer:
    run = lake.parent / "run"
    run.mkdir(exist_ok=True)
    return Maintainer(lake, run, MergePolicy(), RetentionPolicy(dead_letter_days=100_000), Resources())


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Three days, two flushes each; the middle day was sorted."""
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    for at in days(3):
        for _ in range(2):
            writer.append(writer.rows(20, at))
    table = _table(lake)
    merge(table, "events", [f for f in live_files(table) if f.date.day == 2], NOW, Resources(), is_final=True)
    return lake


def _people(lake: Path) -> set[str]:
    return set(arrow(lake, "events")["distinct_id"].to_pylist())


def _bytes_of(lake: Path) -> Iterator[pa.Table]:
    """Every Parquet file below the lake, whether a version names it or not."""
    for path in lake.rglob("*.parquet"):
        if "_delta_log" not in path.parts:
            with pq.ParquetFile(path) as file:
                yield file.read()


def test_nothing_of_the_person_is_left_in_rows_rollups_or_files(lake: Path) -> None:
    before = arrow(lake, "events").num_rows
    hers = sum(person == PERSON for person in arrow(lake, "events")["distinct_id"].to_pylist())

    receipt = _maintainer(lake).erase(1, PERSON, NOW)

    assert _people(lake) == {f"person-{n}" for n in range(7)} - {PERSON}
    assert arrow(lake, "events").num_rows == before - hers
    events = receipt.tables[0]
    assert (events.rows_before, events.rows_after, events.version) == (hers, 0, _table(lake).version())
    assert (events.files, receipt.erased_at, len(receipt.rebuilt)) == (5, NOW, 3)
    assert not any(PERSON in table.column("distinct_id").to_pylist() for table in _bytes_of(lake / "events"))
    assert audit(lake, "scan").failures == []


def test_files_that_the_person_is_not_in_are_left_as_they_are(lake: Path) -> None:
    writer = Writer(lake)
    writer.append([event_row(0, writer.next, event_id="alone", at=NOON)])  # person-1
    before = {file.path for file in live_files(_table(lake))}

    _maintainer(lake).erase(1, "person-1", NOW - timedelta(days=365))
    assert {file.path for file in live_files(_table(lake))} == before, "received later"
    _maintainer(lake).erase(2, "person-1", NOW)
    assert {file.path for file in live_files(_table(lake))} == before, "another project"
    sorted_before = [file.path for file in live_files(_table(lake)) if file.origin == "sorted"]
    _maintainer(lake).erase(1, PERSON, NOW)
    after = {file.path: file.origin for file in live_files(_table(lake))}
    assert [path for path in before if path in after] != []
    assert list(after.values()).count("sorted") == len(sorted_before), "a sorted date stays sorted"


def test_a_repeat_finds_nothing_and_says_so(lake: Path) -> None:
    _maintainer(lake).erase(1, PERSON, NOW)
    again = _maintainer(lake).erase(1, PERSON, NOW)
    assert [table.rows_before for table in again.tables] == [0, 0, 0]
    assert again.files_deleted == 0


def test_copies_that_only_kept_versions_name_go_too(lake: Path) -> None:
    table = _table(lake)
    merge(table, "events", live_files(table), NOW, Resources(), is_final=True)

    receipt = _maintainer(lake).erase(1, PERSON, NOW)

    assert receipt.files_deleted == 6 + 1 + 3, "what was flushed, the sorted day, and what the merge made of all"
    assert not any(PERSON in found.column("distinct_id").to_pylist() for found in _bytes_of(lake / "events"))


def test_half_written_files_are_left_to_their_writers(lake: Path) -> None:
    torn = lake / "events" / "date=2026-03-01" / "merged-torn.zstd.parquet"
    torn.write_bytes(b"PAR1")
    _maintainer(lake).erase(1, PERSON, NOW)
    assert torn.exists()


def test_rejected_lines_whose_person_can_be_told_go_and_are_counted(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    lines: list[tuple[bytes, int | None, bool]] = [
        (b'{"userId":"ann","event":5}', 1, True),
        (b'{"userId":"","anonymousId":"ann","event":5}', 1, True),
        (b'{"userId":"ann","projectId":1}', None, True),
        (b'{"userId":"ann","anonymousId":"bob"}', 2, False),
        (b'{"userId":"bob","anonymousId":"ann"}', 1, False),
        (b'{"userId":"ann","projectId":"x"}', None, False),
        (b'{"userId":"ann"', 1, False),
        (b"\xff\x00", 1, False),
        (b"[1]", 1, False),
    ]
    letters = [DeadLetter(0, n, 0, "invalid event", raw, AT, "", project) for n, (raw, project, _) in enumerate(lines)]
    letters += [DeadLetter(0, 20, 0, "unknown format", b"", AT, "", 1, "ann"), DeadLetter(0, 21, -1, "gap", b"{}", AT)]
    Writer(lake).append([], rejects=letters)

    receipt = _maintainer(lake).erase(1, "ann", NOW)

    left = arrow(lake, "dead_letters").sort_by("kafka_offset")["kafka_offset"].to_pylist()
    assert left == [n for n, (_, _, is_hers) in enumerate(lines) if not is_hers] + [21]
    assert receipt.tables[2].rows_before == 4
    assert audit(lake, "scan").failures == []


def test_a_merge_that_began_before_is_refused_and_leaves_no_copy(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = _table(lake)
    files = live_files(stale)

    def erase_first(*arguments: Any) -> None:
        monkeypatch.undo()
        _maintainer(lake).erase(1, PERSON, NOW)
        commit(*arguments)

    monkeypatch.setattr("storage.maintenance.swap.commit", erase_first)
    with pytest.raises(SwapRefused):
        merge(stale, "events", files, NOW, Resources())
    assert not any(PERSON in found.column("distinct_id").to_pylist() for found in _bytes_of(lake / "events"))
    assert audit(lake, "scan").failures == []


def test_beside_a_writer_and_a_maintainer_every_row_is_accounted_for(lake: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        writer = Writer(lake)
        while not stop.is_set():
            writer.append(writer.rows(7, datetime(2026, 5, 1, tzinfo=UTC)))
            stop.wait(0.05)  # a hundred times as often as a worker does

    def tidy() -> None:
        while not stop.is_set():
            table = _table(lake)
            with suppress(SwapRefused, Unavailable):
                merge(table, "events", live_files(table), NOW, Resources())
            stop.wait(0.05)

    threads = [threading.Thread(target=work) for work in (write, tidy)]
    for thread in threads:
        thread.start()
    try:
        receipt = erasure.erase(lake, 1, PERSON, NOW, Resources(), lambda _: None)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    early = arrow(lake, "events").filter(pa.compute.field("received_at") <= NOW)
    assert PERSON not in early["distinct_id"].to_pylist()
    assert receipt.tables[0].rows_before == 17
    _maintainer(lake).rebuild_due(NOW)
    assert audit(lake, "scan").failures == []


def test_who_is_kept_from_its_turn_says_that_it_must_be_repeated(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "_PAUSE_SECONDS", 0.0)

    def refused(*_: object, **__: object) -> None:
        raise SwapRefused("the test's")

    monkeypatch.setattr(erasure, "rewrite", refused)
    with pytest.raises(Unavailable, match="repeat the erasure"):
        erasure.erase(lake, 1, PERSON, NOW, Resources(), lambda _: None)
    monkeypatch.setattr(erasure, "rewrite", rewrite)
    assert _maintainer(lake).erase(1, PERSON, NOW).tables[0].rows_before == 17


def test_nobody_is_named_by_an_empty_id(lake: Path) -> None:
    with pytest.raises(ValueError, match="nobody's"):
        _maintainer(lake).erase(1, "", NOW)


def test_a_restore_forgets_no_erasure(lake: Path) -> None:
    run = lake.parent / "run"
    erased = len(_maintainer(lake).erase(1, PERSON, NOW).tables)
    writer = Writer(lake)
    writer.append(writer.rows(4))
    before = _table(lake).version()
    _maintainer(lake).erase(1, "somebody", NOW)
    assert erased == 3

    restore(lake, run, before, NOW)

    listed = erased_of(_table(lake))
    at = int(NOW.timestamp() * 1000)
    assert listed.covers(1, PERSON, at)
    assert listed.covers(1, "somebody", at)
    assert audit(lake, "scan").failures == []


def test_the_list_holds_no_ids_and_drops_who_no_log_holds(lake: Path) -> None:
    _maintainer(lake).erase(1, PERSON, NOW)
    assert PERSON not in str(_table(lake).metadata().configuration)
    _maintainer(lake).erase(1, "late", NOW + timedelta(days=KEPT_DAYS + 1))
    assert len(erased_of(_table(lake)).until) == 1


def test_the_list_covers_a_person_of_a_project_up_to_an_instant() -> None:
    erased = Erased().with_person(1, "ann", 100).with_person(2, "bob", 50)
    assert erased.newest == 100
    assert [erased.covers(1, "ann", at) for at in (99, 100, 101)] == [True, True, False]
    assert not erased.covers(2, "ann", 10)
    assert erased.merged(Erased().with_person(2, "bob", 70)).covers(2, "bob", 70)
    assert not Erased().covers(1, "ann", -5)


def test_a_whole_project_goes_and_stays_away(lake: Path) -> None:
    writer = Writer(lake)
    writer.append([event_row(0, writer.next + number, project=2) for number in range(3)])
    others = [row for row in arrow(lake, "events")["project_id"].to_pylist() if row != 1]

    receipt = _maintainer(lake).erase(1, None, NOW)

    assert arrow(lake, "events")["project_id"].to_pylist() == others
    assert set(arrow(lake, "rollups")["project_id"].to_pylist()) <= {2}
    assert receipt.tables[0].rows_before > 0
    assert not any(1 in table.column("project_id").to_pylist() for table in _bytes_of(lake / "events"))
    listed = erased_of(_table(lake))
    assert listed.covers(1, "anybody", int(NOW.timestamp() * 1000))
    assert listed.covers(1, "", int(NOW.timestamp() * 1000))
    assert not listed.covers(1, "anybody", int(NOW.timestamp() * 1000) + 1)
    assert not listed.covers(2, "anybody", int(NOW.timestamp() * 1000))
    assert audit(lake, "scan").failures == []


def test_a_project_forgets_what_is_too_old_and_keeps_the_rest(lake: Path) -> None:
    writer = Writer(lake)
    writer.append([event_row(0, writer.next + number, project=2) for number in range(3)])
    before = arrow(lake, "events")
    cut = NOON + timedelta(days=1) - timedelta(hours=12)
    old = pc.and_(pc.equal(before["project_id"], 1), pc.less(before["timestamp"], pa.scalar(cut)))
    expected = before.filter(pc.invert(old)).num_rows

    removed = _maintainer(lake).forget(1, cut, NOW)

    assert 0 < removed == before.num_rows - expected
    after = arrow(lake, "events")
    assert after.num_rows == expected
    assert after["project_id"].to_pylist().count(2) == 3
    assert audit(lake, "scan").failures == []
    rollups = arrow(lake, "rollups")
    is_old = pc.and_(pc.equal(rollups["project_id"], 1), pc.less(rollups["hour"], pa.scalar(cut)))
    assert rollups.filter(is_old).num_rows == 0 < rollups.num_rows
    assert _maintainer(lake).forget(1, cut, NOW) == 0
