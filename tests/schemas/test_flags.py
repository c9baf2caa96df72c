"""For whom a flag is on."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.filters import filter_of
from schemas.flags import Flag, Rule, Variant, bucket, evaluate, holds
from schemas.keeping import InvalidKept, body_of

PEOPLE = [f"user-{number}" for number in range(2000)]
IDS = st.text(min_size=1, max_size=30)


def flag(**fields: Any) -> Flag:
    return body_of(Flag, {"key": "new-checkout", "rules": [{}]} | fields)


def test_the_bucket_is_the_documented_one() -> None:
    digits = hashlib.sha1(b"new-checkout.ann").hexdigest()[:15]
    assert bucket("new-checkout", "ann") == int(digits, 16) / 2**60


@given(key=IDS, person=IDS)
def test_buckets_are_shares_and_stay(key: str, person: str) -> None:
    assert 0 <= bucket(key, person) < 1
    assert bucket(key, person) == bucket(key, person)


@given(person=IDS, less=st.floats(0, 100), more=st.floats(0, 100))
def test_who_has_a_flag_keeps_it_and_its_variant_while_the_rollout_grows(person: str, less: float, more: float) -> None:
    less, more = sorted((less, more))
    variants = (Variant(key="a"), Variant(key="b", weight=2))
    before = evaluate(Flag(key="f", variants=variants, rules=(Rule(rollout=less),)), person, {})
    after = evaluate(Flag(key="f", variants=variants, rules=(Rule(rollout=more),)), person, {})
    if before.enabled:
        assert before == after
    assert evaluate(Flag(key="f", rules=(Rule(),)), person, {}).enabled
    assert not evaluate(Flag(key="f", rules=(Rule(rollout=0),)), person, {}).enabled


def test_shares_are_about_what_they_say() -> None:
    half = flag(rules=[{"rollout": 30}], variants=[{"key": "a", "weight": 1}, {"key": "b", "weight": 3}])
    found = [evaluate(half, person, {}) for person in PEOPLE]
    on = [verdict for verdict in found if verdict.enabled]
    assert 0.26 < len(on) / len(PEOPLE) < 0.34
    assert 0.68 < sum(verdict.variant == "b" for verdict in on) / len(on) < 0.82


def test_the_first_rule_that_takes_somebody_decides() -> None:
    pro = [{"key": "plan", "op": "eq", "value": "pro"}]
    rules: list[dict[str, Any]] = [{"filters": pro, "variant": "long"}, {"filters": pro}, {"rollout": 0}]
    made = flag(rules=rules, variants=[{"key": "short"}, {"key": "long", "payload": {"steps": 4}}])
    found = evaluate(made, "ann", {"plan": "pro"})
    assert (found.enabled, found.variant, found.payload, found.reason) == (True, "long", {"steps": 4}, "rule:0")
    assert evaluate(made, "ann", {"plan": "free"}).reason == "no_match"
    later = flag(rules=[rules[2], {}])
    assert evaluate(later, "ann", {}).reason == "rule:1"
    off = evaluate(flag(active=False), "ann", {})
    assert (off.enabled, off.variant, off.reason) == (False, None, "inactive")


PERSON = {"plan": "pro", "age": 30, "vip": True, "nothing": None, "tags": ["a"]}


@pytest.mark.parametrize(
    ("key", "op", "value", "expected"),
    [
        ("plan", "eq", "pro", True),
        ("properties.plan", "eq", "pro", True),
        ("plan", "neq", "pro", False),
        ("absent", "neq", "pro", True),
        ("age", "eq", 30.0, True),
        ("age", "eq", "30", True),
        ("vip", "eq", True, True),
        ("vip", "eq", 1, False),
        ("plan", "in", ["free", "pro"], True),
        ("plan", "in", [], False),
        ("plan", "contains", "r", True),
        ("plan", "not_contains", "r", False),
        ("absent", "not_contains", "r", True),
        ("absent", "contains", "", False),
        ("plan", "starts_with", "pr", True),
        ("plan", "ends_with", "pr", False),
        ("age", "gt", 30, False),
        ("age", "gte", 30, True),
        ("age", "lt", 31, True),
        ("age", "lte", 29, False),
        ("age", "gt", "2", False),
        ("plan", "gt", "a", True),
        ("nothing", "set", None, False),
        ("absent", "not_set", None, True),
        ("tags", "contains", "a", True),
    ],
)
def test_what_a_condition_says_of_properties(key: str, op: str, value: Any, expected: bool) -> None:
    condition = {"key": key, "op": op} | ({} if value is None else {"value": value})
    assert holds(filter_of([condition]), PERSON) is expected
    assert holds(filter_of([{"or": [condition, condition]}]), PERSON) is expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key": ""}, "Missing required field: key"),
        ({"key": "a b"}, "Invalid field: key"),
        ({"variants": [{"key": "a"}, {"key": "a"}]}, "Invalid field: variants"),
        ({"variants": [{"key": "a", "weight": 0}]}, "Invalid field: variants"),
        ({"variants": [{"key": "a", "weight": -1}, {"key": "b", "weight": 2}]}, "Invalid field: variants"),
        ({"rules": [{"rollout": 101}]}, "Invalid field: rules"),
        ({"rules": [{"variant": "x"}]}, "Invalid field: rules"),
        ({"rules": [{"filters": [{"key": "a", "op": "odd"}]}]}, "Invalid field: rules"),
        ({"rules": [{"filters": [{"key": "a", "op": "matches", "value": "(a+)+"}]}]}, "Invalid field: rules"),
        ({"rules": [{"filters": [{"key": "a", "op": "eq", "value": "x" * 20_000}]}]}, "Invalid field: rules"),
    ],
)
def test_what_is_no_flag(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidKept) as wrong:
        flag(**fields)
    assert str(wrong.value) == message
