"""Dead letters of a project as they are listed."""

from dataclasses import dataclass

from msgspec import Struct

from schemas.deadletters import REASONS
from schemas.questions import DEFAULT_LIMIT, InvalidQuestion
from schemas.windows import TimeRange


@dataclass(frozen=True, slots=True)
class LettersQuestion:
    """A page of what could not become an event of a project, newest first."""

    project: int
    span: TimeRange
    reason: str | None = None
    limit: int = DEFAULT_LIMIT
    offset: int = 0

    def __post_init__(self) -> None:
        if self.reason is not None and self.reason not in REASONS:
            raise InvalidQuestion("Invalid parameter: reason")


class Letter(Struct, frozen=True, rename="camel"):
    """One of them; bytes that are no text are shown as `\\x..`."""

    reason: str
    detail: str | None
    partition: int
    offset: int
    index: int
    raw: str
    received_at: str


@dataclass(frozen=True, slots=True)
class LettersAnswer:
    """A page and the number of all."""

    letters: tuple[Letter, ...]
    total: int
