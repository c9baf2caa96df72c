"""Partials against plain Python, and rollups that always come back to what events say."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.rows import Row
from storage.lake.columns import merged, rows_table
from storage.lake.commit import FencedTable, Span
from storage.lake.rollups import catch_up, partials
from storage.lake.tables import ROLLUPS
from storage.sketches import STORED_LG_K, PeopleUnion
from tests.storage.lakes import CHAIN, NOON, arrow, event_row, make_lake
from tests.storage.rows import rows

Key = tuple[int, datetime, str]


def by_the_book(rows: Iterable[Row]) -> dict[Key, tuple[int, int]]:
    """(count, people) of each project, hour and event, in plain Python."""
    counts: Counter[Key] = Counter()
    people: dict[Key, set[str]] = {}
    for row in rows:
        if row.web.is_bot or row.is_system:
            continue
        hour = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=row.timestamp // 3_600_000)
        key = (row.project_id, hour, row.event)
        counts[key] += 1
        people.setdefault(key, set()).update({row.distinct_id} - {""})
    return {key: (number, len(people[key])) for key, number in counts.items()}


def added_up(table: pa.Table) -> dict[Key, tuple[int, int]]:
    """The same of partials: counts add, sketches merge."""
    counts: Counter[Key] = Counter()
    sketches: dict[Key, PeopleUnion] = {}
    for partial in table.to_pylist():
        key = (partial["project_id"], partial["hour"], partial["event"])
        counts[key] += partial["count"]
        sketches.setdefault(key, PeopleUnion(STORED_LG_K)).merge(partial["people"])
        assert partial["date"] == partial["hour"].date()
        assert partial["lg_k"] == STORED_LG_K
    return {key: (number, sketches[key].estimate) for key, number in counts.items()}


@given(st.lists(rows, min_size=1, max_size=20), st.integers(1, 4))
@settings(deadline=None, max_examples=100)
def test_partials_of_any_grouping_add_up_to_plain_counts(rows: list[Row], pieces: int) -> None:
    tables = [partials(rows_table(rows[n::pieces])) for n in range(pieces) if rows[n::pieces]]
    assert all(table.schema == ROLLUPS for table in tables)
    assert added_up(pa.concat_tables(tables)) == by_the_book(rows)


def _tables(lake: Path) -> tuple[FencedTable, FencedTable]:
    return FencedTable(lake, "events", CHAIN), FencedTable(lake, "rollups", CHAIN)


def _commit(events: FencedTable, rows: Sequence[Row], held: int | None) -> dict[int, Span]:
    spans = {0: Span(held, rows[-1].kafka_offset + 1)}
    assert events.append(merged([rows_table(rows)]), spans, {}, "test") is None
    return spans


def _rows(start: int, end: int) -> list[Row]:
    return [event_row(0, n, at=NOON + timedelta(minutes=n)) for n in range(start, end)]


def test_catch_up_appends_the_flush_that_continues(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    events, rollups = _tables(lake)
    for held, start, end in ((None, 0, 50), (50, 50, 130)):
        rows = _rows(start, end)
        assert catch_up(rollups, events, _commit(events, rows, held), merged([rows_table(rows)])) is None
    assert rollups.position(0) == 130
    assert added_up(arrow(lake, "rollups")) == by_the_book(_rows(0, 130))


def test_catch_up_computes_again_what_is_missing(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    events, rollups = _tables(lake)
    _commit(events, _rows(0, 50), None)
    spans = _commit(events, _rows(50, 70), 50)
    # These rows alone would leave out the first fifty.
    assert catch_up(rollups, events, spans, merged([rows_table(_rows(50, 70))])) is None
    assert added_up(arrow(lake, "rollups")) == by_the_book(_rows(0, 70))


def test_catch_up_takes_of_a_flush_the_partitions_that_continue_and_reads_the_others(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    events, rollups = _tables(lake)
    before = _rows(0, 5)
    _commit(events, before, None)  # of partition 0, and never rolled up
    flushed = _rows(5, 9) + [event_row(1, n) for n in range(3)]
    spans = {0: Span(5, 9), 1: Span(None, 3)}
    assert events.append(merged([rows_table(flushed)]), spans, {}, "test") is None
    assert catch_up(rollups, events, spans, merged([rows_table(flushed)])) is None
    assert added_up(arrow(lake, "rollups")) == by_the_book(before + flushed)


def test_catch_up_twice_adds_nothing(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    events, rollups = _tables(lake)
    spans = _commit(events, _rows(0, 10), None)
    assert catch_up(rollups, events, spans, None) is None
    version = rollups.table.version()
    assert catch_up(rollups, events, spans, None) is None
    assert catch_up(rollups, events, {0: Span(None, 3)}, None) is None
    assert rollups.table.version() == version


def test_catch_up_of_two_owners_counts_once(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    events, first = _tables(lake)
    _, second = _tables(lake)
    spans = _commit(events, _rows(0, 10), None)
    assert catch_up(first, events, spans, None) is None
    assert catch_up(second, events, spans, None) is not None
    second.reload()
    assert catch_up(second, events, spans, None) is None
    assert added_up(arrow(lake, "rollups")) == by_the_book(_rows(0, 10))


def test_catch_up_moves_the_position_without_countable_rows(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    events, rollups = _tables(lake)
    rows = [event_row(0, n, bot=True) for n in range(3)]
    assert catch_up(rollups, events, _commit(events, rows, None), merged([rows_table(rows)])) is None
    assert rollups.position(0) == 3
    assert arrow(lake, "rollups").num_rows == 0
