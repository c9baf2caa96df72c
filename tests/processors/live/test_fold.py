"""The live fold: order and grouping do not matter, and it says what plain Python counts."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.live.fold import MOST_VALUES, OTHER, LiveFold, first_slot, fold_rows
from schemas.live import SLOT_SECONDS, WINDOW_SECONDS, ProjectTotals, SlotState
from schemas.rows import Row
from storage.lake.columns import live_groups, of_partition, project_totals, rows_table
from storage.sketches import LIVE_LG_K, PeopleUnion, standard_error
from tests.processors.records import door_record, event_line, items_of
from tests.storage.rows import rows

NOW = 1_764_000_000 + 1800
_SAID = tuple[dict[tuple[int, int], SlotState], dict[int, tuple[int, int]]]


def _said(fold: LiveFold, position: int = 9) -> _SAID:
    fold.mark_all_changed()
    slots: dict[tuple[int, int], SlotState] = {}
    totals: dict[int, tuple[int, int]] = {}
    for message in fold.take_changed(position):
        if isinstance(message, SlotState):
            slots[message.project, message.slot] = message
        else:
            totals[message.project] = (message.events, message.pageviews)
    return slots, totals


def _people(state: SlotState) -> int:
    return PeopleUnion(LIVE_LG_K).merge(state.people).estimate


def _numbers(said: _SAID) -> object:
    """All that is said, with estimates in place of sketch bytes."""
    slots, totals = said
    numbers = {key: (x.events, x.pageviews, _people(x), x.paths, x.referrers, x.countries) for key, x in slots.items()}
    return numbers, totals


def _by_the_book(rows: Sequence[Row]) -> object:
    counted = [row for row in rows if not row.web.is_bot and not row.is_system]
    slots: dict[tuple[int, int], list[Row]] = {}
    for row in counted:
        seconds = row.timestamp // 1000
        if first_slot(NOW) <= seconds < NOW + 86_400:
            slots.setdefault((row.project_id, seconds // 10 * 10), []).append(row)
    totals = {
        project: (len(mine), sum(row.is_pageview for row in mine))
        for project in {row.project_id for row in counted}
        for mine in [[row for row in counted if row.project_id == project]]
    }
    return {key: _slot(mine) for key, mine in slots.items()}, totals


def _slot(mine: list[Row]) -> tuple[object, ...]:
    pages = [row for row in mine if row.is_pageview]
    return (
        dict(Counter(row.event for row in mine)),
        len(pages),
        len({row.distinct_id for row in mine} - {""}),
        dict(Counter(row.web.path for row in pages if row.web.path is not None)),
        dict(Counter(row.web.referrer_domain for row in pages if row.web.referrer_domain is not None)),
        dict(Counter(row.web.country for row in mine if row.web.country is not None)),
    )


@given(st.lists(rows, min_size=1, max_size=25), st.randoms(use_true_random=False), st.integers(1, 6))
@settings(deadline=None)
def test_fold_in_any_order_and_grouping_equals_plain_counts(rows: list[Row], random: Random, pieces: int) -> None:
    fold = LiveFold("c/t", 0)
    shuffled = rows[:]
    random.shuffle(shuffled)
    cuts = sorted(random.randint(0, len(rows)) for _ in range(pieces - 1))
    for start, end in pairwise([0, *cuts, len(rows)]):
        if start < end:
            fold.add_rows(rows_table(shuffled[start:end]), NOW)
    assert _numbers(_said(fold)) == _by_the_book(rows)


@given(st.lists(rows, min_size=1, max_size=25))
@settings(deadline=None, max_examples=50)
def test_partitions_folded_together_say_what_each_says_alone(rows: list[Row]) -> None:
    chunk = rows_table(rows)
    partitions = {row.kafka_partition for row in rows}
    together = {partition: LiveFold("c/t", partition) for partition in partitions}
    fold_rows(together, [chunk], NOW)
    for partition in partitions:
        alone = LiveFold("c/t", partition)
        alone.add_rows(of_partition(chunk, partition, 0, 2**62), NOW)
        assert _numbers(_said(together[partition])) == _numbers(_said(alone))


@given(st.lists(rows, min_size=2, max_size=20), st.integers(1, 19))
@settings(deadline=None, max_examples=50)
def test_past_may_come_after_the_tail(rows: list[Row], cut: int) -> None:
    past, tail = rows[:cut], rows[cut:]
    fold = LiveFold("c/t", 0)
    if tail:
        fold.add_rows(rows_table(tail), NOW)
    chunk = rows_table(past)
    fold.add_past(live_groups(chunk, SLOT_SECONDS, first_slot(NOW), NOW + 86_400), project_totals(chunk))
    assert _numbers(_said(fold)) == _by_the_book(rows)


def _rows(count: int, **fields: Any) -> list[Row]:
    lines = [event_line(userId=f"u{n}", timestamp="2025-11-24T16:30:00Z", **fields) for n in range(count)]
    found = door_record(0, lines)
    return [item for item in items_of(found) if isinstance(item, Row)]


def test_people_of_a_busy_slot_are_within_the_stated_error() -> None:
    rows = _rows(30_000)
    fold = LiveFold("c/t", 0)
    for start in range(0, len(rows), 7000):
        fold.add_rows(rows_table(rows[start : start + 7000]), rows[0].timestamp // 1000)
    ((_, state),) = _said(fold)[0].items()
    assert state.events == {"click": 30_000}
    assert abs(_people(state) / 30_000 - 1) <= 4 * standard_error(LIVE_LG_K)


def test_too_many_values_are_counted_together_not_dropped() -> None:
    rows = [row for n in range(MOST_VALUES + 20) for row in _rows(1, context={"url": f"https://x.org/{n}"})]
    pages = [row for row in rows if row.web.path]
    fold = LiveFold("c/t", 0)
    fold.add_rows(rows_table([_as_pageview(row) for row in pages]), rows[0].timestamp // 1000)
    ((_, state),) = _said(fold)[0].items()
    assert len(state.paths) == MOST_VALUES + 1
    assert state.paths[OTHER] == 20
    assert sum(state.paths.values()) == state.pageviews == len(rows)


def _as_pageview(row: Row) -> Row:
    return msgspec.structs.replace(row, is_pageview=True)


def test_each_change_is_handed_out_once_with_its_position() -> None:
    rows = _rows(3)
    now = rows[0].timestamp // 1000
    fold = LiveFold("c/t", 2)
    fold.add_rows(rows_table(rows), now)
    first = list(fold.take_changed(5))
    assert [(type(x), x.partition, x.next) for x in first] == [(SlotState, 2, 5), (ProjectTotals, 2, 5)]
    assert list(fold.take_changed(6)) == []
    fold.add_rows(rows_table(rows), now)
    (slot, totals) = fold.take_changed(8)
    assert isinstance(slot, SlotState)
    assert isinstance(totals, ProjectTotals)
    assert (slot.events, totals.events, slot.next) == ({"click": 6}, 6, 8)


def test_expire_forgets_slots_that_no_answer_reaches() -> None:
    rows = _rows(1)
    now = rows[0].timestamp // 1000
    fold = LiveFold("c/t", 0)
    fold.add_rows(rows_table(rows), now)
    fold.expire(now + WINDOW_SECONDS)
    assert len(_said(fold)[0]) == 1
    fold.expire(now + WINDOW_SECONDS + SLOT_SECONDS)
    slots, totals = _said(fold)
    assert slots == {}
    assert totals == {7: (1, 0)}
