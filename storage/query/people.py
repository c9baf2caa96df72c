"""People: what is known of them, from their events and from the changes of their profiles."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from schemas.filters import AllOf, AnyOf, Condition, Filter
from schemas.people import PROFILE, PeopleAnswer, PeopleQuestion, Person, ProfileChange, ProjectCounts, changed
from schemas.selection import Selection
from schemas.windows import ALWAYS
from storage.lake.sessions import IN_TIME
from storage.query.engine import Cursor
from storage.query.filters import filter_sql
from storage.query.lake import Lake
from storage.query.rows import Rows

_COUNTED = "NOT is_system AND NOT is_bot"
_DELETION = ProfileChange(delete=True)


def list_people(cursor: Cursor, lake: Lake, question: PeopleQuestion, aliases: Mapping[str, str]) -> PeopleAnswer:
    """A page of those who have an id of their own or a profile, last seen first.

    Visitors who are known by nothing but their hash are counted everywhere and listed nowhere.
    """
    return _people(cursor, lake, question, aliases, None)


def find_person(cursor: Cursor, lake: Lake, project: int, user_id: str, aliases: Mapping[str, str]) -> Person | None:
    """Somebody by any of their ids; None where neither an event nor a profile is known."""
    answer = _people(cursor, lake, PeopleQuestion(project, limit=1), aliases, aliases.get(user_id, user_id))
    return answer.people[0] if answer.people else None


def count_project(
    cursor: Cursor, lake: Lake, project: int, since: datetime, aliases: Mapping[str, str]
) -> ProjectCounts:
    """What a project holds, and its events since an instant."""
    rows = _rows(lake, project, aliases)
    events, people, names, recent = cursor.rows(
        "SELECT count(*), count(DISTINCT person) FILTER (person <> ''), count(DISTINCT event),"
        f" count(*) FILTER (timestamp >= {rows.parameters.bind(since)}) FROM ({rows.source()}) WHERE {_COUNTED}",
        rows.parameters.values,
    )[0]
    return ProjectCounts(events, people, len(_profiles(cursor, lake, project, aliases)), names, recent, rows.version)


def _people(
    cursor: Cursor, lake: Lake, question: PeopleQuestion, aliases: Mapping[str, str], person: str | None
) -> PeopleAnswer:
    profiles = _profiles(cursor, lake, question.project, aliases)
    rows = _rows(lake, question.project, aliases)
    bind = rows.parameters.bind
    texts = [msgspec.json.encode(properties).decode() for properties in profiles.values()]
    known = (
        f"profiles AS (SELECT unnest({bind(list(profiles))}::VARCHAR[]) AS person,"
        f" unnest({bind(texts)}::VARCHAR[]) AS properties)"
    )
    who = "is_listed" if person is None else f"person = {bind(person)}"
    if question.search:
        search = bind(question.search.lower())
        matching = bind(_matching(profiles, question.search))
        who += f" AND (contains(lower(ids), {search}) OR list_contains({matching}, person))"
    found = cursor.rows(
        f"""WITH {known}, people AS (
            SELECT person, any_value(profile.properties) AS properties,
                epoch_ms(min(timestamp) FILTER ({_COUNTED})) AS first_seen,
                epoch_ms(max(timestamp) FILTER ({_COUNTED})) AS last_seen,
                count(*) FILTER ({_COUNTED}) AS events, string_agg(DISTINCT distinct_id, chr(10)) AS ids,
                coalesce(bool_or(identified_by IS DISTINCT FROM 'visitor'), true) AS is_listed
            FROM (SELECT * EXCLUDE (properties) FROM ({rows.source()})) AS found
                LEFT JOIN profiles AS profile USING (person)
            WHERE person <> ''
            GROUP BY person HAVING events > 0 OR any_value(profile.properties) IS NOT NULL
        )
        SELECT person, first_seen, last_seen, events, count(*) OVER () FROM people
        WHERE {who} AND ({filter_sql(_of_profile(question.filters), rows.parameters)})
        ORDER BY last_seen DESC NULLS LAST, person LIMIT {question.limit} OFFSET {question.offset}""",
        rows.parameters.values,
    )
    others: dict[str, list[str]] = {}
    for alias, canonical in aliases.items():
        others.setdefault(canonical, []).append(alias)
    people = tuple(
        Person(who, profiles.get(who, {}), first, last, events, tuple(sorted(others.get(who, ()))))
        for who, first, last, events, _ in found
    )
    return PeopleAnswer(people, found[0][-1] if found else 0, rows.version)


def _profiles(cursor: Cursor, lake: Lake, project: int, aliases: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The properties of everybody who has a profile, changes carried out in the order of the log's time."""
    rows = _rows(lake, project, aliases)
    profiles: dict[str, dict[str, Any]] = {}
    for person, text in cursor.rows(
        f"SELECT person, properties FROM ({rows.source()})"
        f" WHERE is_system AND event = '{PROFILE}' AND person <> '' ORDER BY received_at, {IN_TIME}",
        rows.parameters.values,
    ):
        try:
            change = msgspec.json.decode(text, type=ProfileChange)
        except msgspec.MsgspecError:
            continue  # an event of that name that says no change changes nobody
        if change == _DELETION:
            profiles.pop(person, None)
        else:
            profiles[person] = changed(profiles.get(person, {}), change)
    return profiles


def _matching(profiles: Mapping[str, Mapping[str, Any]], search: str) -> list[str]:
    wanted = search.lower()
    return [
        person
        for person, properties in profiles.items()
        if any(wanted in _text(value).lower() for value in properties.values())
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _of_profile(wanted: Filter) -> Filter:
    """The same conditions, every key a property: people have no other fields."""
    match wanted:
        case Condition(key, op, value):
            return Condition(key if key.startswith("properties.") else f"properties.{key}", op, value)
        case AllOf(parts):
            return AllOf(tuple(map(_of_profile, parts)))
        case AnyOf(parts):
            return AnyOf(tuple(map(_of_profile, parts)))


def _rows(lake: Lake, project: int, aliases: Mapping[str, str]) -> Rows:
    return Rows(lake, Selection(project, ALWAYS, includes_bots=True), aliases, sees_sessions=False)
