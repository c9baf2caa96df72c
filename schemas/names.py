"""What a project's events are called, what properties they have, and with what values."""

from dataclasses import dataclass

from msgspec import Struct

from schemas.selection import Selection


class EventName(Struct, frozen=True, rename="camel"):
    """A name of events, how often it came, and its first and last event time in unix ms."""

    name: str
    count: int
    first_seen: int
    last_seen: int


class PropertyKey(Struct, frozen=True):
    """A property that events have: the JSON types of its values, and how many events have it."""

    key: str
    types: tuple[str, ...]
    count: int


class PropertyValue(Struct, frozen=True):
    """A value of a property as text, and how many events have it."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class NamesQuestion:
    """Names, keys or values that occur in a selection; `search` is a part of them, in any case."""

    selection: Selection
    search: str = ""
    limit: int = 1000
