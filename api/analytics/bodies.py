"""Questions that come as JSON bodies, from callers and from what is kept. Pure: what they name is handed in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias

from api.analytics.asking import Asked
from schemas.figures import BreakdownQuestion, OverviewQuestion, parse_dimension, parse_sort
from schemas.filters import EVERYTHING, Filter, both, equals, filter_of
from schemas.funnels import MAX_STEPS, FunnelQuestion, Step, page_filter
from schemas.paths import Direction, PathsQuestion
from schemas.questions import DEFAULT_LIMIT, MAX_LIMIT, InvalidQuestion, parse_interval
from schemas.retention import RetentionQuestion, parse_unit
from schemas.series import MAX_SERIES, SeriesQuestion, parse_measure
from schemas.windows import Bucket, Interval, buckets

Body: TypeAlias = Mapping[str, Any]
# Which events reach a goal; raises InvalidQuestion where there is none.
GoalFilter: TypeAlias = Callable[[str], Filter]

_MEASURES = {"total": "events_count", "unique": "unique_users"}
_DEFAULT_SERIES = 10
_DEFAULT_WINDOW_SECONDS = 3600


def overview_question(asked: Asked, body: Body) -> OverviewQuestion:
    """`{interval?}`."""
    return OverviewQuestion(asked.selection, _buckets(asked, parse_interval(text_in(body, "interval"))))


def breakdown_question(asked: Asked, body: Body) -> BreakdownQuestion:
    """`{dimension,sort?,limit?}`."""
    dimension = parse_dimension(text_in(body, "dimension"))
    sort = parse_sort(text_in(body, "sort"))
    return BreakdownQuestion(asked.selection, dimension, sort, _number(body, "limit", DEFAULT_LIMIT, MAX_LIMIT))


def series_question(asked: Asked, body: Body) -> SeriesQuestion:
    """`{metric,event?,interval?,breakdown?,limit?}`; `total` counts events and `unique` people."""
    metric = text_in(body, "metric")
    dimension = text_in(body, "breakdown")
    return SeriesQuestion(
        with_event(asked, text_in(body, "event")),
        parse_measure(_MEASURES.get(metric or "", metric)),
        _buckets(asked, parse_interval(text_in(body, "interval"))),
        None if dimension is None else parse_dimension(dimension, "breakdown"),
        _number(body, "limit", _DEFAULT_SERIES, MAX_SERIES),
        asked.common.is_exact,
    )


def funnel_question(asked: Asked, body: Body, goal: GoalFilter) -> FunnelQuestion:
    """`{steps,windowSeconds?,by?,breakdown?,interval?}`."""
    steps = body.get("steps")
    if not isinstance(steps, list) or not 2 <= len(steps) <= MAX_STEPS:
        raise InvalidQuestion(f"Invalid field: steps, 2 to {MAX_STEPS} of them")
    interval, dimension = text_in(body, "interval"), text_in(body, "breakdown")
    return FunnelQuestion(
        asked.selection,
        tuple(_step(step, f"steps[{place}]", goal) for place, step in enumerate(steps)),
        timedelta(seconds=_number(body, "windowSeconds", _DEFAULT_WINDOW_SECONDS, 10**9, least=0)),
        _choice(body, "by", ("person", "session")) == "session",
        () if interval is None else _buckets(asked, parse_interval(interval)),
        None if dimension is None else parse_dimension(dimension, "breakdown"),
    )


def retention_question(asked: Asked, body: Body) -> RetentionQuestion:
    """`{bornEvent?,returnEvent?,interval?}`."""
    points = _buckets(asked, parse_unit(text_in(body, "interval")))
    return RetentionQuestion(asked.selection, points, _named(body, "bornEvent"), _named(body, "returnEvent"))


def paths_question(asked: Asked, body: Body) -> PathsQuestion:
    """`{event or path,direction?,dimension?,length?,limit?}`."""
    return PathsQuestion(
        asked.selection,
        _step(body, "anchor", _no_goal).filters,
        Direction(_choice(body, "direction", [direction.value for direction in Direction])),
        parse_dimension(text_in(body, "dimension") or "event"),
        _number(body, "length", 5, 10**9),
        _number(body, "limit", 20, MAX_LIMIT),
    )


def with_event(asked: Asked, event: str | None) -> Any:
    """The selection, of one event alone where it is named."""
    if not event:
        return asked.selection
    return replace(asked.selection, filters=both(equals("event", event), asked.selection.filters))


def text_in(body: Body, name: str) -> str | None:
    """A text of a body; raises InvalidQuestion for anything else."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidQuestion(f"Invalid field: {name}")
    return value


def _step(step: Any, where: str, goal: GoalFilter) -> Step:
    if not isinstance(step, dict | Mapping):
        raise InvalidQuestion(f"Invalid field: {where}")
    event, path, goal_id = (text_in(step, name) for name in ("event", "path", "goalId"))
    match = text_in(step, "match") or text_in(step, "matchType") or "exact"
    if goal_id:
        what = goal(goal_id)
    elif path:
        what = page_filter(path, match)
    elif event:
        what = equals("event", event)
    else:
        raise InvalidQuestion(f"Invalid field: {where}, name an event, a path or a goalId")
    filters = EVERYTHING if where == "anchor" else filter_of(step.get("filters", []))
    return Step(text_in(step, "name") or event or path or goal_id or "", both(what, filters))


def _no_goal(_: str) -> Filter:
    raise InvalidQuestion("Invalid field: goalId")


def _named(body: Body, name: str) -> Filter:
    event = text_in(body, name)
    return equals("event", event) if event else EVERYTHING


def _buckets(asked: Asked, interval: Interval) -> tuple[Bucket, ...]:
    return tuple(buckets(asked.span, interval, asked.common.zone))


def _number(body: Body, name: str, default: int, most: int, least: int = 1) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidQuestion(f"Invalid field: {name}")
    return min(max(value, least), most)


def _choice(body: Body, name: str, choices: Sequence[str]) -> str:
    """One of the choices, the first by default."""
    value = text_in(body, name) or choices[0]
    if value not in choices:
        raise InvalidQuestion(f"Invalid field: {name}")
    return value
