"""The figures of a project: the same eight everywhere, rounded in one place."""

from dataclasses import dataclass

from msgspec import Struct

from schemas.answers import Accuracy
from schemas.questions import InvalidQuestion
from schemas.selection import Selection
from schemas.windows import Bucket

# What figures can be broken down by, beside `properties.<key>`.
DIMENSIONS = (
    "event",
    "path",
    "title",
    "entryPath",
    "exitPath",
    "referrer",
    "channel",
    "source",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "country",
    "region",
    "city",
    "device",
    "browser",
    "browserVersion",
    "os",
    "userId",
    "distinctId",
    "sessionId",
)
SORTS = ("visitors", "pageviews", "events", "sessions", "bounceRate", "avgSessionDuration", "value")
_PROPERTY = "properties."


class Figures(Struct, frozen=True, rename="camel"):
    """What a range or bucket comes to. Rates are percent with one decimal, times whole seconds."""

    events: int = 0
    pageviews: int = 0
    visitors: int = 0
    sessions: int = 0
    bounces: int = 0
    bounce_rate: float = 0.0
    avg_session_duration: int = 0
    avg_time_on_page: int = 0
    views_per_session: float = 0.0


@dataclass(frozen=True, slots=True)
class OverviewQuestion:
    """All figures of a selection and of each of its buckets; without buckets of the whole alone."""

    selection: Selection
    buckets: tuple[Bucket, ...] = ()


@dataclass(frozen=True, slots=True)
class OverviewAnswer:
    """`series` has the figures of each bucket in order; `bots` counts what was left out of the selection."""

    total: Figures
    series: tuple[Figures, ...]
    bots: int
    accuracy: Accuracy
    version: int


class BreakdownRow(Struct, frozen=True, rename="camel"):
    """The figures of one value of a dimension."""

    value: str
    visitors: int
    pageviews: int
    events: int
    sessions: int
    bounce_rate: float
    avg_session_duration: int


@dataclass(frozen=True, slots=True)
class BreakdownQuestion:
    """The values of a dimension, most first by `sort`, a field of the row; and all that are not listed, as one."""

    selection: Selection
    dimension: str
    sort: str = "visitors"
    limit: int = 100
    offset: int = 0
    with_other: bool = False


@dataclass(frozen=True, slots=True)
class BreakdownAnswer:
    """A page of values; `total` counts all of them, `bots` what was left out of the selection."""

    rows: tuple[BreakdownRow, ...]
    total: int
    bots: int
    accuracy: Accuracy
    version: int
    other: BreakdownRow | None = None


def parse_dimension(text: str | None, name: str = "dimension") -> str:
    """What to break down by; raises InvalidQuestion."""
    if not text:
        raise InvalidQuestion(f"Missing required parameter: {name}")
    if text in DIMENSIONS or (text.startswith(_PROPERTY) and len(text) > len(_PROPERTY)):
        return text
    raise InvalidQuestion(f"Invalid parameter: {name}")


def parse_sort(text: str | None) -> str:
    """A figure, visitors by default; raises InvalidQuestion."""
    if text in (None, *SORTS):
        return text or SORTS[0]
    raise InvalidQuestion("Invalid parameter: sort")


def percentage(part: float, whole: float) -> float:
    """A rate in percent with one decimal; 0 of nothing is 0."""
    return round(100 * part / whole, 1) if whole else 0.0


def change_percent(before: float, now: float) -> float | None:
    """How much a figure rose, in percent with one decimal; None from nothing."""
    return round(100 * (now - before) / before, 1) if before else None
