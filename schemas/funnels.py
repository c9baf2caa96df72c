"""Funnels: how many people went through steps in their order, and what it took them."""

from dataclasses import dataclass
from datetime import timedelta

from msgspec import Struct

from schemas.filters import AllOf, Condition, Filter, Operator, equals
from schemas.questions import InvalidQuestion
from schemas.selection import Selection
from schemas.windows import Bucket

MAX_STEPS = 10
MAX_WINDOW = timedelta(days=366)
_PAGE_OPERATORS = {"exact": Operator.EQ, "contains": Operator.CONTAINS, "regex": Operator.MATCHES}


@dataclass(frozen=True, slots=True)
class Step:
    """What must happen; any event that passes the filters."""

    name: str
    filters: Filter


def page_filter(path: str, match: str = "exact") -> Filter:
    """Pageviews of a path: `exact`, `contains` or `regex`. Raises InvalidQuestion."""
    if (op := _PAGE_OPERATORS.get(match)) is None:
        raise InvalidQuestion("Invalid field: matchType")
    return AllOf((equals("isPageview", True), Condition("path", op, path)))


@dataclass(frozen=True, slots=True)
class FunnelQuestion:
    """All steps within the selection's range, the last within `window` of the first.

    By person, or within one session; with buckets also by when the first step was taken, with a dimension
    also by its value at the first step.
    """

    selection: Selection
    steps: tuple[Step, ...]
    window: timedelta = timedelta(hours=1)
    is_by_session: bool = False
    buckets: tuple[Bucket, ...] = ()
    dimension: str | None = None

    def __post_init__(self) -> None:
        if not 2 <= len(self.steps) <= MAX_STEPS:
            raise InvalidQuestion(f"Invalid field: steps, 2 to {MAX_STEPS} of them")
        if not timedelta(0) < self.window <= MAX_WINDOW:
            raise InvalidQuestion("Invalid field: windowSeconds")


class FunnelStep(Struct, frozen=True, rename="camel"):
    """How many came this far. Rates are percent with two decimals, of the step before and of the first.

    Times are seconds since the step before; None at the first step and where nobody came.
    """

    name: str
    count: int
    from_previous: float
    from_start: float
    drop_off: int
    median_seconds: float | None
    mean_seconds: float | None


class FunnelPoint(Struct, frozen=True):
    """Those whose first step was in a bucket, and how many of them completed."""

    date: str
    entered: int
    completed: int


class FunnelPath(Struct, frozen=True, rename="camel"):
    """Steps in the order somebody took them within the window, whatever was left out, and the mean seconds of it."""

    path: tuple[str, ...]
    count: int
    mean_seconds: float


@dataclass(frozen=True, slots=True)
class FunnelAnswer:
    """The steps of all; `by_value` has those of each value of the dimension, most entered first."""

    steps: tuple[FunnelStep, ...]
    series: tuple[FunnelPoint, ...]
    paths: tuple[FunnelPath, ...]
    by_value: tuple[tuple[str, tuple[FunnelStep, ...]], ...]
    mean_seconds: float | None  # from first to last, of those who completed
    version: int
