"""Where people click, move and scroll on a page."""

from dataclasses import dataclass

from schemas.selection import Selection

# The depths of a page that are told, in percent.
DEPTHS = (0, 25, 50, 75, 100)


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
class HeatmapAnswer:
    """Spots of clicks and moves, most first, or depths of scrolling; the viewport is the most common one."""

    total: int
    visitors: int
    pageviews: int
    spots: tuple[Spot, ...]
    depths: tuple[Depth, ...]
    mean_depth: float
    viewport: tuple[int, int] | None
    version: int
