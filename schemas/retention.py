"""Retention: of those who began in a day, week or month, how many came back in each later one."""

from dataclasses import dataclass

from msgspec import Struct

from schemas.filters import EVERYTHING, Filter
from schemas.questions import InvalidQuestion
from schemas.selection import Selection
from schemas.windows import Bucket, Interval

# A square of them is shown.
MAX_COHORTS = 400


@dataclass(frozen=True, slots=True)
class RetentionQuestion:
    """Cohorts by the bucket of a person's first born event in the range.

    Somebody is back in a later bucket with any return event in it; in the first, only with one after the birth.
    """

    selection: Selection
    buckets: tuple[Bucket, ...]
    born: Filter = EVERYTHING
    back: Filter = EVERYTHING

    def __post_init__(self) -> None:
        if len(self.buckets) > MAX_COHORTS:
            raise InvalidQuestion(f"Invalid field: interval gives more than {MAX_COHORTS} cohorts")


class Cohort(Struct, frozen=True):
    """People born in a bucket; `values[i]` of them were back i buckets later, to the end of the range."""

    date: str
    size: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RetentionAnswer:
    """One cohort for each bucket."""

    cohorts: tuple[Cohort, ...]
    version: int


def parse_unit(text: str | None) -> Interval:
    """A cohort's width: day, week or month. Raises InvalidQuestion."""
    if text not in (None, Interval.DAY, Interval.WEEK, Interval.MONTH):
        raise InvalidQuestion("Invalid field: interval")
    return Interval(text or Interval.DAY)
