"""The event of the naive pipeline, as its route and its answer declare it."""

from typing import Any

from pydantic import BaseModel, Field


class NaiveEvent(BaseModel):
    """One event, checked by pydantic."""

    event: str = Field(min_length=1, max_length=256)
    userId: str | None = None  # noqa: N815  # its name on the wire
    eventId: str | None = None  # noqa: N815
    timestamp: str | None = None
    properties: dict[str, Any] | None = None


class Accepted(BaseModel):
    """What the sender is told."""

    status: str
    accepted: int


class NaiveRealtime(BaseModel):
    """A dashboard's poll, made by the framework: as many figures as ours answers."""

    events: int
    people: dict[str, int]
    perMinute: list[dict[str, int | str]]  # noqa: N815
    topEvents: list[dict[str, int | str]]  # noqa: N815
    asOf: str  # noqa: N815
