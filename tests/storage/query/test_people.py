"""People, their profiles and what a project holds."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.filters import Condition, Operator, equals
from schemas.names import EventName, NamesQuestion, PropertyKey, PropertyValue
from schemas.people import PeopleQuestion, Person, ProfileChange, changed
from schemas.rows import Row
from schemas.selection import Selection
from storage.query.names import event_names, property_keys, property_values
from storage.query.people import count_project, find_person, list_people
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import Asker, asking, span_of

ALIASES = {"anon": "ann"}


def _change(person: str, at: str, **change: Any) -> Row:
    return event_row(at, person, "$profile", properties=msgspec.json.encode(change), is_system=True)


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    LakeWriter(tmp_path).append(
        [
            event_row("2026-03-01T10:00:00", "anon", "page_view", properties=b'{"a":1}'),
            event_row("2026-03-01T11:00:00", "ann", "buy", properties=b'{"a":2.5,"b/c":"x"}'),
            event_row("2026-03-02T11:00:00", "ann", "Buy", is_bot=True),
            event_row("2026-03-02T10:00:00", "bob", "buy", properties=b'{"a":"1","b/c":null}'),
            event_row("2026-03-02T12:00:00", "hash", "buy", identified_by="visitor"),
            event_row("2026-03-02T13:00:00", "", "buy"),
            event_row("2026-03-02T13:00:00", "eve", "buy", project=2),
            _change("anon", "2026-03-01T10:00:00", set={"plan": "free", "logins": 1}),
            _change("ann", "2026-03-01T12:00:00", set={"plan": "Pro"}, add={"logins": 2}, setOnce={"plan": "x"}),
            _change("cid", "2026-03-01T12:00:00", set={"mail": "cid@example.org"}),
            _change("bob", "2026-03-01T12:00:00", set={"plan": "free"}),
            _change("bob", "2026-03-01T13:00:00", delete=True),
            event_row("2026-03-01T12:00:00", "dan", "$profile", properties=b"[]", is_system=True),
        ]
    )
    with asking(tmp_path) as asker:
        yield asker


def _list(ask: Asker, **question: Any) -> list[str]:
    answer = ask(lambda cursor, lake: list_people(cursor, lake, PeopleQuestion(1, **question), ALIASES))
    assert answer.total >= len(answer.people)
    return [person.user_id for person in answer.people]


def _find(ask: Asker, user_id: str) -> Person | None:
    return ask(lambda cursor, lake: find_person(cursor, lake, 1, user_id, ALIASES))


def test_somebody_is_found_by_any_id(ask: Asker) -> None:
    ann = Person("ann", {"plan": "Pro", "logins": 3.0}, 1772359200000, 1772362800000, 2, ("anon",))
    assert _find(ask, "ann") == _find(ask, "anon") == ann
    assert _find(ask, "cid") == Person("cid", {"mail": "cid@example.org"}, None, None, 0, ())
    assert [_find(ask, nobody) for nobody in ("nobody", "dan", "eve")] == [None, None, None]


def test_people_are_listed_last_seen_first(ask: Asker) -> None:
    assert _list(ask) == ["bob", "ann", "cid"]
    assert _list(ask, limit=1, offset=1) == ["ann"]
    assert _list(ask, search="PRO") == ["ann"]
    assert _list(ask, search="ANON") == ["ann"]
    assert _list(ask, search="free") == []
    assert _list(ask, filters=equals("plan", "Pro")) == ["ann"]
    assert _list(ask, filters=Condition("country", Operator.NOT_SET)) == ["bob", "ann", "cid"]


def test_what_a_project_holds(ask: Asker) -> None:
    since = span_of("2026-03-02", "2026-03-03").start
    counts = ask(lambda cursor, lake: count_project(cursor, lake, 1, since, ALIASES))
    assert (counts.events, counts.people, counts.profiles) == (5, 3, 2)
    assert (counts.event_names, counts.recent_events) == (2, 3)


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (ProfileChange(set={"a": 2}), {"a": 2, "l": [1]}),
        (ProfileChange(set_once={"a": 2, "b": 3}), {"a": 1, "l": [1], "b": 3}),
        (ProfileChange(add={"a": 2, "b": -1, "l": 4}), {"a": 3, "l": 4, "b": -1}),
        (ProfileChange(append={"l": 1, "a": 2, "b": 3}), {"a": [1, 2], "l": [1, 1], "b": [3]}),
        (ProfileChange(union={"l": [1, 2, 2], "b": [3]}), {"a": 1, "l": [1, 2], "b": [3]}),
        (ProfileChange(unset=["a", "b"]), {"l": [1]}),
        (ProfileChange(delete=True, set={"b": 1}), {"b": 1}),
    ],
)
def test_a_change_of_a_profile(change: ProfileChange, result: dict[str, Any]) -> None:
    assert changed({"a": 1, "l": [1]}, change) == result


def test_names_keys_and_values(ask: Asker) -> None:
    selection = Selection(1, span_of("2026-03-01", "2026-03-05"))
    names = ask(lambda cursor, lake: event_names(cursor, lake, NamesQuestion(selection)))
    assert names[0] == EventName("buy", 4, 1772362800000, 1772456400000)
    assert [name.name for name in names] == ["buy", "page_view"]
    found = ask(lambda cursor, lake: event_names(cursor, lake, NamesQuestion(selection, search="PAGE")))
    assert [name.name for name in found] == ["page_view"]
    keys = ask(lambda cursor, lake: property_keys(cursor, lake, NamesQuestion(selection)))
    assert keys == (PropertyKey("a", ("number", "string"), 3), PropertyKey("b/c", ("null", "string"), 2))
    values = ask(lambda cursor, lake: property_values(cursor, lake, NamesQuestion(selection), "a"))
    assert values == (PropertyValue("1", 2), PropertyValue("2.5", 1))
