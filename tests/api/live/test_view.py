"""The merged view: order and repetition do not matter, and people are never added."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live.view import ERROR, LiveView, Totals
from schemas.live import WINDOW_SECONDS, LiveMessage, Refusal, SlotState
from tests.api.live.messages import CHAIN, slot, status, totals

NOW = 1_800_000_005  # five seconds into a slot, in the first minute of an hour
NOW_MS = NOW * 1000


def viewed(*messages: LiveMessage) -> LiveView:
    view = LiveView()
    for message in messages:
        view.apply(message)
    return view


def plain(view: LiveView, minutes: int = 5) -> Any:
    return view.figures(1, NOW_MS, minutes)


def test_figures_add_counts_over_partitions_and_unite_people() -> None:
    view = viewed(
        status(NOW_MS),
        status(NOW_MS, partition=1),
        slot(NOW, events={"click": 2, "page_view": 1}, pageviews=1, ids=["a", "b"], paths={"/": 1}),
        slot(NOW, partition=1, events={"click": 3}, ids=["b", "c"], countries={"DE": 3}, referrers={"x.com": 1}),
    )
    figures = plain(view)
    assert figures.active_users == {"30s": 3, "5m": 3, "30m": 3}
    assert (figures.events, figures.pageviews) == (6, 1)
    assert [(row.name, row.count) for row in figures.top_events] == [("click", 5), ("page_view", 1)]
    assert [(row.name, row.count) for row in figures.top_paths] == [("/", 1)]
    assert [(row.name, row.count) for row in figures.top_countries] == [("DE", 3)]
    assert [(row.name, row.count) for row in figures.top_referrers] == [("x.com", 1)]


def test_windows_reach_back_whole_slots_and_no_further() -> None:
    view = viewed(status(NOW_MS), *(slot(NOW - back, ids=[f"u{back}"]) for back in (0, 34, 36, 304, 306, 1804, 1806)))
    figures = plain(view)
    assert figures.active_users == {"30s": 2, "5m": 4, "30m": 6}
    assert figures.events == 4
    assert plain(view, 1).events == 3
    assert plain(view, 60).events == 7


def test_events_dated_ahead_wait_for_their_time() -> None:
    view = viewed(status(NOW_MS), slot(NOW + 10, ids=["a"]))
    assert plain(view).events == 0
    assert plain(view).per_minute[-1].events == 0
    view.apply(status(NOW_MS + 10_000))
    assert view.figures(1, NOW_MS + 10_000).events == 1


def test_chart_covers_thirty_minutes_or_the_window_with_zeros() -> None:
    view = viewed(status(NOW_MS), slot(NOW - 60, events={"page_view": 4}, pageviews=4, ids=["a", "b"]))
    chart = plain(view).per_minute
    assert len(chart) == 30
    assert len(plain(view, 45).per_minute) == 45
    assert chart[-1].minute == "2027-01-15T08:00:00Z"
    assert (chart[-2].minute, chart[-2].events, chart[-2].pageviews, chart[-2].users) == (
        "2027-01-15T07:59:00Z",
        4,
        4,
        2,
    )
    assert sum(point.events for point in chart) == 4


def test_lists_hold_ten_by_count_then_name() -> None:
    view = viewed(status(NOW_MS), slot(NOW, events={f"e{number:02}": 1 + number // 11 for number in range(12)}))
    assert [row.name for row in plain(view).top_events] == ["e11", *(f"e{number:02}" for number in range(9))]


def test_later_states_change_merged_minutes() -> None:
    view = viewed(status(NOW_MS), slot(NOW - 120, position=1, events={"click": 1}, ids=["a"]))
    before = view.version(1)
    assert plain(view).events == 1
    view.apply(slot(NOW - 120, position=2, events={"click": 5}, ids=["a", "b"]))
    assert view.version(1) > before
    assert plain(view).events == 5
    assert plain(view).per_minute[-3].users == 2


def test_a_repeated_state_is_no_change() -> None:
    view = viewed(status(NOW_MS), slot(NOW, position=2))
    before = view.version(1)
    view.apply(slot(NOW, position=2))
    view.apply(slot(NOW, position=1, events={"click": 99}))
    assert view.version(1) == before
    assert plain(view).events == 1


def test_another_chain_replaces_the_old_one_when_a_heartbeat_names_it() -> None:
    view = viewed(
        status(NOW_MS - 1000),
        slot(NOW, position=900, events={"click": 9}),
        totals(90, position=900),
        slot(NOW, position=1, events={"click": 1}, chain="new/topic"),
        totals(1, position=1, chain="new/topic"),
    )
    assert (plain(view).events, view.totals(1)) == (9, Totals(90, 0))
    view.apply(status(NOW_MS, chain="new/topic"))
    assert (plain(view).events, view.totals(1)) == (1, Totals(1, 0))
    view.apply(status(NOW_MS - 2000))
    assert plain(view).events == 1


def test_slots_expire_and_leave_nothing_behind() -> None:
    view = viewed(status(NOW_MS), slot(NOW), slot(NOW - WINDOW_SECONDS + 10))
    view.expire(NOW_MS)
    assert plain(view, 60).events == 1
    before = view.version(1)
    later = NOW_MS + (WINDOW_SECONDS + 20) * 1000
    view.expire(later)
    assert plain(view, 60).events == 1, "without a worker the last complete figures stay"
    view.apply(status(later))
    view.expire(later)
    assert view.version(1) == 0
    view.apply(slot(NOW))
    assert view.version(1) == 0, "a slot from before the window is not taken up again"
    view.apply(slot(NOW + 2 * WINDOW_SECONDS))
    assert view.version(1) > before


def test_totals_add_over_partitions_and_keep_the_highest_position() -> None:
    view = viewed(
        status(NOW_MS),
        status(NOW_MS, partition=1),
        totals(10, 4, position=5),
        totals(7, 1, position=3),
        totals(1, 1, partition=1),
    )
    assert view.totals(1) == Totals(11, 5)
    assert view.totals(2) == Totals(0, 0)


def test_before_all_partitions_were_counted_nothing_is_known() -> None:
    view = LiveView(lambda: 2)
    view.is_complete = True
    for message in (status(NOW_MS), slot(NOW), totals(5)):
        view.apply(message)
    assert (plain(view).events, view.totals(1), view.freshness(NOW_MS).as_of) == (0, None, None)
    view.apply(status(NOW_MS, partition=1))
    assert (plain(view).events, view.totals(1)) == (1, Totals(5, 0))


def test_refused_lines_count_nothing() -> None:
    view = viewed(status(NOW_MS), slot(NOW))
    before = view.version(1)
    view.apply(Refusal(CHAIN, 0, 9, 1, NOW_MS, "malformed", "Malformed JSON", 1))
    assert (view.version(1), plain(view).events) == (before, 1)


def test_as_of_stays_when_the_topic_gets_further_partitions() -> None:
    count = 1
    view = LiveView(lambda: count)
    view.is_complete = True
    view.apply(status(NOW_MS))
    count = 2
    view.apply(status(NOW_MS + 1000))
    assert view.freshness(NOW_MS + 1000).as_of == "2027-01-15T08:00:05.000Z"
    view.apply(status(NOW_MS - 500, partition=1))
    assert view.freshness(NOW_MS + 1000).as_of == "2027-01-15T08:00:05.000Z"


def test_what_waits_is_shown_at_once_when_the_partitions_are_back() -> None:
    view = viewed(status(NOW_MS), status(NOW_MS, partition=1), slot(NOW), totals(1))
    view.is_complete = True
    view.apply(status(NOW_MS + 3000))  # the other is silent
    view.apply(slot(NOW, position=2, events={"click": 8}))
    view.apply(totals(8, position=2))
    assert (plain(view).events, view.totals(1)) == (1, Totals(1, 0))
    view.apply(status(NOW_MS + 4000, partition=1, state="rebuilding"))
    assert view.freshness(NOW_MS + 4000).state == "rebuilding"
    assert plain(view).events == 1
    view.apply(slot(NOW, position=9, partition=1, events={"click": 100}))
    view.apply(status(NOW_MS + 5000, partition=1))
    assert view.freshness(NOW_MS + 5000).state == "live"
    assert (view.figures(1, NOW_MS + 5000).events, view.totals(1)) == (108, Totals(8, 0))


@given(st.randoms(use_true_random=False), st.lists(st.tuples(*[st.integers(0, 3)] * 4), max_size=40))
def test_order_and_repetition_of_messages_do_not_matter(
    chance: random.Random, places: list[tuple[int, int, int, int]]
) -> None:
    messages: list[LiveMessage] = [
        slot(
            NOW - 35 * back,
            position=position,
            partition=partition,
            chain=f"chain{chain % 2}",
            # A slot at a position is the same whoever computes it.
            events={"click": 1 + position},
            ids=[f"{back}-{number}" for number in range(position)],
        )
        for back, position, partition, chain in places
    ]
    messages += [totals(position, position=position, partition=part) for _, position, part, _ in places]
    messages += [
        status(NOW_MS - 1000 * (4 * back + part), partition=part, position=position, chain=f"chain{chain % 2}")
        for back, position, part, chain in {place[::2]: place for place in places}.values()
    ]
    shuffled = messages + [message for message in messages if chance.random() < 0.5]
    chance.shuffle(shuffled)
    one, other = viewed(*messages), viewed(*shuffled)
    assert plain(one, 60) == plain(other, 60)
    assert one.freshness(NOW_MS) == other.freshness(NOW_MS)
    assert one.totals(1) == other.totals(1)


@given(st.lists(st.tuples(st.integers(0, 1900), st.integers(0, 3), st.integers(0, 40)), max_size=60))
def test_figures_are_those_of_a_plain_count(seen: list[tuple[int, int, int]]) -> None:
    """`seen` has one event each: seconds ago, partition, person."""
    slots: dict[tuple[int, int], list[int]] = {}
    for ago, partition, person in seen:
        slots.setdefault(((NOW - ago) // 10 * 10, partition), []).append(person)
    states: list[SlotState] = [
        slot(at, partition=partition, events={"click": len(people)}, ids=[f"p{person}" for person in people])
        for (at, partition), people in slots.items()
    ]
    view = viewed(*(status(NOW_MS, partition=partition) for partition in range(4)), *states)
    figures = plain(view)
    for name, span in (("30s", 30), ("5m", 300), ("30m", 1800)):
        first = (NOW - span) // 10 * 10
        assert figures.active_users[name] == len({person for ago, _, person in seen if NOW - ago >= first})
    assert figures.events == sum(NOW - ago >= (NOW - 300) // 10 * 10 for ago, _, _ in seen)
    minutes = Counter((NOW - ago) // 60 for ago, _, _ in seen)
    assert [point.events for point in figures.per_minute] == [minutes[NOW // 60 - back] for back in range(29, -1, -1)]


@given(st.lists(st.tuples(st.integers(0, 2400), st.integers(0, 1), st.integers(0, 9)), max_size=30))
def test_what_is_kept_between_answers_never_differs_from_a_fresh_view(
    changes: list[tuple[int, int, int]],
) -> None:
    """`changes` are slots by seconds ago, partition and person; after each, ten seconds pass."""
    heard = [status(NOW_MS), status(NOW_MS, partition=1)]
    view = viewed(*heard)
    applied: list[LiveMessage] = []
    for step, (ago, partition, person) in enumerate(changes):
        now = NOW + 10 * step
        change = slot(now - ago, partition=partition, position=step, ids=[f"{person}"], events={"click": 1 + step})
        applied.append(change)
        view.apply(change)
        for one in (status(now * 1000), status(now * 1000, partition=1)):
            view.apply(one)
        fresh = viewed(*applied, status(now * 1000), status(now * 1000, partition=1))
        assert view.figures(1, now * 1000, 33) == fresh.figures(1, now * 1000, 33)


def test_people_stay_within_the_stated_error() -> None:
    states = [
        slot(
            NOW - 10 * number,
            partition=number % 4,
            position=1,
            ids=[f"u{one}" for one in range(number * 50, number * 50 + 100)],
        )
        for number in range(180)
    ]
    view = viewed(*(status(NOW_MS, partition=partition) for partition in range(4)), *states)
    exact = 179 * 50 + 100
    assert abs(plain(view).active_users["30m"] - exact) / exact < 3 * ERROR


@pytest.mark.parametrize("chain", [CHAIN, "unheard/of"])
def test_a_slot_counts_only_under_a_chain_that_is_heard_of(chain: str) -> None:
    view = viewed(slot(NOW, chain=chain))
    assert plain(view).events == 0
    view.apply(status(NOW_MS))
    assert plain(view).events == (1 if chain == CHAIN else 0)
