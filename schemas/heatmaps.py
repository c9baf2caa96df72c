"""Where people click, move and scroll on a page, and which clicks were in vain."""

from dataclasses import dataclass
from typing import Final, Literal

from schemas.selection import Selection

# The depths of a page that are told, in percent.
DEPTHS = (0, 25, 50, 75, 100)
# Attention is where pointers rest, told in bands of the page, in pixels.
BAND: Final = 100
# So many clicks of one visitor on one place within a second are one burst of rage.
RAGE_CLICKS: Final = 5
RAGE_MILLIS: Final = 1000
# Where no element is told, a place is a square of so many pixels.
CELL: Final = 50
# A click is dead if no pageview and no event of its visitor follows for so long.
DEAD_MILLIS: Final = 3000

ClickKind = Literal["elements", "rage", "dead"]


@dataclass(frozen=True, slots=True)
class HeatmapQuestion:
    """What `$heatmap` events of an action say about one page; `device` narrows it."""

    selection: Selection
    path: str
    action: str  # click, move or scroll
    device: str | None = None
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class Spot:
    """A place on a page, in pixels of the viewport, and how often; `element` and `text` say what is there."""

    x: int
    y: int
    count: int
    element: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Depth:
    """How many visitors came at least so far down, in percent of the page."""

    percent: int
    visitors: int


@dataclass(frozen=True, slots=True)
class Band:
    """A band of the page, `BAND` pixels high, and how often something happened there."""

    top: int
    count: int


@dataclass(frozen=True, slots=True)
class HeatmapAnswer:
    """Spots of clicks and moves, most first, bands from the top, or depths of scrolling.

    The viewport is the most common one.
    """

    total: int
    visitors: int
    pageviews: int
    spots: tuple[Spot, ...]
    bands: tuple[Band, ...]
    depths: tuple[Depth, ...]
    mean_depth: float
    viewport: tuple[int, int] | None
    version: int


@dataclass(frozen=True, slots=True)
class ClicksQuestion:
    """Places of one page: elements that are clicked, those that are clicked in rage, those where nothing follows."""

    selection: Selection
    path: str
    kind: ClickKind
    device: str | None = None
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class ClickPlace:
    """An element with its text, or a square of the page; `x` and `y` are the middle of its clicks.

    Of rage there are the bursts, and the clicks of the longest one.
    """

    element: str | None
    text: str | None
    x: int | None
    y: int | None
    clicks: int
    visitors: int
    bursts: int = 0
    longest: int = 0

    @property
    def severity(self) -> Literal["low", "medium", "high"]:
        """How hard the longest burst was."""
        return "high" if self.longest >= 10 else "medium" if self.longest > RAGE_CLICKS else "low"


@dataclass(frozen=True, slots=True)
class ClicksAnswer:
    """Places, most clicks first, all clicks of the page, and those that are of the kind."""

    total: int
    found: int
    places: tuple[ClickPlace, ...]
    version: int
