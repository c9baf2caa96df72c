"""People sketches: within their stated error, and a union that order and repetition do not change."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.sketches import LIVE_LG_K, STORED_LG_K, People, PeopleUnion, people_by, standard_error

SEEDS = 100
IDS = 20_000


def _people(ids: list[str], lg_k: int = STORED_LG_K) -> People:
    people = People(lg_k)
    people.add(ids)
    return people


@pytest.mark.parametrize("lg_k", [LIVE_LG_K, STORED_LG_K])
def test_error_over_100_seeds_is_within_the_stated_bounds(lg_k: int) -> None:
    sigma = standard_error(lg_k)
    errors = [_people([f"{seed}/{n}" for n in range(IDS)], lg_k).estimate / IDS - 1 for seed in range(SEEDS)]
    inside = sum(abs(error) <= 2 * sigma for error in errors)
    root_mean_square = math.sqrt(sum(error**2 for error in errors) / SEEDS)
    # 95.4 % lie within two sigma; fewer than 88 of 100 has a probability of about 1 in 1,000.
    assert inside >= 88
    assert max(map(abs, errors)) <= 4.5 * sigma
    assert root_mean_square <= 1.25 * sigma
    assert abs(sum(errors) / SEEDS) <= 4 * sigma / math.sqrt(SEEDS)


@given(st.lists(st.text(max_size=5), max_size=200))
@settings(deadline=None)
def test_small_sets_are_exact_and_empty_ids_are_nobody(ids: list[str]) -> None:
    assert _people(ids).estimate == len({one for one in ids if one})
    assert _people(ids + ids[::-1]).estimate == len({one for one in ids if one})


@given(st.lists(st.lists(st.integers(0, 5000).map(str), max_size=300), min_size=1, max_size=5), st.randoms())
@settings(deadline=None, max_examples=30)
def test_union_does_not_depend_on_order_repetition_or_grouping(groups: list[list[str]], random: Random) -> None:
    parts = [_people(group).to_bytes() for group in groups]
    shuffled = parts * 2
    random.shuffle(shuffled)
    once, often = PeopleUnion(), PeopleUnion()
    for part in parts:
        once.merge(part)
    for part in shuffled:
        often.merge(part)
    assert often.estimate == once.estimate
    direct = _people([one for group in groups for one in group])
    assert once.estimate == direct.estimate == len({one for group in groups for one in group})


def test_union_of_large_sketches_is_idempotent_and_close() -> None:
    parts = [_people([str(n) for n in range(start, start + 20_000)]).to_bytes() for start in range(0, 60_000, 10_000)]
    union = PeopleUnion()
    for part in parts:
        union.merge(part)
    before = union.estimate
    for part in parts:
        union.merge(part)
    assert union.estimate == before
    assert abs(before / 70_000 - 1) <= 4 * standard_error(STORED_LG_K)
    assert PeopleUnion().merge(union.to_bytes()).estimate == before


def test_stored_sketches_merge_into_live_ones() -> None:
    union = PeopleUnion(LIVE_LG_K).merge(_people([str(n) for n in range(30_000)], STORED_LG_K).to_bytes())
    assert abs(union.estimate / 30_000 - 1) <= 4 * standard_error(LIVE_LG_K)


def test_people_by_puts_each_id_into_its_group() -> None:
    sketches = people_by([0, 1, 0, 2, 1], ["a", "b", "c", "", "b"], 4, STORED_LG_K)
    assert [sketch.estimate for sketch in sketches] == [2, 1, 0, 0]
