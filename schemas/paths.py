"""Paths: what people did before or after something."""

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from schemas.filters import Filter
from schemas.questions import InvalidQuestion
from schemas.selection import Selection

MAX_LENGTH = 10


class Direction(StrEnum):
    """On which side of the anchor the steps are."""

    AFTER = "after"
    BEFORE = "before"


@dataclass(frozen=True, slots=True)
class PathsQuestion:
    """The most common sequences of a dimension's values within a session, from its first event that is the anchor
    (after) or up to its last (before). Repetitions in a row are one step."""

    selection: Selection
    anchor: Filter
    direction: Direction = Direction.AFTER
    dimension: str = "event"
    length: int = 5
    limit: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.length <= MAX_LENGTH:
            raise InvalidQuestion(f"Invalid field: length, 1 to {MAX_LENGTH}")


class SessionPath(Struct, frozen=True):
    """Values in order of time, the anchor's own among them, and how many sessions went so."""

    path: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class PathsAnswer:
    """The most common first; `total` counts the sessions that have the anchor."""

    paths: tuple[SessionPath, ...]
    total: int
    version: int
