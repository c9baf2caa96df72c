"""The audit: silent on a lake that adds up, beside its writers too, and it names what does not."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from deltalake import CommitProperties, DeltaTable, Transaction

from schemas.deadletters import DeadLetter
from storage.errors import LakeBroken
from storage.lake.audit import REJECTS_REMOVED, REMOVED, audit
from storage.lake.commit import Span
from storage.lake.tables import EVENTS, table_uri
from tests.storage.lakes import NOON, Writer, event_row, make_lake

WHEN = int(NOON.timestamp() * 1000)


def _letter(partition: int, offset: int, index: int = 0) -> DeadLetter:
    return DeadLetter(partition, offset, index, "gap" if index < 0 else "malformed", b"{", WHEN)


def _filled(root: Path) -> tuple[Path, Writer]:
    lake = make_lake(root)
    writer = Writer(lake)
    writer.append(writer.rows(5))
    writer.append(writer.rows(3), rejects=[_letter(0, 8), _letter(0, 9, -1)], duplicates=2)
    return lake, writer


def _failing(lake: Path) -> list[str]:
    return [check.name for check in audit(lake, "scan").checks if not check.is_ok]


def test_an_empty_lake_adds_up(tmp_path: Path) -> None:
    assert audit(make_lake(tmp_path), "scan").is_ok


def test_a_lake_with_rejects_gaps_and_duplicates_adds_up(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)

    result = audit(lake, "scan")

    assert result.failures == []
    assert "ok   lines of cluster/topic/0: 11 lines = 8 rows + 1 rejects + 2 duplicates + 0 erased" in result.lines[0]


def test_bots_are_rows_that_rollups_do_not_count(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    writer.append([event_row(0, 0, bot=True), event_row(0, 1)])

    assert audit(lake).is_ok


def test_totals_survive_checkpoints_that_replace_entries(tmp_path: Path) -> None:
    lake, writer = _filled(tmp_path)
    DeltaTable(table_uri(lake, "events")).create_checkpoint()
    for entry in sorted((lake / "events" / "_delta_log").glob("*.json"))[:-1]:
        entry.unlink()
    writer.append(writer.rows(2))

    assert audit(lake, "scan").failures == []


def test_lines_that_went_nowhere_are_named(tmp_path: Path) -> None:
    lake, writer = _filled(tmp_path)
    held = writer.next
    app = writer.events.app(0)
    assert writer.events.append(EVENTS.empty_table(), {0: Span(held, held + 1)}, {f"{app}#lines": 99}, "test") is None

    assert "lines of cluster/topic/0" in _failing(lake)


def test_doubled_rows_stop_maintenance(tmp_path: Path) -> None:
    lake, writer = _filled(tmp_path)
    handles = [DeltaTable(table_uri(lake, "events")) for _ in range(2)]
    for handle in handles:
        handle.optimize.compact()

    result = audit(lake, "totals")

    assert result.must_stop
    assert result.failures == ["rows of events: 16 live = 8 written - 0 removed"]
    assert "keys of events" in _failing(lake)
    assert writer.next == 10


def test_rows_that_were_removed_uncounted_are_named_and_counted_ones_are_not(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    table = DeltaTable(table_uri(lake, "events"))
    table.delete("kafka_offset = 1", commit_properties=CommitProperties(app_transactions=[Transaction(REMOVED, 1)]))
    assert _failing(lake) == ["counts of rollups"]

    table.delete("kafka_offset = 2")
    assert "rows of events" in _failing(lake)


def test_rollups_behind_are_named_and_their_counts_not_compared(tmp_path: Path) -> None:
    lake, writer = _filled(tmp_path)
    writer.append(writer.rows(1), rolled_up=False)

    result = audit(lake)

    assert [check.name for check in result.checks if not check.is_ok] == ["positions of rollups"]
    assert "rollups at 10, events at 11" in result.failures[0]
    assert not result.must_stop


def test_a_missing_dead_letter_is_named(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    DeltaTable(table_uri(lake, "dead_letters")).delete("record_index >= 0")
    assert _failing(lake) == ["dead letters"]
    assert "partitions [0] differ" in audit(lake).failures[0]

    fence = CommitProperties(app_transactions=[Transaction(REJECTS_REMOVED, 1)])
    DeltaTable(table_uri(lake, "dead_letters")).delete("record_index < 0", commit_properties=fence)
    assert audit(lake).is_ok


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    lake, _ = _filled(tmp_path)
    victim = Path(DeltaTable(table_uri(lake, "dead_letters")).file_uris()[0])
    victim.unlink() if damage == "missing" else victim.write_bytes(victim.read_bytes()[:-1])

    assert audit(lake, "totals").is_ok
    assert _failing(lake) == ["files of dead_letters"]
    assert audit(lake).must_stop


def test_a_lake_that_cannot_be_opened_needs_a_person(tmp_path: Path) -> None:
    with pytest.raises(LakeBroken, match="cannot open"):
        audit(tmp_path)


def test_a_busy_lake_adds_up_at_any_moment(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)

    def write() -> None:
        writer = Writer(lake)
        for turn in range(30):
            end = writer.next
            writer.append(writer.rows(3), rejects=[_letter(0, end + 3)], duplicates=turn % 2)

    thread = threading.Thread(target=write)
    thread.start()
    audits = 0
    while thread.is_alive():
        assert audit(lake, "scan").failures == []
        audits += 1
    thread.join()
    assert audits > 1
    assert audit(lake, "scan").failures == []


def test_a_new_log_is_a_chain_of_its_own(tmp_path: Path) -> None:
    lake, _ = _filled(tmp_path)
    other = Writer(lake, partition=0, chain="cluster/new+/topic")
    other.append([event_row(0, 0, event_id="z", at=NOON + timedelta(days=1))])

    result = audit(lake)

    assert result.failures == []
    assert sum("lines of" in line for line in result.lines) == 2
