"""How often a goal was reached, by whom, and what it was worth."""

from dataclasses import dataclass

from msgspec import Struct

from schemas.figures import percentage
from schemas.filters import Filter
from schemas.questions import InvalidQuestion
from schemas.selection import Selection
from schemas.windows import Bucket


@dataclass(frozen=True, slots=True)
class GoalQuestion:
    """A goal is reached by each event that passes `reached`, or by each session of at least `seconds`.

    An event's own numeric `value` goes before the goal's.
    """

    selection: Selection
    reached: Filter | None = None
    seconds: int | None = None
    value: float = 0.0
    buckets: tuple[Bucket, ...] = ()
    top: int = 10

    def __post_init__(self) -> None:
        if (self.reached is None) == (self.seconds is None):
            raise InvalidQuestion("Invalid field: type")


class Conversion(Struct, frozen=True):
    """Completions beside the visitors they are a rate of; `name` is a bucket, a source or a page."""

    name: str
    completions: int
    visitors: int

    @property
    def rate(self) -> float:
        """Completions in percent of visitors, with one decimal."""
        return percentage(self.completions, self.visitors)


@dataclass(frozen=True, slots=True)
class GoalAnswer:
    """The whole, each bucket, and the sources (by session) and pages (by event) with most completions."""

    total: Conversion
    people: int
    value: float
    series: tuple[Conversion, ...]
    sources: tuple[Conversion, ...]
    pages: tuple[Conversion, ...]
    version: int
