"""What changes people: system events in the same log as everything else, so they are kept as events are.

`$alias` says that the alias and the event's person are one, `$alias_undo` takes that back, and `$profile`
changes the properties of the event's person.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta, Struct

from schemas.filters import EVERYTHING, Filter

ALIAS = "$alias"
ALIAS_UNDO = "$alias_undo"
PROFILE = "$profile"
CHANGES = frozenset({ALIAS, ALIAS_UNDO, PROFILE})


class AliasChange(Struct, frozen=True):
    """The properties of `$alias` and `$alias_undo`; the person is the event's `userId`."""

    alias: Annotated[str, Meta(min_length=1)]


class ProfileChange(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The properties of `$profile`, carried out in the order of the fields."""

    delete: bool = False
    set: dict[str, Any] = {}
    set_once: dict[str, Any] = {}
    add: dict[str, float] = {}
    append: dict[str, Any] = {}
    union: dict[str, list[Any]] = {}
    unset: list[str] = []


def changed(properties: Mapping[str, Any], change: ProfileChange) -> dict[str, Any]:
    """A profile after one change."""
    found = {} if change.delete else dict(properties)
    found |= change.set
    found |= {name: value for name, value in change.set_once.items() if name not in found}
    for name, number in change.add.items():
        held = found.get(name, 0)
        found[name] = number + (held if isinstance(held, int | float) and not isinstance(held, bool) else 0)
    for name, value in change.append.items():
        found[name] = [*_list(found.get(name)), value]
    for name, values in change.union.items():
        held = _list(found.get(name))
        found[name] = held + [value for place, value in enumerate(values) if value not in [*held, *values[:place]]]
    return {name: value for name, value in found.items() if name not in change.unset}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


class Person(Struct, frozen=True, rename="camel"):
    """Somebody under all their ids; instants in ISO text, None where no event was seen."""

    user_id: str
    properties: dict[str, Any]
    first_seen: int | None  # unix ms
    last_seen: int | None
    event_count: int
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PeopleQuestion:
    """A page of a project's people, last seen first. `search` is part of an id or of a property, in any case."""

    project: int
    search: str = ""
    filters: Filter = EVERYTHING
    limit: int = 100
    offset: int = 0
    includes_bots: bool = False


@dataclass(frozen=True, slots=True)
class PeopleAnswer:
    """A page of people, and how many match in all."""

    people: tuple[Person, ...]
    total: int
    version: int


@dataclass(frozen=True, slots=True)
class ProjectCounts:
    """What a project holds: events, people in them, stored profiles, distinct names, and events since an instant."""

    events: int
    people: int
    profiles: int
    event_names: int
    recent_events: int
    version: int
