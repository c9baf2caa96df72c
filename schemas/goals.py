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
    # Instead of sources and pages: the values of a dimension.
    dimension: str | None = None

    def __post_init__(self) -> None:
        if (self.reached is None) == (self.seconds is None):
            raise InvalidQuestion("Invalid field: type")


class Conversion(Struct, frozen=True):
    """Completions beside the visitors they are a rate of; `name` is a bucket or a value of a dimension."""

    name: str
    completions: int
    visitors: int
    people: int  # visitors who completed

    @property
    def rate(self) -> float:
        """Completions in percent of visitors, with one decimal."""
        return percentage(self.completions, self.visitors)

    @property
    def people_rate(self) -> float:
        """Visitors who completed in percent of all, with one decimal."""
        return percentage(self.people, self.visitors)

    def figures(self) -> dict[str, float]:
        """As the native surface shows them beside other figures."""
        return {
            "completions": self.completions,
            "uniqueCompletions": self.people,
            "conversionRate": self.rate,
            "uniqueConversionRate": self.people_rate,
        }


@dataclass(frozen=True, slots=True)
class GoalAnswer:
    """The whole, each bucket, and the sources (by session) and pages (by event) with most completions.

    With a dimension in their place its values, those of sessions by session and all others by event.
    """

    total: Conversion
    value: float
    series: tuple[Conversion, ...]
    sources: tuple[Conversion, ...]
    pages: tuple[Conversion, ...]
    values: tuple[Conversion, ...]
    number: int  # of all values that there are
    bots: int  # left out of the selection
    version: int
