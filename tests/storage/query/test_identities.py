"""Aliases: the log, its resolution, and how it is followed from version to version."""

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.rows import Row
from storage.query.identities import Identification, Identities, resolve
from tests.factories import LakeWriter, event_row
from tests.storage.query.asking import asking

_IDS = st.sampled_from("abcdef")


def _entry(at: int, alias: str, person: str, *, is_undo: bool = False) -> Identification:
    return Identification((at, "log", 0, at, 0), alias, person, is_undo)


def test_chains_end_at_the_person_who_was_named_last() -> None:
    assert resolve([_entry(1, "anon", "mail"), _entry(2, "mail", "user")]) == {"anon": "user", "mail": "user"}
    assert resolve([_entry(1, "mail", "user"), _entry(2, "anon", "mail")]) == {"anon": "user", "mail": "user"}


def test_a_circle_changes_nothing_more() -> None:
    assert resolve([_entry(1, "a", "b"), _entry(2, "b", "a"), _entry(3, "a", "a")]) == {"a": "b"}


def test_an_undone_alias_is_as_if_it_had_never_been() -> None:
    log = [_entry(1, "a", "b"), _entry(2, "b", "c"), _entry(3, "b", "c", is_undo=True)]
    assert resolve(log) == {"a": "b"}
    assert resolve([*log, _entry(4, "b", "d")]) == {"a": "d", "b": "d"}


@given(st.lists(st.tuples(_IDS, _IDS), max_size=12), st.randoms())
def test_ids_are_one_person_exactly_where_aliases_connect_them(pairs: list[tuple[str, str]], draw: object) -> None:
    log = [_entry(at, alias, person) for at, (alias, person) in enumerate(pairs)]
    groups = {known: {known} for known in "abcdef"}
    for alias, person in pairs:
        joined = groups[alias] | groups[person]
        for known in joined:
            groups[known] = joined

    persons = resolve(log[::-1])

    assert persons == resolve(log)
    assert all(person not in persons for person in persons.values())
    for left in "abcdef":
        for right in "abcdef":
            is_one = persons.get(left, left) == persons.get(right, right)
            assert is_one == (right in groups[left])


def _alias(alias: object, person: str, at: str, *, project: int = 1, event: str = "$alias") -> Row:
    properties = msgspec.json.encode({"alias": alias})
    return event_row(at, person, event, project=project, properties=properties, is_system=True)


def test_the_log_is_followed_by_project_and_version(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path)
    writer.append(
        [event_row("2026-03-01", "a"), _alias("a", "b", "2026-03-01"), _alias("x", "y", "2026-03-01", project=2)]
    )
    with asking(tmp_path) as ask:
        identities = Identities(ask.lake)

        def known(project: int) -> dict[str, str]:
            return dict(ask(lambda cursor, _: identities.of(cursor, project)))

        assert known(1) == {"a": "b"}
        assert known(2) == {"x": "y"}
        assert known(3) == {}
        writer.append([event_row("2026-03-02", "$b"), _alias("b", "c", "2026-03-02"), _alias(7, "d", "2026-03-02")])
        assert known(1) == {"a": "c", "b": "c"}
        assert known(2) == {"x": "y"}
        writer.append([_alias("b", "c", "2026-03-03", event="$alias_undo")])
        assert known(1) == {"a": "b"}


def test_nothing_is_read_while_no_file_with_aliases_came(tmp_path: Path) -> None:
    writer = LakeWriter(tmp_path)
    writer.append([_alias("a", "b", "2026-03-01")])
    with asking(tmp_path) as ask:
        identities = Identities(ask.lake)
        first = ask(lambda cursor, _: identities.of(cursor, 1))
        writer.append([event_row("2026-03-02", "a", "page_view")])
        assert ask(lambda cursor, _: identities.of(cursor, 1)) is first
