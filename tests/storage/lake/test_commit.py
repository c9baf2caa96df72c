"""The fence: of two owners of a position one commits, whatever else happens to the table."""

from pathlib import Path

import pytest

from schemas.rows import Row
from storage.errors import LakeBroken, LakeUnreadable
from storage.lake.columns import rows_table
from storage.lake.commit import FencedTable, Span
from storage.lake.tables import EVENTS
from tests.storage.lakes import CHAIN, event_row, keys, make_lake, offsets


def _chunk(start: int, end: int, partition: int = 0) -> object:
    return rows_table(_rows(start, end, partition)) if end > start else EVENTS.empty_table()


def _rows(start: int, end: int, partition: int = 0) -> list[Row]:
    return [event_row(partition, n) for n in range(start, end)]


def _append(table: FencedTable, held: int | None, start: int, end: int, partition: int = 0) -> str | None:
    """Append a range; None, or why not."""
    refused = table.append(_chunk(start, end, partition), {partition: Span(held, end)}, {}, "test")
    return None if refused is None else "moved" if refused.is_moved else refused.reason


def test_append_shows_rows_position_and_totals_at_once(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    table = FencedTable(lake, "events", CHAIN)
    assert table.position(0) is None
    app = table.app(0)
    assert table.append(_chunk(0, 3), {0: Span(None, 3)}, {f"{app}#rows": 3, f"{app}#lines": 4}, "test") is None
    fresh = FencedTable(lake, "events", CHAIN)
    assert (fresh.position(0), fresh.total(0, "rows"), fresh.total(0, "lines"), fresh.total(0, "gaps")) == (3, 3, 4, 0)
    assert keys(lake) == offsets(0, 3)
    assert FencedTable(lake, "events", "other/chain").position(0) is None


def test_two_owners_of_one_partition_are_told_apart(tmp_path: Path) -> None:
    """The sequence that was measured: see docs/decisions/0002-exactly-once.md."""
    lake = make_lake(tmp_path)
    a, b = FencedTable(lake, "events", CHAIN), FencedTable(lake, "events", CHAIN)
    assert _append(a, None, 0, 10) is None
    assert "Concurrent transaction" in (_append(b, None, 0, 10) or "")
    assert b.settle([0]) == {0: 10}
    assert _append(b, None, 0, 5, partition=1) is None
    assert _append(a, 10, 10, 20) is None
    assert _append(b, 5, 5, 9, partition=1) is None
    assert b.position(0) == 20  # its own success brought the foreign commit along
    assert _append(b, 10, 10, 20) == "moved"
    assert keys(lake) == offsets(0, 20) + offsets(0, 9, partition=1)


def test_refusal_of_one_partition_refuses_all(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    a, b = FencedTable(lake, "events", CHAIN), FencedTable(lake, "events", CHAIN)
    assert _append(a, None, 0, 10) is None
    spans = {0: Span(None, 10), 1: Span(None, 4)}
    refused = b.append(_chunk(0, 4, partition=1), spans, {}, "test")
    assert refused is not None
    assert b.settle([0, 1]) == {0: 10, 1: None}
    assert keys(lake) == offsets(0, 10)


def test_stale_handle_is_refused_whatever_the_version_is(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    a, b = FencedTable(lake, "events", CHAIN), FencedTable(lake, "events", CHAIN)
    assert _append(a, None, 0, 10) is None
    for end in (5, 10, 15):
        assert _append(b, None, 0, end) is not None
    assert keys(lake) == offsets(0, 10)


def test_empty_commit_moves_the_position(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    table = FencedTable(lake, "events", CHAIN)
    assert table.append(EVENTS.empty_table(), {0: Span(None, 7)}, {}, "test") is None
    assert FencedTable(lake, "events", CHAIN).position(0) == 7


def test_without_the_comparison_a_foreign_commit_is_doubled(tmp_path: Path) -> None:
    """The control: delta-rs alone does not refuse what its own handle has moved over."""
    lake = make_lake(tmp_path)
    a, b = FencedTable(lake, "events", CHAIN), FencedTable(lake, "events", CHAIN)
    assert _append(b, None, 0, 1, partition=1) is None
    assert _append(a, None, 0, 10) is None
    assert _append(b, 1, 1, 2, partition=1) is None
    held = b.position(0)  # compares with what the handle says instead of what was loaded
    assert b.append(_chunk(0, 10), {0: Span(held, 10)}, {}, "test") is None
    assert keys(lake)[0, 0, 0] == 2


def test_failing_disk_is_unclear_and_the_next_attempt_succeeds(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    table = FencedTable(lake, "events", CHAIN)
    # A file where the date's directory belongs: fails for root as well.
    obstacle = lake / "events" / "date=2026-03-01"
    obstacle.write_bytes(b"")
    refused = table.append(_chunk(0, 3), {0: Span(None, 3)}, {}, "test")
    assert refused is not None
    assert not refused.is_moved
    assert table.settle([0]) == {0: None}
    obstacle.unlink()
    assert _append(table, None, 0, 3) is None
    assert keys(lake) == offsets(0, 3)


def test_missing_table_needs_a_person(tmp_path: Path) -> None:
    with pytest.raises(LakeBroken, match="events"):
        FencedTable(tmp_path, "events", CHAIN)


def test_torn_log_entry_is_unreadable_not_empty(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    table = FencedTable(lake, "events", CHAIN)
    assert _append(table, None, 0, 3) is None
    newest = max((lake / "events" / "_delta_log").glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:20])
    with pytest.raises((LakeUnreadable, LakeBroken)):
        table.settle([0])
