"""What a partition's new owner reads back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.deadletters import DeadLetter
from schemas.rows import Row
from storage.lake import recent
from storage.lake.columns import live_groups, project_totals, rows_table
from storage.lake.commit import FencedTable, Span
from storage.lake.deadletters import dead_letters_table
from tests.storage.lakes import CHAIN, NOON, Writer, event_row, make_lake


def _letter(offset: int, index: int = 0, partition: int = 0) -> DeadLetter:
    return DeadLetter(partition, offset, index, "malformed", b"{", 1_764_000_000_000)


def test_dead_letter_keys_are_those_of_the_partition_from_an_offset_on(tmp_path: Path) -> None:
    table = FencedTable(make_lake(tmp_path), "dead_letters", CHAIN)
    letters = [_letter(1), _letter(5), _letter(5, 3), _letter(9, -1), _letter(7, partition=1)]
    assert recent.dead_letter_keys(table, 0, 0) == frozenset()
    assert table.append(dead_letters_table(letters), {0: Span(None, 10), 1: Span(None, 8)}, {}, "test") is None
    assert recent.dead_letter_keys(table, 0, 5) == {(5, 0), (5, 3), (9, -1)}
    assert recent.dead_letter_keys(table, 1, 0) == {(7, 0)}
    assert recent.dead_letter_keys(table, 2, 0) == frozenset()
    assert recent.dead_letter_keys(FencedTable(tmp_path / "lake", "dead_letters", "cluster/new"), 0, 0) == frozenset()


def _received(offset: int, seconds: int) -> Row:
    row = event_row(0, offset, event_id=f"e{offset}")
    values = {name: getattr(row, name) for name in Row.__struct_fields__} | {"received_at": seconds * 1000}
    return Row(**values)


def test_recent_ids_are_the_last_received_in_the_order_of_the_log(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    writer.append([_received(0, 100), _received(1, 161), _received(2, 160)])
    writer.append([_received(3, 220), _received(4, 200)])
    Writer(lake, partition=1).append([event_row(1, 0)])
    found = list(recent.recent_ids(writer.events, 0, 60, 100))
    assert found == [(1, "e1", 161_000), (1, "e3", 220_000), (1, "e4", 200_000)]
    assert list(recent.recent_ids(writer.events, 0, 10_000, 2)) == [(1, "e3", 220_000), (1, "e4", 200_000)]
    assert list(recent.recent_ids(writer.events, 2, 60, 100)) == []


def test_recent_ids_of_many_rows_are_in_the_order_of_the_log_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "_PIECE_ROWS", 3)
    writer = Writer(make_lake(tmp_path))
    writer.append([_received(n, 100 + n) for n in range(8)])
    assert [one for _, one, _ in recent.recent_ids(writer.events, 0, 60, 7)] == [f"e{n}" for n in range(1, 8)]


def test_live_past_is_the_fold_of_the_rows_below(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    writer = Writer(lake)
    old = [event_row(0, n, at=NOON - timedelta(days=2)) for n in range(4)]
    new = [event_row(0, n, at=NOON, bot=n == 6) for n in range(4, 10)]
    writer.append(old)
    writer.append(new)
    first = int(NOON.timestamp()) - 3600
    past = recent.live_past(writer.events.uri, writer.events.chain, 0, 9, 10, first)
    below = [row for row in old + new if row.kafka_offset < 9]
    expected = live_groups(rows_table(below), 10, first, 2**40)
    assert sorted((g.project, g.slot, sorted(g.ids), g.pageviews) for g in past.groups) == sorted(
        (g.project, g.slot, sorted(g.ids), g.pageviews) for g in expected
    )
    assert past.totals == project_totals(rows_table(below))


def test_live_past_of_an_empty_lake_is_nothing(tmp_path: Path) -> None:
    writer = Writer(make_lake(tmp_path))
    past = recent.live_past(
        writer.events.uri, writer.events.chain, 0, 0, 10, int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    )
    assert (past.groups, past.totals) == ([], [])
