"""What comes back: rows and points, with how they were made and how fresh they are."""

from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

from schemas.listing import EventCursor


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Exact, or a sketch with its relative standard error."""

    error: float | None = None

    def __str__(self) -> str:
        return "exact" if self.error is None else f"sketch; error={self.error:.3f}"


EXACT = Accuracy()


class EventItem(Struct, frozen=True, rename="camel"):
    """One listed event; instants as ISO text, properties as they were sent."""

    event_id: str
    event: str
    properties: Raw
    user_id: str | None
    timestamp: str
    source: str


class EventDetail(Struct, frozen=True, rename="camel", omit_defaults=False):
    """One event and where it is: in the log only, or in the lake since `lake_version` at the latest."""

    event_id: str
    state: str  # in_log | in_lake
    partition: int
    offset: int
    index: int | None = None
    lake_version: int | None = None
    event: str | None = None
    properties: Raw | None = None
    user_id: str | None = None
    timestamp: str | None = None
    source: str | None = None
    session_id: str | None = None
    context: Raw | None = None
    received_at: str | None = None


@dataclass(frozen=True, slots=True)
class EventsAnswer:
    """A page of events, the count of all that match, and where the next page starts."""

    items: tuple[EventItem, ...]
    total: int
    next: EventCursor | None
    version: int


def raw_json(text: str) -> Raw:
    """JSON text that is already valid, to be embedded as it is."""
    return msgspec.Raw(text.encode())
